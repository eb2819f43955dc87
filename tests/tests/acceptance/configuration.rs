//! CFG: credentials that are refused before anything is sent.

use crate::key::{OpaqueKey, OpaqueKeys};
use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, ErrorKind, Strength, TokenOrigin};
use symbolon_emulator::{Step, TlsVersion};
use symbolon_tests::RESOURCE;
use symbolon_types::{IdentityError, SharedSigningKey};

#[tokio::test]
async fn cfg_03_managed_identity_gets_a_bound_token() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    assert_eq!(token.token_type(), "mtls_pop");
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(test_env.last_certificate()));
    assert_eq!(token.tenant_id(), Some(test_env.emulator.tenant_id()));
    assert_eq!(token.client_id(), Some(test_env.emulator.client_id()));
}

#[tokio::test]
async fn cfg_06_certificate_without_key_is_refused() {
    let test_env = TestEnv::new().await;
    let foreign = test_env.emulator.issue_client_certificate("client").unwrap();
    let other_key = SharedSigningKey::new(OpaqueKey::rsa_2048());
    let chain = vec![foreign.certificate.der.to_vec().into()];
    for _ in 0..2 {
        let refused = ClientIdentity::new(chain.clone(), other_key.clone());
        assert_eq!(refused.unwrap_err(), IdentityError::KeyMismatch);
    }
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_08_unexportable_key_signs_handshakes() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
        let identity = test_env.builder().key_provider(keys).build().unwrap();
        let token = test_env.bound_token(&identity).await;
        assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(Strength::Hardware));
        assert_eq!(test_env.call(&identity, &token).await.status(), 200, "{version}");
    }
}

#[tokio::test]
async fn weak_key_requests_no_certificate() {
    let test_env = TestEnv::new().await;
    let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
    let identity = |minimum| {
        let builder = test_env.builder().key_provider(keys.clone()).minimum_strength(Some(minimum));
        builder.build().unwrap()
    };
    let error = identity(Strength::KeyGuard).token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("min_strength_not_met", ErrorKind::Environment));
    assert_eq!((test_env.counts().issuances, test_env.counts().tokens), (0, 0));
    let token = test_env.bound_token(&identity(Strength::Hardware)).await;
    assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(Strength::Hardware));
}

#[tokio::test]
async fn invalid_trusted_token_host_fails_the_build() {
    let test_env = TestEnv::new().await;
    for (host, accepted) in [
        ("mtlsauth.contoso.example", true),
        ("https://mtlsauth.contoso.example", false),
        (".example", false),
        ("*.example", false),
    ] {
        let built = test_env.builder().trusted_token_hosts([host]).build();
        let code = built.as_ref().err().map(|error| error.code().to_owned());
        assert_eq!(code.as_deref(), if accepted { None } else { Some("invalid_configuration") }, "{host}");
    }
}

#[tokio::test]
async fn unsupported_request_is_refused_on_a_hit() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.keep(identity.token(RESOURCE).await.unwrap());
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;
    for (code, request) in [
        ("claims_not_supported", identity.token(RESOURCE).claims(claims)),
        ("claims_not_supported", identity.token(RESOURCE).claims_from_client(claims)),
        ("invalid_claims", identity.token(RESOURCE).claims("[1]")),
        ("invalid_claims", identity.token(RESOURCE).claims_from_client("{")),
        ("invalid_scope", identity.token("")),
        ("invalid_scope", identity.token("/.default")),
        ("invalid_scope", identity.token("https://vault.example\r\n")),
    ] {
        let error = request.await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Request));
        assert!(error.correlation_id().is_some(), "{code}");
    }
    assert_eq!(test_env.count(Step::ImdsToken), 1, "none of them was sent");
    let blank = test_env.keep(identity.token(RESOURCE).claims(" ").claims_from_client("").await.unwrap());
    assert_eq!(blank.origin(), TokenOrigin::Cache, "blank claims are none");
}

#[tokio::test]
async fn bearer_token_is_cached_by_resource() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let default = format!("{RESOURCE}/.default");
    let first = test_env.keep(identity.token(&default).await.unwrap());
    assert_eq!((first.audience(), first.origin()), (RESOURCE, TokenOrigin::Network));
    assert_eq!(first.client_id(), Some(test_env.emulator.client_id()));
    let journal = test_env.emulator.journal();
    assert_eq!(journal.last(Step::ImdsToken).unwrap().query("resource"), Some(RESOURCE));
    let hit = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((hit.secret().expose(), hit.origin()), (first.secret().expose(), TokenOrigin::Cache));
    let forced = test_env.keep(identity.token(RESOURCE).force_refresh().await.unwrap());
    assert_eq!(forced.origin(), TokenOrigin::Network);
    let hit = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((hit.secret().expose(), hit.origin()), (forced.secret().expose(), TokenOrigin::Cache));
    assert_eq!(test_env.count(Step::ImdsToken), 2);
}
