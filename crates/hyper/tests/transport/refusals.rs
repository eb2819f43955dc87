//! Client certificates that are refused, unusable or not requested.

use std::error::Error as _;

use symbolon_hyper::TlsVersion;
use symbolon_transport::{Transport, TransportErrorKind};
use symbolon_types::SigningError;

use crate::authority::Authority;
use crate::keys::{ALGORITHMS, Algorithm, TestKey};
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS};
use crate::{eventually, get, outcome, trusting};

#[tokio::test]
async fn rejected_certificate_is_identity_rejected() {
    let authority = Authority::new();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity(algorithm);
            server.reject(identity.thumbprint());
            for repetition in 0..200 {
                let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
                assert_eq!(sent, Err(TransportErrorKind::IdentityRejected), "{version:?}, {repetition}");
            }
            assert!(server.journal().requests.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parallel_task_sees_the_rejection() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let (good, bad) = (authority.identity(Algorithm::P256), authority.identity(Algorithm::P256));
    server.reject(bad.thumbprint());
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let (transport, url) = (transport.clone(), server.url());
            let is_good = number % 4 == 0;
            let identity = if is_good { good.clone() } else { bad.clone() };
            tokio::spawn(async move { (is_good, outcome(&transport, get(&url, Some(&identity))).await) })
        })
        .collect();
    for task in tasks {
        let (is_good, sent) = task.await.unwrap();
        if is_good {
            assert_eq!(sent.as_deref(), Ok("hello"));
        } else {
            assert_eq!(sent, Err(TransportErrorKind::IdentityRejected));
        }
    }
}

#[tokio::test]
async fn unknown_issuer_is_identity_rejected() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = stranger.identity(Algorithm::P256);
        let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
        assert_eq!(sent, Err(TransportErrorKind::IdentityRejected));
    }
}

#[tokio::test]
async fn loss_of_fresh_connection_is_a_rejection() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        for (fault, with, without) in [
            (
                Fault::ResetAfterHandshake,
                TransportErrorKind::IdentityRejected,
                TransportErrorKind::Interrupted,
            ),
            (Fault::HangUpAfter(0), TransportErrorKind::IdentityRejected, TransportErrorKind::Interrupted),
            // The server has not seen the certificate.
            (Fault::ResetAtOnce, TransportErrorKind::Interrupted, TransportErrorKind::Interrupted),
            // The server has responded, so it accepted the certificate.
            (Fault::HangUpAfter(20), TransportErrorKind::Interrupted, TransportErrorKind::Interrupted),
        ] {
            let server =
                ServerOptions::new(version, ClientCertificates::Optional).fault(fault).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            for (identity, expected) in [(Some(&identity), with), (None, without)] {
                // The first loss may have another reason.
                let connections = if expected == TransportErrorKind::IdentityRejected { 2 } else { 1 };
                for _ in 0..10 {
                    let before = server.journal().accepted;
                    let sent = outcome(&transport, get(&server.url(), identity)).await;
                    assert_eq!(sent, Err(expected), "{version:?} {fault:?}");
                    assert_eq!(server.journal().accepted, before + connections, "{version:?} {fault:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn closed_kept_connection_is_no_rejection() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required)
            .fault(Fault::CloseAfterResponse)
            .start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        for _ in 0..20 {
            let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
            assert_eq!(sent.as_deref(), Ok("hello"), "{version:?}");
        }
    }
}

#[tokio::test]
async fn rejection_is_reported_after_reconnect() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server =
            ServerOptions::new(version, ClientCertificates::Required).without_resumption().start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();
        server.reject(identity.thumbprint());
        server.set_fault(Fault::HangUpAfter(0));
        let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
        assert_eq!(sent, Err(TransportErrorKind::IdentityRejected));
        assert_eq!(server.journal().accepted, 2);
    }
}

#[tokio::test]
async fn rejected_identity_makes_full_handshake() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        let request = || get(&server.url(), Some(&identity));
        outcome(&transport, request()).await.unwrap();
        server.close_all();
        eventually("it is closed", || server.journal().open == 0).await;
        server.set_fault(Fault::ResetAfterHandshake);
        assert_eq!(outcome(&transport, request()).await, Err(TransportErrorKind::IdentityRejected));
        server.set_fault(Fault::None);
        outcome(&transport, request()).await.unwrap();
        let resumed: Vec<_> = server.journal().handshakes.iter().map(|one| one.is_resumed).collect();
        assert_eq!(resumed, [false, true, false, false], "{version:?}");
    }
}

