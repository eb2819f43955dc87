//! Claims challenges, capabilities and refused tokens.

use symbolon::{ErrorKind, TokenOrigin};
use symbolon_emulator::Source;

use crate::test_env::{RESOURCE, SourceTestEnv};

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;

fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn service_fabric_replaces_the_refused_token() {
    for capabilities in [&["cp1", "cp2"][..], &[]] {
        let test_env = SourceTestEnv::new().await;
        let builder = test_env.builder(Source::ServiceFabric).capabilities(capabilities.iter().copied());
        let identity = builder.build().unwrap();
        let joined = Some("cp1,cp2").filter(|_| !capabilities.is_empty());

        // Without a cached token there is no hash to send.
        identity.token(VAULT).claims(CLAIMS).await.unwrap();
        assert_eq!(test_env.last(Source::ServiceFabric).query("token_sha256_to_refresh"), None);

        let refused = identity.token(RESOURCE).await.unwrap();
        let entry = test_env.last(Source::ServiceFabric);
        assert_eq!((entry.query("xms_cc"), entry.query("token_sha256_to_refresh")), (joined, None));
        assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Cache);

        let token = identity.token(RESOURCE).claims(CLAIMS).await.unwrap();
        assert_eq!(token.origin(), TokenOrigin::Network);
        let entry = test_env.last(Source::ServiceFabric);
        let hash = sha256_hex(refused.secret().expose());
        assert_eq!(
            (entry.query("xms_cc"), entry.query("token_sha256_to_refresh")),
            (joined, Some(hash.as_str()))
        );
        assert!(!entry.target.contains("nbf"), "the claims themselves are never sent");
        let cached = identity.token(RESOURCE).await.unwrap();
        assert_eq!(
            cached.secret().expose(),
            token.secret().expose(),
            "the new token replaces the refused one"
        );

        let forced = identity.token(RESOURCE).claims(CLAIMS).force_refresh().await.unwrap();
        let hash = sha256_hex(token.secret().expose());
        let entry = test_env.last(Source::ServiceFabric);
        assert_eq!(entry.query("token_sha256_to_refresh"), Some(hash.as_str()));
        assert_ne!(forced.secret().expose(), token.secret().expose());

        identity.token(RESOURCE).force_refresh().await.unwrap();
        assert_eq!(test_env.last(Source::ServiceFabric).query("token_sha256_to_refresh"), None);
    }
}

const VAULT: &str = crate::test_env::VAULT;

/// Claims are refused, never dropped; capabilities are not sent.
#[tokio::test]
async fn other_sources_refuse_claims() {
    for source in Source::ALL.into_iter().filter(|source| *source != Source::ServiceFabric) {
        let test_env = SourceTestEnv::new().await;
        let identity = test_env.builder(source).capabilities(["cp1", "cp2"]).build().unwrap();
        identity.token(RESOURCE).await.unwrap();
        let entry = test_env.last(source);
        for name in ["xms_cc", "token_sha256_to_refresh", "claims"] {
            assert_eq!((entry.query(name), entry.form(name)), (None, None), "{source} {name}");
        }
        let before = test_env.emulator.journal().entries().len();
        for request in [
            identity.token(RESOURCE).claims(CLAIMS),
            identity.token(RESOURCE).claims_from_client(CLAIMS),
            identity.token(RESOURCE).claims(CLAIMS).force_refresh(),
        ] {
            let error = request.await.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("claims_not_supported", ErrorKind::Request));
            assert!(error.correlation_id().is_some());
        }
        assert_eq!(test_env.emulator.journal().entries().len(), before, "{source}");
    }
    let test_env = SourceTestEnv::new().await;
    let identity = test_env.on(Source::ServiceFabric);
    let error = identity.token(RESOURCE).claims_from_client(CLAIMS).await.unwrap_err();
    assert_eq!(error.code(), "claims_not_supported");
    let error = identity.token(RESOURCE).claims("[").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_claims", ErrorKind::Request));
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}
