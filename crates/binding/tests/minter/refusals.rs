//! Credentials that are refused.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use symbolon_binding::{ErrorKind, KeyProvider, SoftwareKeys};
use symbolon_types::SigningKey;
use x509_cert::der::asn1::ObjectIdentifier;

use crate::issuer::{Plan, TestEnv, der_time, moved};

/// Checks that a mint fails, and that the next mint sends both requests again.
async fn refuses(plan: impl FnOnce(&TestEnv) -> Plan, code: &str, reason: &str) -> String {
    let env = TestEnv::new().await;
    env.issuer.plan(plan(&env));
    let error = env.binding().await.expect_err(reason);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Response, code), "{reason}");
    assert!(error.to_string().contains(reason), "{error}");
    assert!(!error.is_transient() && error.excerpt().is_none(), "{error:?}");
    assert!(env.minter.current(&env.id).is_none());
    env.issuer.plan(Plan::default());
    assert!(env.binding().await.is_ok());
    assert_eq!(env.issuer.requests().len(), 4, "{reason}");
    error.to_string()
}

#[tokio::test]
async fn certificate_of_another_key_is_refused() {
    let other_key = SoftwareKeys::p256().key().await.unwrap().public_key().to_vec();
    let plan = Plan { public_key: Some(other_key), ..Plan::default() };
    refuses(|_| plan, "invalid_certificate", "is for another key").await;
    let plan = Plan { subject: Some("CN=593b2662-5af7-4a90-a9cb-5a9de615b82f"), ..Plan::default() };
    refuses(|_| plan, "invalid_certificate", "names another identity").await;
    let rsa = SoftwareKeys::rsa_2048().key().await.unwrap().public_key().to_vec();
    let plan = Plan { public_key: Some(rsa), ..Plan::default() };
    refuses(|_| plan, "invalid_certificate", "is for another key").await;
}

#[tokio::test]
async fn common_name_must_be_the_client_id() {
    for subject in [
        "CN=x,CN=d3adb33f-c0de-ed0c-c0de-deadb33fc0d3",
        "OU=d3adb33f-c0de-ed0c-c0de-deadb33fc0d3",
        "CN=d3adb33f-c0de-ed0c-c0de-deadb33fc0d3x",
    ] {
        let plan = Plan { subject: Some(subject), ..Plan::default() };
        refuses(|_| plan, "invalid_certificate", "names another identity").await;
    }
}

#[tokio::test]
async fn client_id_is_case_insensitive() {
    let env = TestEnv::new().await;
    env.issuer.plan(Plan { subject: Some("CN=D3ADB33F-C0DE-ED0C-C0DE-DEADB33FC0D3"), ..Plan::default() });
    assert!(env.binding().await.is_ok());
}

#[tokio::test]
async fn broken_digest_is_refused() {
    for oid in ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"] {
        let plan = Plan { signature: ObjectIdentifier::new_unwrap(oid), ..Plan::default() };
        refuses(|_| plan, "invalid_certificate", "is signed with a broken digest").await;
    }
}

#[tokio::test]
async fn malformed_certificate_is_refused() {
    for (mangle, reason) in [
        ((|_| "!!!".into()) as fn(Vec<u8>) -> String, "is not base64"),
        (|der| Base64::encode_string(&der).replace('A', "\n"), "is not base64"),
        (|_| Base64::encode_string(b"garbage"), "is not one X.509 certificate"),
        (|der| Base64::encode_string(&[&der[..], b"\0"].concat()), "is not one X.509 certificate"),
        (|der| Base64::encode_string(&der[..der.len() - 1]), "is not one X.509 certificate"),
        (|der| Base64::encode_string(&der.repeat(2)), "is not one X.509 certificate"),
    ] {
        let plan = Plan { mangle, ..Plan::default() };
        refuses(|_| plan, "invalid_certificate", reason).await;
    }
}

