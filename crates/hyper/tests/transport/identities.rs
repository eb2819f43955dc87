//! Accepted client certificates.

use std::collections::BTreeSet;
use std::time::Duration;

use symbolon_transport::{Transport, TransportErrorKind};
use symbolon_types::{Context, Env, ManualClock, SignatureScheme, Thumbprint};

use crate::authority::Authority;
use crate::keys::{ALGORITHMS, Algorithm, TestKey};
use crate::server::{ClientCertificates, Handshake, ServerOptions, VERSIONS};
use crate::{eventually, get, outcome, trusting};

#[tokio::test]
async fn capabilities_are_declared() {
    let capabilities = trusting(&Authority::new()).build().unwrap().capabilities();
    assert!(capabilities.client_certificates() && capabilities.pinned_servers());
}

#[tokio::test]
async fn server_receives_the_certificate() {
    let authority = Authority::new();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let transport = trusting(&authority).build().unwrap();
            let key = TestKey::generate(algorithm);
            let identity = authority.identity_of(key.clone());
            let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
            assert_eq!(sent.as_deref(), Ok("hello"), "{version:?} {algorithm:?}");
            let expected = Handshake { certificate: Some(identity.thumbprint()), is_resumed: false };
            assert_eq!(server.journal().handshakes, [expected]);
            assert_eq!(key.signatures(), 1);
        }
    }
}

#[tokio::test]
async fn common_signature_scheme_is_used() {
    let authority = Authority::new();
    let rsa = TestKey::generate(Algorithm::Rsa2048);
    for (version, scheme, expected) in [
        (VERSIONS[0], SignatureScheme::RsaPkcs1Sha256, Ok("hello")),
        (VERSIONS[0], SignatureScheme::RsaPkcs1Sha384, Ok("hello")),
        (VERSIONS[0], SignatureScheme::RsaPssSha384, Ok("hello")),
        (VERSIONS[1], SignatureScheme::RsaPssSha384, Ok("hello")),
        // TLS 1.3 handshakes have no PKCS#1 v1.5 (RFC 8446 §4.2.3).
        (VERSIONS[1], SignatureScheme::RsaPkcs1Sha256, Err(TransportErrorKind::IdentityUnusable)),
    ] {
        // The request is not sent, even to a server for which the certificate is optional.
        let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity_of(rsa.clone().only(scheme));
        let sent = outcome(&transport, get(&server.url(), Some(&identity))).await;
        assert_eq!(sent.as_deref().map_err(|kind| *kind), expected, "{version:?} {scheme:?}");
        assert_eq!(server.journal().requests.len(), usize::from(expected.is_ok()));
    }
}

#[tokio::test]
async fn connection_of_an_identity_is_reused() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        for _ in 0..5 {
            outcome(&transport.clone(), get(&server.url(), Some(&identity))).await.unwrap();
        }
        assert_eq!(server.journal().accepted, 1);
    }
}

#[tokio::test]
async fn ended_certificate_has_no_connection() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    let (old, other) = (authority.identity(Algorithm::P256), authority.identity(Algorithm::P256));
    let clock = ManualClock::at(old.not_after() - Duration::from_secs(1));
    let context = Context::default().with_env(Env::empty()).with_clock(&clock);
    let transport = trusting(&authority).context(context).build().unwrap();
    outcome(&transport, get(&server.url(), Some(&old))).await.unwrap();
    assert_eq!(server.journal().open, 1);
    clock.advance(Duration::from_secs(2));
    // The certificate of the server ends at the same time.
    let _sent = outcome(&transport, get(&server.url(), Some(&other))).await;
    eventually("its connection is closed", || server.journal().open == 0).await;
}

