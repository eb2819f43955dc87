//! Allocations of a cache hit.

use std::future::IntoFuture;

use futures_util::FutureExt;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity, SoftwareKeys, Token, TokenOrigin};
use symbolon_emulator::Emulator;

#[test]
fn cache_hit_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_emulator, identity) = runtime.block_on(async {
        let emulator = Emulator::start().await.unwrap();
        let env: Env = emulator.environment().into_iter().collect();
        let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes());
        let builder = ManagedIdentity::builder()
            .context(Context::default().with_env(env))
            .key_provider(SoftwareKeys::p256());
        let identity = builder.transport(transport.build().unwrap()).build().unwrap();
        identity.token("https://vault.example").await.unwrap();
        identity.token("https://vault.example").proof_of_possession().await.unwrap();
        (emulator, identity)
    });
    let bearer = || identity.token("https://vault.example").into_future().now_or_never();
    let bound = || identity.token("https://vault.example").proof_of_possession().into_future().now_or_never();
    for ask in [&bearer as &dyn Fn() -> Option<Result<Token, _>>, &bound] {
        let mut source = None;
        let counted = allocation_counter::measure(|| {
            source = ask().and_then(Result::ok).map(|token| token.origin());
        });
        assert_eq!(source, Some(TokenOrigin::Cache));
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}
