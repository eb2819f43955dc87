//! HTTP, LIFE: many requests at once.

use std::time::Duration;

use crate::test_env::TestEnv;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use symbolon::{ClientIdentity, Context, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_04_many_tasks_share_a_certificate() {
    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    let tasks = (0..200).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            let resource = format!("https://{}.example", task % 20);
            client.token_for_resource(&resource).proof_of_possession().await.map(|token| (resource, token))
        })
    });
    for outcome in join_all(tasks).await {
        let (resource, token) = outcome.unwrap().unwrap();
        assert_eq!(test_env.keep(token).audience(), resource);
    }
    assert_eq!(test_env.count(Step::Token), 20, "one exchange for each resource");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_05_certificates_of_many_tasks_stay_apart() {
    let test_env = TestEnv::new().await;
    let transport = test_env.transport();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let certificate = test_env.certificate();
            let credential =
                symbolon_token::ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
            let client = symbolon_token::TokenClient::builder(credential, transport.clone());
            (certificate, client.context(Context::default().with_clock(test_env.clock())).build())
        })
        .collect();
    let url = test_env.emulator.resource_url();
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
        test_env.keep(token);
        assert_eq!(status, 200, "the connection presented the token's own certificate");
    }
}

#[tokio::test]
async fn life_01_failing_refresh_costs_no_error() {
    let test_env = TestEnv::with(|emulator| emulator.token_lifetime(Duration::from_secs(3600))).await;
    let identity = test_env.identity();
    let first = test_env.bound_token(&identity).await;
    test_env.manual_clock.advance(Duration::from_secs(3600 - 14 * 60));
    test_env.emulator.inject(Fault::status(Step::Token, 503).always());
    for _ in 0..60 {
        let token = test_env.bound_token(&identity).await;
        assert_eq!(token.secret().expose(), first.secret().expose());
        test_env.manual_clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    // A renewal that is still running would see the clock jump past its deadline.
    symbolon::SharedClock::system().sleep(Duration::from_millis(300)).await;
    test_env.emulator.clear_faults();
    test_env.manual_clock.advance(Duration::from_secs(6 * 60));
    let renewed = test_env.bound_token(&identity).await;
    assert_ne!(renewed.secret().expose(), first.secret().expose(), "without building anything anew");
    assert_eq!(test_env.call(&identity, &renewed).await.status(), 200);
}

#[tokio::test]
async fn life_02_stalled_resource_blocks_no_other() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let others: Vec<_> = (0..20).map(|n| format!("https://{n}.example")).collect();
    for resource in &others {
        test_env.keep(identity.token(resource).proof_of_possession().await.unwrap());
    }
    test_env.emulator.inject(Fault::stall(Step::Token).always());
    let mut stalled =
        std::pin::pin!(identity.token("https://stalled.example").proof_of_possession().into_future());
    let before = test_env.count(Step::Token);
    while test_env.count(Step::Token) == before {
        assert!((&mut stalled).now_or_never().is_none(), "it waits");
        tokio::task::yield_now().await;
    }
    for resource in others.iter().cycle().take(1000) {
        let hit = identity.token(resource).proof_of_possession().into_future().now_or_never();
        let hit = hit.expect("a hit that waits for nothing").unwrap();
        assert_eq!(hit.origin(), TokenOrigin::Cache);
    }
    assert!(stalled.now_or_never().is_none(), "it still waits");
}

#[tokio::test]
async fn life_03_thousand_tasks_mint_once() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let asks = (0..1000).map(|_| identity.token(RESOURCE).proof_of_possession().into_future());
    let tokens = join_all(asks).await;
    let secrets: std::collections::HashSet<String> =
        tokens.into_iter().map(|token| test_env.keep(token.unwrap()).secret().expose().to_owned()).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(test_env.counts(), crate::test_env::Counts::of(1, 1, 1));
}

#[tokio::test]
async fn life_03_cancelled_leader_costs_one_exchange() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(300)));
    let ask = || {
        let identity = identity.clone();
        tokio::spawn(async move { identity.token(RESOURCE).proof_of_possession().await })
    };
    let leader = ask();
    let followers: Vec<_> = (0..50).map(|_| ask()).collect();
    test_env.wait_until(|| test_env.emulator.issued().len() == 1).await;
    leader.abort();
    for follower in followers {
        let token = test_env.keep(follower.await.unwrap().unwrap());
        assert_ne!(token.origin(), TokenOrigin::Cache);
        assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(test_env.last_certificate()));
    }
    let counts = test_env.counts();
    assert!(counts.issuances == 1 && counts.tokens <= 2, "{counts:?}");
}
