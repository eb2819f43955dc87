//! Claims, capabilities, and the token that was refused.

use symbolon::{ErrorKind, TokenSource};
use symbolon_emulator::Source;

use crate::lab::{Lab, RESOURCE};

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;

fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// NET-09, NET-10, NET-35, §7.7.7, §7.7.8, DEV-13: on Service Fabric.
#[tokio::test]
async fn service_fabric_is_told_the_capabilities_and_which_token_was_refused() {
    for capabilities in [&["cp1", "cp2"][..], &[]] {
        let lab = Lab::new().await;
        let builder = lab.builder(Source::ServiceFabric).capabilities(capabilities.iter().copied());
        let identity = builder.build().unwrap();
        let joined = Some("cp1,cp2").filter(|_| !capabilities.is_empty());

        // Without a token there is nothing to name.
        identity.token(VAULT).claims(CLAIMS).await.unwrap();
        assert_eq!(lab.last(Source::ServiceFabric).query("token_sha256_to_refresh"), None);

        let refused = identity.token(RESOURCE).await.unwrap();
        let entry = lab.last(Source::ServiceFabric);
        assert_eq!((entry.query("xms_cc"), entry.query("token_sha256_to_refresh")), (joined, None));
        assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Cache);

        let token = identity.token(RESOURCE).claims(CLAIMS).await.unwrap();
        assert_eq!(token.source(), TokenSource::Network);
        let entry = lab.last(Source::ServiceFabric);
        let hash = sha256_hex(refused.secret().expose());
        assert_eq!(
            (entry.query("xms_cc"), entry.query("token_sha256_to_refresh")),
            (joined, Some(hash.as_str()))
        );
        assert!(!entry.target().contains("nbf"), "the claims themselves are never sent");
        let cached = identity.token(RESOURCE).await.unwrap();
        assert_eq!(cached.secret().expose(), token.secret().expose(), "it replaces the refused one");

        let forced = identity.token(RESOURCE).claims(CLAIMS).force_refresh().await.unwrap();
        let hash = sha256_hex(token.secret().expose());
        let entry = lab.last(Source::ServiceFabric);
        assert_eq!(entry.query("token_sha256_to_refresh"), Some(hash.as_str()));
        assert_ne!(forced.secret().expose(), token.secret().expose());

        identity.token(RESOURCE).force_refresh().await.unwrap();
        assert_eq!(lab.last(Source::ServiceFabric).query("token_sha256_to_refresh"), None);
    }
}

const VAULT: &str = crate::lab::VAULT;

/// NET-09, NET-10, NET-35, §7.7.7: everywhere else.
#[tokio::test]
async fn other_sources_are_told_neither_and_claims_are_refused() {
    for source in Source::ALL.into_iter().filter(|source| *source != Source::ServiceFabric) {
        let lab = Lab::new().await;
        let identity = lab.builder(source).capabilities(["cp1", "cp2"]).build().unwrap();
        identity.token(RESOURCE).await.unwrap();
        let entry = lab.last(source);
        for name in ["xms_cc", "token_sha256_to_refresh", "claims"] {
            assert_eq!((entry.query(name), entry.form(name)), (None, None), "{source} {name}");
        }
        let before = lab.emulator.journal().entries().len();
        for request in [
            identity.token(RESOURCE).claims(CLAIMS),
            identity.token(RESOURCE).claims_from_client(CLAIMS),
            identity.token(RESOURCE).claims(CLAIMS).force_refresh(),
        ] {
            let error = request.await.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("claims_not_supported", ErrorKind::Request));
            assert!(error.correlation_id().is_some());
        }
        assert_eq!(lab.emulator.journal().entries().len(), before, "{source}");
    }
    let lab = Lab::new().await;
    let identity = lab.on(Source::ServiceFabric);
    let error = identity.token(RESOURCE).claims_from_client(CLAIMS).await.unwrap_err();
    assert_eq!(error.code(), "claims_not_supported");
    let error = identity.token(RESOURCE).claims("[").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_claims", ErrorKind::Request));
    assert_eq!(lab.emulator.journal().entries().len(), 0);
}
