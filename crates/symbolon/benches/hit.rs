//! What a cache hit costs through the facade, bearer and bound.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up should stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use symbolon::{Env, HyperTransport, ManagedIdentity, SoftwareKeys};
use symbolon_emulator::Emulator;

const RESOURCE: &str = "https://vault.example";

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_emulator, identity) = runtime.block_on(async {
        let emulator = Emulator::start().await.expect("an emulator");
        let env: Env = emulator.environment().into_iter().collect();
        let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build();
        let builder = ManagedIdentity::builder().env(env).transport(transport.expect("a transport"));
        let identity = builder.key_provider(SoftwareKeys::p256()).build().expect("an identity");
        identity.token(RESOURCE).await.expect("a bearer token");
        identity.token(RESOURCE).proof_of_possession().await.expect("a bound token");
        (emulator, identity)
    });
    let mut group = criterion.benchmark_group("managed identity");
    group.bench_function("bearer hit", |bencher| {
        bencher.iter(|| black_box(identity.token(black_box(RESOURCE)).into_future().now_or_never()));
    });
    group.bench_function("bound hit", |bencher| {
        bencher.iter(|| {
            black_box(identity.token(black_box(RESOURCE)).proof_of_possession().into_future().now_or_never())
        });
    });
    group.finish();
}

criterion_group!(hit, benches);
criterion_main!(hit);
