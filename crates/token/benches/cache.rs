//! The cost of a cache hit, with few and with many tokens, and of a miss without its exchange.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up should stop")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientSecret, Token, TokenCache, TokenClient};
use symbolon_transport::{Response, transport_fn};
use symbolon_types::{Context, Secret, SharedClock};

fn client(capacity: usize) -> TokenClient {
    let body =
        format!(r#"{{"token_type":"Bearer","access_token":"{}","expires_in":86400}}"#, "t".repeat(1500));
    let transport = transport_fn(move |_| {
        let body = body.clone();
        async move { Ok(Response::new(StatusCode::OK, body)) }
    });
    let authority =
        Authority::parse("https://login.microsoftonline.com/751a212b-4003-416e-b600-e1f48e40db9f");
    let authority = authority.expect("an authority");
    let application = Application::new(authority, "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3");
    let credential = ClientSecret::new(application.expect("a client id"), Secret::new("secret"));
    let credential = credential.expect("a secret");
    let clock = SharedClock::system();
    let cache = TokenCache::new(capacity, &Context::default().with_clock(clock));
    TokenClient::builder(credential, transport).cache(cache).build()
}

fn token(client: &TokenClient, scope: &str) -> Token {
    client.token(scope).into_future().now_or_never().expect("an immediate response").expect("a token")
}

fn numbered_scopes(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("https://{number}.vault.example/.default"))
}

fn bare(scopes: &[String]) -> HashMap<String, Arc<str>> {
    scopes.iter().map(|scope| (scope.clone(), "t".repeat(1500).into())).collect()
}

/// Times `work` on this thread while another thread does the same with other numbers.
fn while_another_does(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, work: impl Fn(usize) + Sync) {
    group.bench_function(name, |bencher| {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut next = 0;
                while !is_done.load(Ordering::Relaxed) {
                    next += 5_003;
                    work(next);
                }
            });
            let mut next = 0;
            bencher.iter(|| {
                next += 7_919;
                work(next);
            });
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

fn benches(criterion: &mut Criterion) {
    let clock = SharedClock::system();
    let mut group = criterion.benchmark_group("token");
    for count in [1_usize, 1_000, 100_000] {
        let client = client(4 * count);
        let scopes: Vec<String> = numbered_scopes(count).collect();
        for scope in &scopes {
            token(&client, scope);
        }
        let mut next = 0;
        group.bench_function(format!("hit among {count}"), |bencher| {
            bencher.iter(|| {
                next = (next + 7919) % count;
                black_box(token(&client, black_box(&scopes[next])))
            });
        });
    }
    let client_of_1000 = client(4_000);
    let scopes: Vec<String> = numbered_scopes(1_000).collect();
    for scope in &scopes {
        token(&client_of_1000, scope);
    }
    while_another_does(&mut group, "hit among 1000, while another thread hits", |number| {
        black_box(token(&client_of_1000, black_box(&scopes[number % 1_000])));
    });
    let map = bare(&scopes);
    while_another_does(&mut group, "bare look-up among 1000, while another thread looks up", |number| {
        black_box((map.get(black_box(&*scopes[number % 1_000])).cloned(), clock.now()));
    });
    group.bench_function("miss", |bencher| {
        bencher.iter_batched_ref(
            || client(16),
            |client| black_box(token(client, "a")),
            BatchSize::SmallInput,
        );
    });
    // The floor: a lookup by a borrowed key, a reference count, and a clock read.
    for count in [1_usize, 1_000, 100_000] {
        let scopes: Vec<String> = numbered_scopes(count).collect();
        let map = bare(&scopes);
        let mut next = 0;
        group.bench_function(format!("bare look-up and clock read among {count}"), |bencher| {
            bencher.iter(|| {
                next = (next + 7919) % count;
                black_box((map.get(black_box(&*scopes[next])).cloned(), clock.now()))
            });
        });
    }
    group.bench_function("one clock read", |bencher| bencher.iter(|| black_box(clock.now())));
    group.finish();
}

criterion_group!(cache, benches);
criterion_main!(cache);