#[tokio::test]
async fn server_without_request_gets_nothing() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        // Repeated: the session of the first handshake must not bypass the check in the second.
        for _ in 0..5 {
            let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
            assert_eq!(sent, Err(TransportErrorKind::IdentityNotRequested), "{version:?}");
        }
        let journal = server.journal();
        assert!(journal.requests.is_empty());
        assert!(journal.handshakes.iter().all(|one| !one.is_resumed), "{journal:?}");
        // Without an identity, the request is sent and its session is kept.
        for _ in 0..2 {
            assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
        }
    }
}

#[tokio::test]
async fn failing_key_is_identity_unusable() {
    let authority = Authority::new();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity_of(TestKey::generate(algorithm).failing());
            let error = transport.send(get(&server.url(), Some(&identity))).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::IdentityUnusable);
            let source = error.source().and_then(|source| source.downcast_ref::<SigningError>());
            assert!(matches!(source, Some(SigningError::Failed(_))), "{error:?}");
            assert!(server.journal().requests.is_empty());
        }
    }
}

#[tokio::test]
async fn request_with_identity_requires_tls() {
    let authority = Authority::new();
    let transport = trusting(&authority).build().unwrap();
    let identity = authority.identity(Algorithm::P256);
    let sent = outcome(&transport, get("http://localhost:1/", Some(&identity))).await;
    assert_eq!(sent, Err(TransportErrorKind::Insecure));
}

#[tokio::test]
async fn endless_interim_responses_are_an_error() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        for is_kept in [false, true] {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            if is_kept {
                outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();
            }
            server.set_fault(Fault::InterimOnly);
            let error = transport.send(get(&server.url(), Some(&identity))).await.unwrap_err();
            assert_eq!((error.kind(), error.is_unprocessed()), (TransportErrorKind::Protocol, false));
            assert!(error.to_string().contains("64 interim responses"), "{error}");
        }
    }
}

/// The server ends the handshake before it has seen a certificate.
#[tokio::test]
async fn early_alert_has_no_advice_about_roots() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = ServerOptions::new(VERSIONS[0], ClientCertificates::Required).start(&authority);
    let transport = trusting(&authority).minimum_tls(TlsVersion::V1_3).build().unwrap();
    for identity in [None, Some(&identity)] {
        let error = transport.send(get(&server.url(), identity)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Tls);
        let shown = error.into_error("no token").to_string();
        assert!(shown.contains("TLS version") && !shown.contains("SSL_CERT_FILE"), "{shown}");
        assert!(shown.contains(&format!("localhost:{}", server.address().port())), "{shown}");
    }
}

#[tokio::test]
async fn refused_server_is_named_with_advice() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (issuer, names, parts) in [
        (&stranger, &["localhost"][..], &["SSL_CERT_FILE", "--ca-file", "invalid peer certificate"][..]),
        (&authority, &["service.example"], &["host name", "service.example"]),
    ] {
        let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).named(names).start(issuer);
        let transport = trusting(&authority).build().unwrap();
        let error = transport.send(get(&server.url(), None)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Tls);
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let shown = format!("{} {cause}", error.into_error("no token"));
        let address = format!("localhost:{}", server.address().port());
        for part in parts.iter().chain([&address.as_str()]) {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}

/// Nothing was sent, and the error says what is missing.
#[test]
fn missing_runtime_is_named() {
    let authority = Authority::new();
    let transport = trusting(&authority).build().unwrap();
    let mut sending = Box::pin(transport.send(get("https://localhost:1/", None)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(sent) = sending.as_mut().poll(&mut context) else { panic!("it waits") };
    let shown = sent.unwrap_err().into_source_error("App Service").to_string();
    assert!(shown.contains("this thread runs no Tokio runtime") && shown.contains("tokio::main"), "{shown}");
    assert!(!shown.contains("ability"), "{shown}");
}
