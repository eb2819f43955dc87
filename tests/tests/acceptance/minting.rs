//! Managed identities through IMDSv2: minting, token request, cache.

use crate::test_env::{Counts, TestEnv};
use symbolon::{ClientIdentity, ManagedIdentityId, Thumbprint, Token, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;

fn bound_to(token: &Token) -> Thumbprint {
    token.bound_to().map(ClientIdentity::thumbprint).unwrap()
}

/// The system-assigned identity, and a user-assigned identity by each of its ids.
fn names(test_env: &TestEnv) -> [ManagedIdentityId; 4] {
    let ids = test_env.emulator.user_assigned();
    [
        ManagedIdentityId::system_assigned(),
        ManagedIdentityId::client_id(&ids.client_id).unwrap(),
        ManagedIdentityId::object_id(&ids.object_id).unwrap(),
        ManagedIdentityId::resource_id(&ids.resource_id).unwrap(),
    ]
}

#[tokio::test]
async fn every_identity_kind_gets_a_bound_token() {
    let test_env = TestEnv::new().await;
    let mut certificates = Vec::new();
    for (at, name) in names(&test_env).into_iter().enumerate() {
        let client = if at == 0 {
            test_env.emulator.client_id()
        } else {
            &test_env.emulator.user_assigned().client_id
        };
        let identity = test_env.builder().identity(name.clone()).build().unwrap();
        let first = test_env.bound_token(&identity).await;
        let hit = test_env.bound_token(&identity).await;
        assert_eq!([first.origin(), hit.origin()], [TokenOrigin::Network, TokenOrigin::Cache], "{name:?}");
        for token in [&first, &hit] {
            assert_eq!((token.token_type(), token.client_id()), ("mtls_pop", Some(client)), "{name:?}");
            assert_eq!(bound_to(token), test_env.last_certificate(), "{name:?}");
            assert_eq!(test_env.call(&identity, token).await.status(), 200, "{name:?}");
        }
        // Another client of the same process mints for itself, whichever id it uses.
        assert_eq!(test_env.counts(), Counts::of(at + 1, at + 1, at + 1), "{name:?}");
        certificates.push(bound_to(&first));
    }
    certificates.sort_by_key(|thumbprint| *thumbprint.as_bytes());
    certificates.dedup();
    assert_eq!(certificates.len(), 4);
}

#[tokio::test]
async fn forced_refresh_does_not_mint() {
    const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;
    let test_env = TestEnv::new().await;
    for (at, name) in names(&test_env).into_iter().enumerate() {
        let identity = test_env.builder().identity(name.clone()).build().unwrap();
        let mut last = test_env.bound_token(&identity).await;
        for (forced, claims) in [
            (identity.token(RESOURCE).force_refresh(), None),
            (identity.token(RESOURCE).force_refresh().claims(CHALLENGE), Some(CHALLENGE)),
        ] {
            let token = test_env.keep(forced.proof_of_possession().await.unwrap());
            assert_eq!(
                (token.origin(), bound_to(&token)),
                (TokenOrigin::Network, bound_to(&last)),
                "{name:?}"
            );
            assert_ne!(token.secret().expose(), last.secret().expose(), "{name:?}");
            assert_eq!(test_env.last_token_request().form("claims"), claims, "{name:?}");
            last = token;
        }
        let hit = test_env.bound_token(&identity).await;
        assert_eq!((hit.origin(), hit.secret().expose()), (TokenOrigin::Cache, last.secret().expose()));
        assert_eq!(test_env.counts(), Counts::of(at + 1, at + 1, 3 * (at + 1)), "{name:?}");
    }
}

#[tokio::test]
async fn token_request_has_only_its_parameters() {
    let test_env = TestEnv::new().await;
    for (over_mtls, names) in [
        (false, &["client_id", "grant_type", "scope", "token_type"][..]),
        (true, &["client_id", "grant_type", "scope"]),
    ] {
        let identity = test_env.identity();
        let request = identity.token(RESOURCE);
        let request = if over_mtls { request.over_mtls() } else { request.proof_of_possession() };
        test_env.keep(request.await.unwrap());
        let sent = test_env.last_token_request();
        let mut fields: Vec<&str> = sent.form_names().collect();
        fields.sort_unstable();
        assert_eq!(fields, names);
        for (name, value) in [
            ("client_id", test_env.emulator.client_id()),
            ("grant_type", "client_credentials"),
            ("scope", "https://vault.example/.default"),
        ] {
            assert_eq!(sent.form(name), Some(value));
        }
        assert_eq!(sent.form("token_type"), (!over_mtls).then_some("mtls_pop"));
        assert_eq!(sent.certificate(), Some(test_env.last_certificate()));
        assert_eq!(sent.query("bypass_cache"), None);
    }
}

#[tokio::test]
async fn unrelated_errors_do_not_mint_again() {
    for (fault, code, counts) in [
        (Fault::oauth_error("invalid_request", &[900_144]), "invalid_request", Counts::of(1, 1, 1)),
        (Fault::malformed_json(Step::PlatformMetadata), "invalid_response", Counts::of(1, 0, 0)),
        (Fault::malformed_json(Step::IssueCredential), "invalid_response", Counts::of(1, 1, 0)),
        (Fault::without_server_header(Step::PlatformMetadata), "invalid_response", Counts::of(1, 0, 0)),
    ] {
        let test_env = TestEnv::new().await;
        let identity = test_env.identity();
        test_env.emulator.inject(fault);
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), test_env.counts()), (code, counts), "{error}");
        assert_eq!(
            test_env.bound_token(&identity).await.origin(),
            TokenOrigin::Network,
            "nothing stays of it"
        );
    }
}

