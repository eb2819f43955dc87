//! Content of the logs.

use base64ct::{Base64, Encoding};
use symbolon_binding::ManagedIdentityId;
use symbolon_test_logs::CapturedLogs;
use symbolon_types::CorrelationId;

use crate::issuer::{CLIENT, DAY, Plan, TENANT, TestEnv, VM, answer, drive};

#[tokio::test]
async fn logs_contain_no_secrets() {
    const RESOURCE: &str = "/subscriptions/that-no-log-shows";
    let logs = CapturedLogs::begin();

    let mut env = TestEnv::new().await;
    env.id = ManagedIdentityId::resource_id(RESOURCE).unwrap();
    env.issuer.plan(Plan { token_not_after: Some(b"\x05\x00".to_vec()), ..Plan::default() });
    let correlation_id = CorrelationId::random();
    let (first, _) = drive(&env.clock, env.minter.binding(&env.id, correlation_id)).await;
    let first = first.unwrap();
    assert!(env.minter.report_refusal(&env.id, first.identity().thumbprint()));
    let second = env.binding().await.unwrap();
    assert!(!env.minter.report_refusal(&env.id, second.identity().thumbprint()));
    env.clock.advance(8 * DAY);
    env.issuer.fail([Ok(answer(403, None, "the body of an error"))]);
    env.binding().await.unwrap();
    env.settle().await;

    let log = logs.text();
    for text in [
        "the key provider returned a key",
        "leg=getplatformmetadata status=200 attempts=1 duration_ms=",
        "leg=issuecredential status=200",
        "token_not_after cannot be read",
        "minted a binding",
        "a certificate was refused",
        "decision=Forgotten",
        "decision=KeptInCooldown",
        "renewal=true",
        "managed_identity_request_failed",
        &correlation_id.to_string(),
    ] {
        assert!(log.contains(text), "the log does not contain `{text}`:\n{log}");
    }
    let mut hidden =
        vec![CLIENT.to_owned(), TENANT.into(), VM.into(), RESOURCE.into(), "the body of an".into()];
    hidden.push("subscriptions".into());
    hidden.extend(env.issuer.issued().iter().map(ToString::to_string));
    hidden.extend(env.issuer.csrs().iter().map(|csr| Base64::encode_string(csr)));
    for binding in [&first, &second] {
        hidden.push(Base64::encode_string(&binding.identity().chain()[0]));
    }
    assert_eq!(hidden.len(), 6 + 2 + 2 + 2);
    for text in hidden {
        // A prefix is a leak as well.
        let part = &text[..text.len().min(20)];
        assert!(!log.contains(part), "the log shows `{part}`:\n{log}");
    }
}
