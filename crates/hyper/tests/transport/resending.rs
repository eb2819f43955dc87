//! Requests whose connection is lost: the ones that are sent again, and the ones that are not.

use http::{Method, StatusCode};
use symbolon_transport::{Idempotence, Transport, TransportErrorKind};

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS};
use crate::{get, outcome, request, trusting};

/// More than the buffers of a connection hold.
const UPLOAD: usize = 16 << 20;

#[tokio::test]
async fn delivered_post_is_sent_once() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        for (identity, method, is_kept) in [
            (None, Method::POST, true),
            (None, Method::PATCH, true),
            (Some(&identity), Method::POST, true),
            (Some(&identity), Method::POST, false),
        ] {
            let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            if is_kept {
                outcome(&transport, get(&server.url(), identity)).await.unwrap();
            }
            server.lose_one(Fault::HangUpAfter(0));
            let sent = outcome(&transport, request(method.clone(), &server.url(), identity, "once")).await;
            assert_eq!(sent, Err(TransportErrorKind::Interrupted), "{version:?} {method} {is_kept}");
            let requests = server.journal().requests;
            let copies = requests.iter().filter(|one| one.text.starts_with(method.as_str())).count();
            assert_eq!(copies, 1, "{version:?} {method} {is_kept}");
        }
    }
}

#[tokio::test]
async fn idempotent_methods_are_sent_again() {
    let authority = Authority::new();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        outcome(&transport, get(&server.url(), None)).await.unwrap();
        server.lose_one(Fault::HangUpAfter(0));
        let request = request(method.clone(), &server.url(), None, "");
        let status = transport.send(request).await.map(|response| response.status());
        assert_eq!(status.map_err(|error| error.kind()), Ok(StatusCode::OK), "{method}");
        assert_eq!(server.journal().requests.len(), 3, "{method}");
    }
}

/// The close of the connection arrived before the request, so that nothing was sent on it.
#[tokio::test]
async fn unsent_post_gets_a_new_connection() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        for connections in 1..=10 {
            let sent = outcome(&transport, request(Method::POST, &server.url(), None, "once")).await;
            assert_eq!(sent.as_deref(), Ok("hello"), "{version:?}");
            assert_eq!(server.journal().accepted, connections, "{version:?}");
            server.close_all();
            crate::eventually("it is closed", || server.journal().open == 0).await;
        }
        assert_eq!(server.journal().requests.len(), 10);
    }
}

#[tokio::test]
async fn one_loss_is_no_rejection() {
    let authority = Authority::new();
    for version in VERSIONS {
        for fault in [Fault::ResetAfterHandshake, Fault::HangUpAfter(0)] {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity(Algorithm::P256);
            server.lose_one(fault);
            let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
            assert_eq!(sent.as_deref(), Ok("hello"), "{version:?} {fault:?}");
            assert_eq!(server.journal().accepted, 2, "{version:?} {fault:?}");
        }
    }
}

/// The server closes while the body is still written, so that the write fails before the read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_response_to_upload_is_returned() {
    let authority = Authority::new();
    for version in VERSIONS {
        for is_kept in [true, false] {
            for method in [Method::POST, Method::PUT].into_iter().cycle().take(10) {
                let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
                let transport = trusting(&authority).build().unwrap();
                let identity = authority.identity(Algorithm::P256);
                if is_kept {
                    outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();
                }
                server.set_fault(Fault::RefuseUpload);
                let before = server.journal().requests.len();
                let request = request(method.clone(), &server.url(), Some(&identity), vec![0; UPLOAD]);
                let sent = transport.send(request).await.map(|response| response.status());
                let sent = sent.map_err(|error| error.kind());
                assert_eq!(sent, Ok(StatusCode::PAYLOAD_TOO_LARGE), "{version:?} {method} {is_kept}");
                assert_eq!(server.journal().requests.len(), before + 1, "{version:?} {method}");
            }
        }
    }
}

/// The first loss follows an exchange that the certificate was accepted for.
#[tokio::test]
async fn loss_of_kept_connection_is_no_rejection() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();
        server.set_fault(Fault::HangUpAfter(0));
        let sent = outcome(&transport, request(Method::PUT, &server.url(), Some(&identity), "body")).await;
        assert_eq!(sent, Err(TransportErrorKind::Interrupted), "{version:?}");
        assert_eq!(server.journal().requests.len(), 3, "{version:?}");
    }
}

/// Without a second connection, one loss is no sign of a refusal.
#[tokio::test]
async fn loss_of_post_is_no_rejection() {
    let authority = Authority::new();
    for version in VERSIONS {
        for (idempotence, expected, requests) in [
            (Idempotence::None, TransportErrorKind::Interrupted, 1),
            (Idempotence::Operation, TransportErrorKind::Interrupted, 1),
            (Idempotence::Message, TransportErrorKind::IdentityRejected, 2),
        ] {
            let server = ServerOptions::new(version, ClientCertificates::Required)
                .fault(Fault::HangUpAfter(0))
                .start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity(Algorithm::P256);
            let request = request(Method::POST, &server.url(), Some(&identity), "once");
            let error = transport.send(request.with_idempotence(idempotence)).await.unwrap_err();
            assert_eq!((error.kind(), error.is_unprocessed()), (expected, false), "{version:?}");
            assert_eq!(server.journal().requests.len(), requests, "{version:?} {idempotence:?}");
        }
    }
}

#[tokio::test]
async fn refused_certificate_is_unprocessed() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = stranger.identity(Algorithm::P256);
        let request = request(Method::POST, &server.url(), Some(&identity), "once");
        let error = transport.send(request).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::IdentityRejected, "{version:?}");
        assert!(error.is_unprocessed(), "{error:?}");
        assert_eq!(server.journal().accepted, 1, "{version:?}: an alert is a refusal at once");
    }
}

/// The new connection fails before anything is sent, but the kept one had delivered the request.
#[tokio::test]
async fn delivery_is_remembered_after_a_reconnect() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    outcome(&transport, get(&server.url(), None)).await.unwrap();
    server.set_fault(Fault::ResetAtOnce);
    let error = transport.send(get(&server.url(), None)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unprocessed()), (TransportErrorKind::Interrupted, false));
    let error = transport.send(get(&server.url(), None)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unprocessed()), (TransportErrorKind::Interrupted, true));
}