#[tokio::test]
async fn identities_share_no_connection_or_session() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let (one, other) = (authority.identity(Algorithm::Rsa2048), authority.identity(Algorithm::P256));
        let speakers = [Some(&one), Some(&other), None];
        for round in 0..6 {
            for (speaker, identity) in speakers.iter().enumerate() {
                outcome(&transport, get(&server.url(), *identity)).await.unwrap();
                let journal = server.journal();
                let seen = journal.requests.last().unwrap().handshake;
                let expected = identity.map(|identity| identity.thumbprint());
                assert_eq!(seen.certificate, expected, "{version:?}, round {round}, speaker {speaker}");
            }
            if round % 2 == 1 {
                server.close_all();
                eventually("all are closed", || server.journal().open == 0).await;
            }
        }
        // Three connections in three rounds: the first handshake is full, the others are resumed.
        let journal = server.journal();
        assert_eq!(journal.accepted, 9, "{version:?}");
        for identity in speakers {
            let certificate = identity.map(|identity| identity.thumbprint());
            let of_speaker = journal.handshakes.iter().filter(|one| one.certificate == certificate);
            let resumed: Vec<_> = of_speaker.map(|one| one.is_resumed).collect();
            assert_eq!(resumed, [false, true, true], "{version:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_identities_stay_separate() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let identities: Vec<_> = (0..8).map(|_| authority.identity(Algorithm::P256)).collect();
        let tasks: Vec<_> = (0..96)
            .map(|number| {
                let (transport, identity) = (transport.clone(), identities[number % 8].clone());
                // The path identifies the client to the server.
                let url = server.url().replace("/token", &format!("/{}", identity.thumbprint()));
                tokio::spawn(async move { outcome(&transport, get(&url, Some(&identity))).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().as_deref(), Ok("hello"));
        }
        let journal = server.journal();
        assert_eq!(journal.requests.len(), 96);
        for request in &journal.requests {
            let presented = request.handshake.certificate.unwrap();
            assert!(request.text.starts_with(&format!("GET /{presented}?")), "{}", request.text);
        }
    }
}

#[tokio::test]
async fn connections_close_with_their_identity() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let (kept, dropped) = (authority.identity(Algorithm::P256), authority.identity(Algorithm::P256));
        let weak = dropped.downgrade();
        for identity in [&kept, &dropped] {
            outcome(&transport, get(&server.url(), Some(identity))).await.unwrap();
        }
        assert_eq!(server.journal().open, 2);
        drop(dropped);
        assert!(weak.upgrade().is_none(), "the transport keeps the identity alive");
        outcome(&transport, get(&server.url(), Some(&kept))).await.unwrap();
        eventually("one is closed", || server.journal().open == 1).await;
        assert_eq!(server.journal().accepted, 2);
    }
}

#[tokio::test]
async fn renewed_certificate_gets_new_connection() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let key = TestKey::generate(Algorithm::P256);
        let generations = [authority.identity_of(key.clone()), authority.identity_of(key)];
        for identity in &generations {
            outcome(&transport, get(&server.url(), Some(identity))).await.unwrap();
        }
        let expected =
            generations.map(|one| Handshake { certificate: Some(one.thumbprint()), is_resumed: false });
        assert_eq!(server.journal().handshakes, expected);
    }
}

#[tokio::test]
async fn number_of_identities_is_bounded() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let identities: Vec<_> = (0..80).map(|_| authority.identity(Algorithm::P256)).collect();
    for identity in &identities {
        outcome(&transport, get(&server.url(), Some(identity))).await.unwrap();
    }
    eventually("at most 64 are open", || server.journal().open <= 64).await;
    // The latest sessions are kept; the first identity needs a full handshake.
    for (identity, connections) in [(&identities[79], 80), (&identities[0], 81)] {
        outcome(&transport, get(&server.url(), Some(identity))).await.unwrap();
        assert_eq!(server.journal().accepted, connections);
    }
    let presented: BTreeSet<Thumbprint> =
        server.journal().handshakes.iter().filter_map(|one| one.certificate).collect();
    assert_eq!(presented.len(), 80);
}
