//! The cost of a cache hit, bearer and bound, compared with the cache alone; and of building a
//! managed identity.

#![expect(clippy::expect_used, reason = "a failed setup stops the benchmark")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use symbolon::parts::token::{AccessToken, CacheKey, Expiry, IssuedToken, Partition};
use symbolon::{
    Context, CorrelationId, Env, HyperTransport, ManagedIdentity, Secret, SoftwareKeys, TokenCache,
};
use symbolon_emulator::{Emulator, Source};

const RESOURCE: &str = "https://vault.example";

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cache = TokenCache::new(TokenCache::DEFAULT_CAPACITY, &Context::default());
    let partition = Partition::machine_bound("a source");
    let key = CacheKey::bearer(&partition, RESOURCE);
    let (emulator, identity) = runtime.block_on(async {
        let emulator = Emulator::start().await.expect("an emulator");
        let env: Env = emulator.environment().into_iter().collect();
        let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build();
        let builder = ManagedIdentity::builder()
            .context(Context::default().with_env(env))
            .transport(transport.expect("a transport"));
        let identity = builder.key_provider(SoftwareKeys::p256()).cache(cache.clone()).build();
        let identity = identity.expect("an identity");
        let fetched = IssuedToken::bearer(
            AccessToken::parse(Secret::new("token")).expect("a token"),
            Expiry::after(Duration::from_secs(86_400)),
            CorrelationId::random(),
        );
        cache.obtain(&key, || async { Ok(fetched) }).await.expect("a token in the cache");
        identity.token(RESOURCE).await.expect("a bearer token");
        identity.token(RESOURCE).proof_of_possession().await.expect("a bound token");
        (emulator, identity)
    });
    let app_service: Env = emulator.environment_of(Source::AppService).into_iter().collect();
    let mut group = criterion.benchmark_group("managed identity");
    group.bench_function("bearer hit", |bencher| {
        bencher.iter(|| black_box(identity.token(black_box(RESOURCE)).into_future().now_or_never()));
    });
    group.bench_function("bound hit", |bencher| {
        bencher.iter(|| {
            black_box(identity.token(black_box(RESOURCE)).proof_of_possession().into_future().now_or_never())
        });
    });
    // The part of the minter in a bound hit.
    group.bench_function("current binding", |bencher| bencher.iter(|| black_box(identity.binding())));
    group.bench_function("hit in the cache alone", |bencher| {
        bencher.iter(|| black_box(cache.find(black_box(&key))));
    });
    for (name, env) in [("metadata service", Env::empty()), ("App Service", app_service)] {
        group.bench_function(format!("make one for the {name}"), |bencher| {
            bencher.iter(|| {
                black_box(
                    ManagedIdentity::builder().context(Context::default().with_env(env.clone())).build(),
                )
            });
        });
    }
    group.finish();
}

criterion_group!(hit, benches);
criterion_main!(hit);
