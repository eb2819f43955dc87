//! HTTP: connections, cancellation, deadlines.

use std::time::Duration;

use crate::test_env::TestEnv;
use futures_util::FutureExt;
use symbolon::{Context, HyperTransport, TokenOrigin};
use symbolon_emulator::{Fault, Step, TlsVersion};
use symbolon_hyper::TlsVersion as Minimum;
use symbolon_tests::RESOURCE;

#[tokio::test]
async fn http_01_the_minimum_tls_version_is_kept() {
    let test_env = TestEnv::with(|emulator| emulator.tls_version(TlsVersion::V1_2)).await;
    let strict = HyperTransport::builder()
        .context(Context::default().with_env(symbolon::Env::empty()))
        .platform_roots(false)
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes())
        .minimum_tls(Minimum::V1_3)
        .build()
        .unwrap();
    let identity = test_env.builder().transport(strict).build().unwrap();
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "transport_error");
    assert_eq!(test_env.counts().issuances, 1, "no common version is no fault of the certificate");
    assert_eq!(test_env.counts().tokens, 0);
}

#[tokio::test]
async fn http_02_one_certificate_reuses_its_connection() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    for _ in 0..10 {
        test_env.keep(identity.token(RESOURCE).proof_of_possession().force_refresh().await.unwrap());
    }
    let journal = test_env.emulator.journal();
    let connections: std::collections::HashSet<_> =
        journal.of(Step::Token).map(|entry| entry.connection).collect();
    assert_eq!((journal.count(Step::Token), connections.len()), (10, 1));
}

#[tokio::test]
async fn http_03_rotation_drops_old_connections() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let identity = test_env.identity();
        let old = test_env.bound_token(&identity).await;
        test_env.emulator.revoke(test_env.last_certificate());
        let new =
            test_env.keep(identity.token(RESOURCE).proof_of_possession().force_refresh().await.unwrap());
        assert_ne!(old.bound_to(), new.bound_to());
        let journal = test_env.emulator.journal();
        let requests: Vec<_> = journal.of(Step::Token).collect();
        let [first, refused, last] = &requests[..] else { panic!("three token requests:\n{journal}") };
        assert_eq!((first.certificate(), refused.status()), (refused.certificate(), Some(401)));
        assert_eq!(last.certificate(), new.bound_to().map(symbolon::ClientIdentity::thumbprint), "{version}");
        assert_ne!(last.connection, refused.connection, "{version}");
        assert!(!last.is_resumed(), "{version}");
    }
}

#[tokio::test]
async fn http_06_cancelled_request_ends_at_once() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let identity = test_env.identity();
    test_env.bound_token(&identity).await;
    let clock = test_env.clock();
    for fault in [Fault::stall(Step::Handshake), Fault::stall(Step::Token)] {
        let other = test_env.identity();
        test_env.emulator.inject(fault);
        let mut stuck = Box::pin(other.token(RESOURCE).proof_of_possession().into_future());
        tokio::select! {
            biased;
            _ = &mut stuck => panic!("it does not answer"),
            () = clock.sleep(Duration::from_millis(300)) => {}
        }
        let hit = identity.token(RESOURCE).proof_of_possession().into_future().now_or_never();
        assert_eq!(hit.unwrap().unwrap().origin(), TokenOrigin::Cache, "a hit does not wait for anybody");
        drop(stuck);
        let token = test_env.bound_token(&other).await;
        assert_eq!(token.origin(), TokenOrigin::Network, "nothing of the cancelled request was kept");
    }
}

#[tokio::test]
async fn http_07_stalled_endpoint_times_out() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    for step in [Step::PlatformMetadata, Step::IssueCredential, Step::Token, Step::ImdsToken] {
        test_env.emulator.inject(Fault::stall(step));
        let identity = test_env.builder().deadline(Duration::from_millis(400)).build().unwrap();
        let before = test_env.clock().now();
        let request = identity.token(RESOURCE);
        let is_bearer = step == Step::ImdsToken;
        let request = if is_bearer { request } else { request.proof_of_possession() };
        let error = request.await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("timeout", true), "{step}");
        assert!(error.to_string().contains("400ms") && error.correlation_id().is_some(), "{error}");
        let hosts = ["(127.0.0.1:", "(localhost:"];
        assert!(hosts.iter().any(|host| error.to_string().contains(host)), "{error}");
        let took = test_env.clock().now().duration_since(before).unwrap();
        // Less than the timeout of an attempt, so the deadline ended it.
        assert!(took < Duration::from_secs(8), "{step}: {took:?}");
    }
}

/// The resource receives the request completely, and resets its connection, new or kept.
#[tokio::test]
async fn http_08_lost_post_is_sent_once() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (is_bound, is_kept) in [(true, true), (true, false), (false, true), (false, false)] {
            let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
            let identity = test_env.identity();
            let token = match is_bound {
                true => test_env.bound_token(&identity).await,
                false => test_env.keep(identity.token(RESOURCE).await.unwrap()),
            };
            let mut before = 0;
            if is_kept {
                assert_eq!(test_env.call(&identity, &token).await.status(), 200);
                before = 1;
            }
            test_env.emulator.inject(Fault::reset(Step::Resource));
            let mut request = test_env.resource_request();
            *request.method_mut() = http::Method::POST;
            let error = identity.call(&token, request).await.unwrap_err();
            let case = format!("{version}, bound: {is_bound}, kept: {is_kept}: {error}");
            assert_eq!((error.code(), error.is_transient()), ("transport_error", false), "{case}");
            assert!(!error.to_string().contains("certificate"), "{case}");
            assert_eq!(test_env.count(Step::Resource), before + 1, "{case}");
        }
    }
}
