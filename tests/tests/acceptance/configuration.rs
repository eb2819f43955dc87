//! CFG: credentials that are refused before anything is sent.

use crate::key::{OpaqueKey, OpaqueKeys};
use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, ErrorKind, ManagedIdentity, Strength, TokenOrigin};
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
async fn cfg_09_request_has_a_strength_floor() {
    let test_env = TestEnv::new().await;
    // Of unknown strength before there is a key.
    let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
    let opaque = test_env.builder().key_provider(keys).build().unwrap();
    // Of known strength.
    let software = ManagedIdentity::builder().context(test_env.context()).transport(test_env.transport());
    let software = software.build().unwrap();
    for (identity, key, above) in [
        (&software, Strength::Software, Strength::Hardware),
        (&opaque, Strength::Hardware, Strength::KeyGuard),
    ] {
        let request = || identity.token(RESOURCE).proof_of_possession();
        let is_known = key == Strength::Software;
        let before = test_env.counts();
        let error = request().minimum_strength(above).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("min_strength_not_met", ErrorKind::Environment));
        assert_eq!(is_known, error.to_string().contains("nothing was sent"), "{error}");
        assert!(error.correlation_id().is_some(), "{key}");
        assert!(!is_known || test_env.counts() == before, "{key}");
        let over_mtls = identity.token(RESOURCE).over_mtls().minimum_strength(above).await;
        assert_eq!(over_mtls.unwrap_err().code(), "min_strength_not_met", "{key}");
        // From now on, the strength of the key is known.
        let token = test_env.keep(request().minimum_strength(key).await.unwrap());
        assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(key));
        let error = request().minimum_strength(above).await.unwrap_err();
        assert!(error.to_string().contains("nothing was sent"), "{error}");
        // A bearer token has no key.
        test_env.keep(identity.token(RESOURCE).minimum_strength(above).await.unwrap());
    }
}

#[tokio::test]
async fn cfg_10_calling_library_is_named() {
    let test_env = TestEnv::new().await;
    let caller = |entry: &symbolon_emulator::JournalEntry| {
        entry.header("x-client-current-telemetry").unwrap().to_owned()
    };
    let identity = test_env.builder().caller_sdk("contoso", "1.2").build().unwrap();
    test_env.bound_token(&identity).await;
    assert!(caller(&test_env.last_token_request()).ends_with(",contoso,1.2,"));
    test_env.bound_token(&test_env.identity()).await;
    assert!(caller(&test_env.last_token_request()).ends_with(",,,"));

    let folder = symbolon_test_programs::Folder::new();
    let assertion = test_env.keep(identity.token("api://AzureADTokenExchange").await.unwrap());
    let file = folder.path().join("token");
    std::fs::write(&file, assertion.secret().expose()).unwrap();
    let variables = [
        ("AZURE_CLIENT_ID", crate::clients::CLIENT_ID),
        ("AZURE_TENANT_ID", test_env.emulator.tenant_id()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", test_env.emulator.token_url()),
    ];
    let chain = symbolon::CredentialChain::builder()
        .workload_identity()
        .caller_sdk("contoso", "1.2")
        .context(test_env.context().with_env(variables.into_iter().collect()))
        .transport(test_env.transport());
    test_env.keep(chain.build().unwrap().token(RESOURCE).await.unwrap());
    assert!(caller(&test_env.last_token_request()).ends_with(",contoso,1.2,"));
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