#[tokio::test]
async fn validity_is_checked_with_clock_advice() {
    const DAY: i64 = 24 * 3600;
    for (valid, token_end, clock_offset, outcome) in [
        ((-DAY, 0), None, Some(0), Err(("has expired", "agrees with the issuer's"))),
        ((-DAY, -1), None, Some(0), Err(("has expired", "agrees with the issuer's"))),
        ((-DAY, 1), None, Some(0), Ok(())),
        ((-DAY, DAY), Some(0), Some(-2), Err(("has expired", "agrees with the issuer's"))),
        ((-DAY, DAY), Some(1), Some(0), Ok(())),
        ((-2 * DAY, -DAY), None, Some(-7200), Err(("has expired", "7200 seconds ahead of the issuer's"))),
        ((-2 * DAY, -DAY), None, None, Err(("has expired", "check this machine's clock"))),
        ((300, DAY), None, Some(0), Ok(())),
        ((301, DAY), None, Some(301), Err(("is not valid yet", "301 seconds behind the issuer's"))),
    ] {
        let plan = move |env: &TestEnv| Plan {
            valid,
            token_not_after: token_end.map(|end| der_time(moved(env.now(), end))),
            clock_offset,
            ..Plan::default()
        };
        match outcome {
            Ok(()) => {
                let env = TestEnv::new().await;
                env.issuer.plan(plan(&env));
                assert!(env.binding().await.is_ok(), "{valid:?}");
            }
            Err((reason, advice)) => {
                let text = refuses(plan, "invalid_certificate", reason).await;
                assert!(text.contains(advice), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn untrusted_endpoint_is_refused() {
    // All rules are tested beside the code; this test shows that a mint applies them.
    type Edit = fn(&mut Value);
    for (edit, code, reason) in [
        (
            (|body| body["mtls_authentication_endpoint"] = json!("http://eastus.mtlsauth.microsoft.com"))
                as Edit,
            "insecure_endpoint",
            "without TLS",
        ),
        (
            |body| body["mtls_authentication_endpoint"] = json!("https://mtlsauth.example.com"),
            "invalid_response",
            "host that is not trusted",
        ),
        (
            |body| body["mtls_authentication_endpoint"] = json!("https://u:p@eastus.mtlsauth.microsoft.com"),
            "invalid_response",
            "user information",
        ),
        (
            |body| body["mtls_authentication_endpoint"] = json!("https://eastus.mtlsauth.microsoft.com?a=b"),
            "invalid_response",
            "query or a fragment",
        ),
    ] {
        let plan = Plan { edit, ..Plan::default() };
        refuses(|_| plan, code, reason).await;
    }
}

#[tokio::test]
async fn trusted_hosts_can_be_added() {
    let edit = |body: &mut Value| body["mtls_authentication_endpoint"] = json!("https://a.mtls.example.com");
    let env = TestEnv::with(|builder| builder.trusted_token_hosts(["mtls.example.com"])).await;
    env.issuer.plan(Plan { edit, ..Plan::default() });
    assert_eq!(env.binding().await.unwrap().token_endpoint().host_str(), Some("a.mtls.example.com"));
}

#[tokio::test]
async fn http_on_loopback_needs_permission() {
    let edit = |body: &mut Value| body["mtls_authentication_endpoint"] = json!("http://127.0.0.1:8443");
    for (allowed, code) in [(true, None), (false, Some("insecure_endpoint".to_owned()))] {
        let env = TestEnv::with(|builder| builder.allow_insecure_loopback(allowed)).await;
        env.issuer.plan(Plan { edit, ..Plan::default() });
        assert_eq!(env.binding().await.err().map(|error| error.code().to_owned()), code);
    }
}

#[tokio::test]
async fn incomplete_credential_is_refused() {
    type Edit = fn(&mut Value);
    for (edit, reason) in [
        ((|body| body["client_id"] = json!("")) as Edit, "without client_id"),
        (|body| body["tenant_id"] = json!(null), "without tenant_id"),
        (|body| body["certificate"] = json!(" "), "without certificate"),
        (|body| drop(body.as_object_mut().unwrap().remove("identity_type")), "without identity_type"),
        (|body| body["mtls_authentication_endpoint"] = json!(""), "without mtls_authentication_endpoint"),
        (|body| body["client_id"] = json!("593b2662-5af7-4a90-a9cb-5a9de615b82f"), "another client id"),
        (|body| body["tenant_id"] = json!("593b2662-5af7-4a90-a9cb-5a9de615b82f"), "another tenant"),
        (|body| *body = json!([]), "not the expected JSON"),
        (|body| body["certificate"] = json!(5), "not the expected JSON"),
    ] {
        let plan = Plan { edit, ..Plan::default() };
        refuses(|_| plan, "invalid_response", reason).await;
    }
}
