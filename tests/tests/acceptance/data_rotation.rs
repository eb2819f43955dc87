//! DATA: many callers while certificates live seconds. `cargo xtask soak` is the same for minutes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use symbolon::{Client, ManagedIdentity, SharedClock, SoftwareKeys, Thumbprint};
use symbolon_emulator::{Emulator, Step};
use symbolon_tests::RESOURCE;
use symbolon_transport::timeout;

use crate::data::connections;
use crate::resource_server::{HTTP1, HTTP2, ResourceServer};
use crate::test_env::TestEnv;

/// The lifetime of a certificate. The next one is issued after half of it.
const LIFETIME: Duration = Duration::from_secs(3);
const CALLERS: usize = 24;
/// The number of certificates of a run.
const CERTIFICATES: usize = 6;

/// Calls until the emulator has issued so many certificates. Returns the certificates of the calls,
/// each with the beginning of the last call that used it.
async fn call(client: &Client, emulator: &Emulator, certificates: usize) -> HashMap<Thumbprint, SystemTime> {
    let clock = SharedClock::system();
    let mut used = HashMap::new();
    while emulator.issued().len() < certificates {
        let began = clock.now();
        let response = client.get(emulator.resource_url()).send().await.unwrap();
        let seen: serde_json::Value = response.error_for_status().unwrap().json().await.unwrap();
        used.insert(seen["x5t#S256"].as_str().unwrap().parse().unwrap(), began);
    }
    used
}

#[tokio::test]
async fn data_38_replaced_connections_close() {
    let hour = Duration::from_secs(60 * 60);
    for tls in [HTTP1, HTTP2] {
        let test_env =
            TestEnv::with(|emulator| emulator.certificate_lifetime(hour).token_not_after(None)).await;
        let server = ResourceServer::start(tls).await;
        // Neither their age nor the end of the certificate closes them.
        let connections = connections(&test_env, Some(&server)).idle_time(24 * hour).build().unwrap();
        let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(connections);
        let client = client.build().unwrap();
        let call = || async { client.get(server.url()).send().await.unwrap().bytes().await.unwrap() };
        join_all((0..8).map(|_| call())).await;
        let first = server.received()[0].certificate;
        assert!(server.open() >= 1);

        test_env.manual_clock.advance(hour * 3 / 5);
        let until_replaced = async {
            while server.received().last().unwrap().certificate == first || server.open() > 1 {
                call().await;
            }
        };
        let replaced = timeout(&SharedClock::system(), Duration::from_secs(30), until_replaced).await;
        assert!(replaced.is_some(), "{tls:?}: {} connections are open", server.open());
    }
}

// Without captured logs, which would have each of many thousand calls.
#[tokio::test]
async fn data_23_rotation_under_load() {
    let emulator = Emulator::builder().certificate_lifetime(LIFETIME).token_not_after(None);
    let emulator = emulator.start().await.unwrap();
    for offers_http2 in [false, true] {
        let identity =
            ManagedIdentity::builder().context(emulator.context()).key_provider(SoftwareKeys::p256());
        let identity = identity.build().unwrap();
        let connections = symbolon::Connections::builder().context(emulator.context()).http2(offers_http2);
        let client = identity.client(RESOURCE).proof_of_possession();
        let client = client.connections(connections.build().unwrap()).build().unwrap();

        let before = emulator.issued().len();
        let mut last_uses = HashMap::<Thumbprint, SystemTime>::new();
        for generation in 1..=CERTIFICATES {
            let calls = (0..CALLERS).map(|_| call(&client, &emulator, before + generation + 1));
            for (certificate, began) in join_all(calls).await.into_iter().flatten() {
                let last = last_uses.entry(certificate).or_insert(began);
                *last = began.max(*last);
            }
        }
        let issued = emulator.issued();
        let ends: HashMap<Thumbprint, SystemTime> =
            issued.iter().map(|certificate| (certificate.thumbprint, certificate.not_after)).collect();
        assert!(last_uses.len() >= CERTIFICATES, "{} certificates were used", last_uses.len());
        for (certificate, began) in &last_uses {
            assert!(began < &ends[certificate], "a call began with a certificate that had ended");
        }
        // Both the calls and the token requests have gone on since then.
        let then = SharedClock::system().now() - LIFETIME;
        let ended = issued[before..].iter().filter(|old| old.not_after <= then);
        let open: Vec<usize> = ended.map(|old| emulator.reset_connections_of(old.thumbprint)).collect();
        assert!(!open.is_empty() && open.iter().all(|count| *count == 0), "open connections: {open:?}");
        let journal = emulator.journal();
        assert!(journal.of(Step::Resource).all(|entry| entry.status() == Some(200)));
    }
}
