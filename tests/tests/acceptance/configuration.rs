//! CFG: what a credential must be before anything is sent.

use symbolon::ClientIdentity;
use symbolon_emulator::TlsVersion;
use symbolon_tests::{OpaqueKey, OpaqueKeys, World};
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
        assert_eq!(token.bound_to().map(ClientIdentity::strength), Some(symbolon::Strength::Hardware));
        assert_eq!(world.call(&identity, &token).await.status(), 200, "{version}");
    }
}
