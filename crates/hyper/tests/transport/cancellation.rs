//! Cancelled requests.

use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, TransportError, TransportErrorKind};
use symbolon_types::{Context, Jitter, SharedClock};

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS};
use crate::{eventually, get, outcome, trusting};

#[tokio::test]
async fn cancelled_request_closes_its_connection_only() {
    let authority = Authority::new();
    let clock = SharedClock::system();
    for version in VERSIONS {
        for fault in [Fault::Stall, Fault::Mute] {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity(Algorithm::P256);
            outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();

            let stalling =
                ServerOptions::new(version, ClientCertificates::Required).fault(fault).start(&authority);
            let (url, task_transport, task_identity) = (stalling.url(), transport.clone(), identity.clone());
            let given_up =
                tokio::spawn(async move { outcome(&task_transport, get(&url, Some(&task_identity))).await });
            // Either in the handshake or waiting for the response.
            eventually("it is under way", || {
                let journal = stalling.journal();
                if fault == Fault::Stall { journal.accepted == 1 } else { journal.requests.len() == 1 }
            })
            .await;
            let before = clock.now();
            given_up.abort();
            assert!(given_up.await.unwrap_err().is_cancelled());
            eventually("its connection is closed", || stalling.journal().open == 0).await;
            assert!(clock.now().duration_since(before).unwrap() < Duration::from_secs(2));

            // The other connection of the same identity is unaffected.
            outcome(&transport, get(&server.url(), Some(&identity))).await.unwrap();
            assert_eq!(server.journal().accepted, 1);
            stalling.set_fault(Fault::None);
            outcome(&transport, get(&stalling.url(), Some(&identity))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn request_can_be_cancelled_at_any_point() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    drop(symbolon_transport::Transport::send(&transport, get(&server.url(), None)));
    // Cancel at every await point.
    for polls in 1..10 {
        let mut sending = Box::pin(outcome(&transport, get(&server.url(), None)));
        for _ in 0..polls {
            tokio::select! { biased; _sent = &mut sending => break, () = tokio::task::yield_now() => {} }
        }
    }
    outcome(&transport, get(&server.url(), None)).await.unwrap();
}

#[tokio::test]
async fn stalled_endpoint_times_out() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for fault in [Fault::Stall, Fault::Mute] {
        let server =
            ServerOptions::new(VERSIONS[1], ClientCertificates::Required).fault(fault).start(&authority);
        let transport = SharedTransport::new(trusting(&authority).build().unwrap());
        let client = HttpClient::new(transport, Context::default().with_jitter(Jitter::fixed(0.5)));
        let policy = RetryPolicy::once().with_attempt_timeout(Duration::from_millis(300));
        let sent = client.send(&policy, || Ok::<_, TransportError>(get(&server.url(), Some(&identity))));
        assert_eq!(sent.await.unwrap_err().kind(), TransportErrorKind::Timeout, "{fault:?}");
        eventually("its connection is closed", || server.journal().open == 0).await;
    }
}