#[cfg(unix)]
mod on_one_store {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use symbolon::{
        Attestation, AttestationRequest, Attester, Error, ManagedIdentityBuilder, PersistedKeys, Strength,
        TokenCache,
    };
    use symbolon_types::{Jitter, Secret};

    use super::*;

    /// Clients that share a key, a binding store and a token cache.
    fn sharing(test_env: &TestEnv, folder: &Path, cache: &TokenCache) -> ManagedIdentityBuilder {
        let keys = PersistedKeys::p256(folder);
        test_env.builder().persist_bindings(folder).key_provider(keys).cache(cache.clone())
    }

    fn cache(test_env: &TestEnv) -> TokenCache {
        TokenCache::new(100, &test_env.context().with_jitter(Jitter::fixed(0.5)))
    }

    #[tokio::test]
    async fn minimum_strength_separates_tokens() {
        let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
        let parent = tempfile::tempdir().unwrap();
        let (folder, cache) = (parent.path().join("state"), cache(&test_env));
        let first = test_env.bound_token(&sharing(&test_env, &folder, &cache).build().unwrap()).await;
        let floored = sharing(&test_env, &folder, &cache).minimum_strength(Some(Strength::Software));
        let floored = floored.build().unwrap();
        let mut sources = Vec::new();
        for _ in 0..2 {
            let token = test_env.bound_token(&floored).await;
            assert_eq!(bound_to(&token), bound_to(&first));
            sources.push(token.origin());
        }
        assert_eq!(sources, [TokenOrigin::Network, TokenOrigin::Cache]);
        assert_eq!(test_env.counts(), Counts::of(2, 1, 2));
        let too_high = sharing(&test_env, &folder, &cache).minimum_strength(Some(Strength::KeyGuard));
        let error = too_high.build().unwrap().token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), test_env.counts().tokens), ("min_strength_not_met", 2));
    }

    /// Attests every key.
    #[derive(Debug)]
    struct Vouching(SystemTime);

    impl Attester for Vouching {
        async fn attest(&self, _: &AttestationRequest<'_>) -> Result<Attestation, Error> {
            Ok(Attestation::new(Secret::new("header.statement.signature"), self.0))
        }
    }

    #[tokio::test]
    async fn attested_bindings_need_attestation() {
        let test_env = TestEnv::with_system_clock(|emulator| emulator.attestation_required()).await;
        let parent = tempfile::tempdir().unwrap();
        let (folder, cache) = (parent.path().join("state"), cache(&test_env));
        let expires_at = test_env.clock().now() + Duration::from_secs(3600);
        let attesting = sharing(&test_env, &folder, &cache).attester(Vouching(expires_at)).build().unwrap();
        let attested = test_env.bound_token(&attesting).await;
        assert!(test_env.emulator.journal().last(Step::IssueCredential).unwrap().attested);
        let plain = sharing(&test_env, &folder, &cache).build().unwrap();
        for request in [plain.token(RESOURCE), plain.token(RESOURCE).force_refresh()] {
            let error = request.proof_of_possession().await.unwrap_err();
            assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(400)));
        }
        assert_eq!((test_env.emulator.issued().len(), test_env.counts().tokens), (1, 1));
        let hit = test_env.bound_token(&attesting).await;
        assert_eq!((hit.origin(), bound_to(&hit)), (TokenOrigin::Cache, bound_to(&attested)));
    }
}
