//! What a cache hit costs, with few and with many tokens, and what the core adds to a miss.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up should stop")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientSecret, Token, TokenCache, TokenClient};
use symbolon_transport::{Response, transport_fn};
use symbolon_types::{Jitter, Secret, SharedClock};

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
    let cache = TokenCache::new(capacity, clock, Jitter::os());
    TokenClient::builder(credential, transport).cache(cache).build()
}

fn token(client: &TokenClient, scope: &str) -> Token {
    client
        .token(scope)
        .into_future()
        .now_or_never()
        .expect("a transport that answers at once")
        .expect("a token")
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for count in [1_usize, 1_000, 100_000] {
        let client = client(4 * count);
        let scopes: Vec<String> =
            (0..count).map(|number| format!("https://{number}.vault.example/.default")).collect();
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
    group.bench_function("hit among 1000, while another thread hits", |bencher| {
        let client = client(4_000);
        let scopes: Vec<String> =
            (0..1_000).map(|number| format!("https://{number}.vault.example/.default")).collect();
        for scope in &scopes {
            token(&client, scope);
        }
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for scope in scopes.iter().rev().cycle() {
                    if is_done.load(Ordering::Relaxed) {
                        break;
                    }
                    black_box(token(&client, scope));
                }
            });
            let mut next = 0;
            bencher.iter(|| {
                next = (next + 7919) % scopes.len();
                black_box(token(&client, black_box(&scopes[next])))
            });
            is_done.store(true, Ordering::Relaxed);
        });
    });
    group.bench_function("miss", |bencher| {
        bencher.iter_batched_ref(
            || client(16),
            |client| black_box(token(client, "a")),
            BatchSize::SmallInput,
        );
    });
    let clock = SharedClock::system();
    // The floor: a borrowed key in a map, a reference counted, and a clock read.
    for count in [1_usize, 1_000, 100_000] {
        let scopes: Vec<String> =
            (0..count).map(|number| format!("https://{number}.vault.example/.default")).collect();
        let map: HashMap<String, Arc<str>> =
            scopes.iter().map(|scope| (scope.clone(), "t".repeat(1500).into())).collect();
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
