//! HTTP, LIFE: many at once.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use symbolon::{ClientIdentity, Context, TokenSource};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::{RESOURCE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_04_many_tasks_with_one_certificate_all_get_their_tokens() {
    let world = World::new().await;
    let client = world.certificate_client(world.certificate());
    let tasks = (0..200).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            let resource = format!("https://{}.example", task % 20);
            client.token_for_resource(&resource).proof_of_possession().await.map(|token| (resource, token))
        })
    });
    for outcome in join_all(tasks).await {
        let (resource, token) = outcome.unwrap().unwrap();
        assert_eq!(world.keep(token).audience(), resource);
    }
    assert_eq!(world.count(Step::Token), 20, "one exchange for each resource");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_05_many_tasks_with_many_certificates_never_leak_across() {
    let world = World::new().await;
    let transport = world.transport();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let certificate = world.certificate();
            let credential =
                symbolon_token::ClientCertificate::new(world.application(), certificate.clone()).unwrap();
            let client = symbolon_token::TokenClient::builder(credential, transport.clone());
            (certificate, client.context(Context::default().with_clock(world.clock())).build())
        })
        .collect();
    let url = world.emulator.resource_url();
    let tasks = (0..160).map(|task| {
        let (certificate, client) = clients[task % 8].clone();
        let request = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
        tokio::spawn(async move {
            let resource = format!("https://{}.example", task / 32);
            let token = client.token_for_resource(&resource).proof_of_possession().await?;
            assert_eq!(token.bound_to(), Some(&certificate));
            let status = client.call(&token, request).await?.status();
            Ok::<_, symbolon::Error>((token, status))
        })
    });
    for outcome in join_all(tasks).await {
        let (token, status) = outcome.unwrap().unwrap();
        world.keep(token);
        assert_eq!(status, 200, "the connection presented the token's own certificate");
    }
}

#[tokio::test]
async fn life_01_a_refresh_that_fails_for_ten_minutes_costs_nobody_an_error() {
    let world = World::with(|emulator| emulator.token_lifetime(Duration::from_secs(3600))).await;
    let identity = world.identity();
    let first = world.bound(&identity).await;
    world.hands.advance(Duration::from_secs(3600 - 14 * 60));
    world.emulator.inject(Fault::status(Step::Token, 503).always());
    for _ in 0..60 {
        let token = world.bound(&identity).await;
        assert_eq!(token.secret().expose(), first.secret().expose());
        world.hands.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    // A renewal that is still under way would see the clock jump past its deadline.
    symbolon::SharedClock::system().sleep(Duration::from_millis(300)).await;
    world.emulator.clear_faults();
    world.hands.advance(Duration::from_secs(6 * 60));
    let renewed = world.bound(&identity).await;
    assert_ne!(renewed.secret().expose(), first.secret().expose(), "without building anything anew");
    assert_eq!(world.call(&identity, &renewed).await.status(), 200);
}

#[tokio::test]
async fn life_02_a_resource_that_stalls_keeps_no_other_waiting() {
    let world = World::new().await;
    let identity = world.identity();
    let others: Vec<_> = (0..20).map(|n| format!("https://{n}.example")).collect();
    for resource in &others {
        world.keep(identity.token(resource).proof_of_possession().await.unwrap());
    }
    world.emulator.inject(Fault::stall(Step::Token).always());
    let mut stalled =
        std::pin::pin!(identity.token("https://stalled.example").proof_of_possession().into_future());
    let before = world.count(Step::Token);
    while world.count(Step::Token) == before {
        assert!((&mut stalled).now_or_never().is_none(), "it waits");
        tokio::task::yield_now().await;
    }
    for resource in others.iter().cycle().take(1000) {
        let hit = identity.token(resource).proof_of_possession().into_future().now_or_never();
        let hit = hit.expect("a hit that waits for nothing").unwrap();
        assert_eq!(hit.source(), TokenSource::Cache);
    }
    assert!(stalled.now_or_never().is_none(), "it still waits");
}

#[tokio::test]
async fn life_03_a_thousand_tasks_on_a_cold_key_mint_and_exchange_once() {
    let world = World::new().await;
    let identity = world.identity();
    let asks = (0..1000).map(|_| identity.token(RESOURCE).proof_of_possession().into_future());
    let tokens = join_all(asks).await;
    let secrets: std::collections::HashSet<String> =
        tokens.into_iter().map(|token| world.keep(token.unwrap()).secret().expose().to_owned()).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(world.counts(), symbolon_tests::Counts::of(1, 1, 1));
}

#[tokio::test]
async fn life_03_a_leader_that_gives_up_costs_at_most_one_more_exchange() {
    let world = World::in_real_time(|emulator| emulator).await;
    let identity = world.identity();
    world.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(300)));
    let ask = || {
        let identity = identity.clone();
        tokio::spawn(async move { identity.token(RESOURCE).proof_of_possession().await })
    };
    let leader = ask();
    let followers: Vec<_> = (0..50).map(|_| ask()).collect();
    world.settle(|| world.emulator.issued().len() == 1).await;
    leader.abort();
    for follower in followers {
        let token = world.keep(follower.await.unwrap().unwrap());
        assert_ne!(token.source(), TokenSource::Cache);
        assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(world.last_certificate()));
    }
    let counts = world.counts();
    assert!(counts.issuances == 1 && counts.tokens <= 2, "{counts:?}");
}
