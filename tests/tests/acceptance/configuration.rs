//! CFG: what a credential must be before anything is sent.

use symbolon::{ClientIdentity, ErrorKind, Strength, TokenSource};
use symbolon_emulator::{Step, TlsVersion};
use symbolon_tests::{OpaqueKey, OpaqueKeys, RESOURCE, World};
use symbolon_types::{IdentityError, SharedSigningKey};

#[tokio::test]
async fn cfg_03_a_managed_identity_gets_a_bound_token_with_its_certificate() {
    let world = World::new().await;
    let identity = world.identity();
    let token = world.bound(&identity).await;
    assert_eq!(token.token_type(), "mtls_pop");
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(world.last_certificate()));
    assert_eq!(token.tenant_id(), Some(world.emulator.tenant_id()));
    assert_eq!(token.client_id(), Some(world.emulator.client_id()));
}

#[tokio::test]
async fn cfg_06_a_certificate_without_its_key_is_refused_before_any_request() {
    let world = World::new().await;
    let foreign = world.emulator.issue_client_certificate("client").unwrap();
    let other_key = SharedSigningKey::new(OpaqueKey::rsa_2048());
    let chain = vec![foreign.certificate().der().to_vec().into()];
    for _ in 0..2 {
        let refused = ClientIdentity::new(chain.clone(), other_key.clone());
        assert_eq!(refused.unwrap_err(), IdentityError::KeyMismatch);
    }
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_08_a_key_that_cannot_be_exported_signs_both_handshakes() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let world = World::with(|emulator| emulator.tls_version(version)).await;
        let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
        let identity = world.builder().key_provider(keys).build().unwrap();
        let token = world.bound(&identity).await;
        assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(Strength::Hardware));
        assert_eq!(world.call(&identity, &token).await.status(), 200, "{version}");
    }
}

#[tokio::test]
async fn a_key_below_the_minimum_strength_costs_no_certificate() {
    let world = World::new().await;
    let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
    let identity = |minimum| {
        let builder = world.builder().key_provider(keys.clone()).minimum_strength(Some(minimum));
        builder.build().unwrap()
    };
    let error = identity(Strength::KeyGuard).token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("min_strength_not_met", ErrorKind::Environment));
    assert_eq!((world.counts().issuances, world.counts().tokens), (0, 0));
    let token = world.bound(&identity(Strength::Hardware)).await;
    assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(Strength::Hardware));
}

#[tokio::test]
async fn a_trusted_token_host_that_is_no_host_name_is_refused_when_the_identity_is_built() {
    let world = World::new().await;
    for (host, accepted) in [
        ("mtlsauth.contoso.example", true),
        ("https://mtlsauth.contoso.example", false),
        (".example", false),
        ("*.example", false),
    ] {
        let built = world.builder().trusted_token_hosts([host]).build();
        let code = built.as_ref().err().map(|error| error.code().to_owned());
        assert_eq!(code.as_deref(), if accepted { None } else { Some("invalid_configuration") }, "{host}");
    }
}

#[tokio::test]
async fn a_bearer_request_that_the_metadata_service_cannot_serve_is_refused_also_on_a_hit() {
    let world = World::new().await;
    let identity = world.identity();
    world.keep(identity.token(RESOURCE).await.unwrap());
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
    assert_eq!(world.count(Step::ImdsToken), 1, "none of them was sent");
    let blank = world.keep(identity.token(RESOURCE).claims(" ").claims_from_client("").await.unwrap());
    assert_eq!(blank.source(), TokenSource::Cache, "blank claims are none");
}

#[tokio::test]
async fn a_bearer_token_is_kept_under_its_resource_and_a_forced_refresh_fetches_another() {
    let world = World::new().await;
    let identity = world.identity();
    let default = format!("{RESOURCE}/.default");
    let first = world.keep(identity.token(&default).await.unwrap());
    assert_eq!((first.audience(), first.source()), (RESOURCE, TokenSource::Network));
    assert_eq!(first.client_id(), Some(world.emulator.client_id()));
    let journal = world.emulator.journal();
    assert_eq!(journal.last(Step::ImdsToken).unwrap().query("resource"), Some(RESOURCE));
    let hit = world.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((hit.secret().expose(), hit.source()), (first.secret().expose(), TokenSource::Cache));
    let forced = world.keep(identity.token(RESOURCE).force_refresh().await.unwrap());
    assert_eq!(forced.source(), TokenSource::Network);
    let hit = world.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((hit.secret().expose(), hit.source()), (forced.secret().expose(), TokenSource::Cache));
    assert_eq!(world.count(Step::ImdsToken), 2);
}
