//! Configurations and their sessions.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use symbolon_rustls::{ClientAuthRecord, ConfigError, TlsErrorKind, TlsVersion};
use symbolon_types::{CertificatePin, ServerAuth};

use crate::authority::Authority;
use crate::keys::{ALGORITHMS, Algorithm};
use crate::server::{ClientCertificates, Fault, Handshake, ServerOptions, VERSIONS};
use crate::{connect, exchange, localhost, request, tcp, trusting};

#[tokio::test]
async fn configuration_presents_its_identity() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let identity = authority.identity(algorithm);
            let config = configs.config(&identity).await.unwrap();
            for _ in 0..2 {
                request(&mut connect(&config, server.address()).await).await.unwrap();
            }
            let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
            for _ in 0..2 {
                exchange(&client, server.address()).await.unwrap();
            }
            let certificate = Some(identity.thumbprint());
            let shown = |is_resumed| Handshake { certificate, is_resumed };
            // The client does not resume the sessions of the bare configuration.
            let expected = [false, true, false, true].map(shown);
            assert_eq!(server.journal().handshakes, expected, "{version:?} {algorithm:?}");
        }
    }
    assert!(CryptoProvider::get_default().is_none(), "nothing was installed for the process");
}

#[tokio::test]
async fn sessions_never_cross_identities() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let configs = trusting(&authority).build().unwrap();
        let identities = [(); 3].map(|()| authority.identity(Algorithm::P256));
        let mut expected = Vec::new();
        for is_resumed in [false, true, true] {
            for identity in &identities {
                let config = configs.config(identity).await.unwrap();
                request(&mut connect(&config, server.address()).await).await.unwrap();
                expected.push(Handshake { certificate: Some(identity.thumbprint()), is_resumed });
            }
        }
        assert_eq!(server.journal().handshakes, expected, "{version:?}");
    }
}

/// A session of one port tells another server of the same name nothing.
#[tokio::test]
async fn sessions_never_cross_ports() {
    let authority = Authority::new();
    for version in VERSIONS {
        let configs = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        let start =
            |fault| ServerOptions::new(version, ClientCertificates::Required).fault(fault).start(&authority);
        let (server, other) = (start(Fault::None), start(Fault::ResetAtOnce));
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        exchange(&client, server.address()).await.unwrap();
        let record = ClientAuthRecord::default();
        let lost =
            client.connect(localhost(), other.address().port(), tcp(other.address()).await, &record).await;
        assert_eq!(lost.unwrap_err().kind(), TlsErrorKind::Interrupted, "{version:?}");
        assert!(!record.is_known_to_server(), "{version:?}");
        exchange(&client, server.address()).await.unwrap();
        let resumed: Vec<_> = server.journal().handshakes.iter().map(|one| one.is_resumed).collect();
        assert_eq!(resumed, [false, true], "{version:?}");
    }
}

#[tokio::test]
async fn server_without_request_is_refused() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never).start(&authority);
        let configs = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        for _ in 0..3 {
            // Another library stores a session in which no certificate was presented.
            request(&mut connect(client.config(), server.address()).await).await.unwrap();
            let refused = exchange(&client, server.address()).await;
            assert_eq!(refused, Err(TlsErrorKind::IdentityNotRequested), "{version:?}");
        }
        assert_eq!(server.journal().requests.len(), 3, "those of the other library");
        let anonymous = configs.client(None, &ServerAuth::Roots).await.unwrap();
        exchange(&anonymous, server.address()).await.unwrap();
    }
}

/// A connection through an HTTPS proxy has two handshakes; the last one counts.
#[tokio::test]
async fn observed_handshake_is_the_last_one() {
    let authority = Authority::new();
    for version in VERSIONS {
        let [asking, silent] = [ClientCertificates::Optional, ClientCertificates::Never]
            .map(|clients| ServerOptions::new(version, clients).start(&authority));
        let configs = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        let config = Arc::new(client.recorded_config());
        for (servers, is_presented) in [
            (&[&asking][..], true),
            (&[&asking], true),
            (&[&silent], false),
            (&[&silent, &asking], true),
            (&[&asking, &silent], false),
        ] {
            let record = ClientAuthRecord::default();
            let handshakes = async {
                for server in servers {
                    request(&mut connect(&config, server.address()).await).await.unwrap();
                }
            };
            record.observe(handshakes).await;
            assert_eq!(record.is_presented(), is_presented, "{version:?}");
        }
        assert!(asking.journal().handshakes.iter().all(|handshake| !handshake.is_resumed), "{version:?}");
    }
}

#[tokio::test]
async fn configuration_ends_with_its_identity() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    let identity = authority.identity(Algorithm::P256);
    let config = configs.config(&identity).await.unwrap();
    assert!(Arc::ptr_eq(&config, &configs.config(&identity).await.unwrap()));
    let weak = Arc::downgrade(&config);
    drop((config, identity));
    configs.config(&authority.identity(Algorithm::P256)).await.unwrap();
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn configurations_are_bounded() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    let identities: Vec<_> = (0..65).map(|_| authority.identity(Algorithm::P256)).collect();
    let mut kept = Vec::new();
    for identity in &identities {
        kept.push(Arc::downgrade(&configs.config(identity).await.unwrap()));
    }
    let alive: Vec<_> = kept.iter().map(|config| config.upgrade().is_some()).collect();
    assert!(!alive[0] && alive[1..].iter().all(|alive| *alive), "{alive:?}");
}

#[tokio::test]
async fn forgotten_sessions_are_not_resumed() {
    let authority = Authority::new();
    for version in VERSIONS {
        let configs = trusting(&authority).build().unwrap();
        let identity = authority.identity(Algorithm::P256);
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        for is_forgotten in [false, false, true, false] {
            if is_forgotten {
                client.forget_sessions();
            }
            exchange(&client, server.address()).await.unwrap();
        }
        let resumed: Vec<_> = server.journal().handshakes.iter().map(|one| one.is_resumed).collect();
        assert_eq!(resumed, [false, true, false, true], "{version:?}");
    }
}

#[tokio::test]
async fn settings_reach_the_handshake() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (version, own) in VERSIONS.into_iter().zip([TlsVersion::V1_2, TlsVersion::V1_3]) {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        for (minimum, maximum) in [
            (TlsVersion::V1_2, TlsVersion::V1_2),
            (TlsVersion::V1_2, TlsVersion::V1_3),
            (TlsVersion::V1_3, TlsVersion::V1_3),
        ] {
            let configs = trusting(&authority).minimum_tls(minimum).maximum_tls(maximum);
            let configs = configs.alpn_protocols(["h2", "http/1.1"]).build().unwrap();
            let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
            let expected =
                if (minimum..=maximum).contains(&own) { Ok(()) } else { Err(TlsErrorKind::Handshake) };
            assert_eq!(exchange(&client, server.address()).await, expected, "{own:?} {minimum:?}");
        }
        let configs = trusting(&authority).alpn_protocols(["h2", "http/1.1"]).build().unwrap();
        let stream = connect(&configs.config(&identity).await.unwrap(), server.address()).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        // The alert `no_application_protocol` does not concern the certificate.
        let configs = trusting(&authority).alpn_protocols(["h2"]).build().unwrap();
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        assert_eq!(exchange(&client, server.address()).await, Err(TlsErrorKind::Handshake));
    }
}

#[test]
fn unusable_settings_are_refused() {
    let authority = Authority::new();
    let reversed = trusting(&authority).minimum_tls(TlsVersion::V1_3).maximum_tls(TlsVersion::V1_2);
    assert_eq!(reversed.build().err(), Some(ConfigError::NoTlsVersion));
    let empty = CryptoProvider { cipher_suites: Vec::new(), ..aws_lc_rs::default_provider() };
    let unsuitable = trusting(&authority).crypto_provider(empty).build();
    assert_eq!(unsuitable.err(), Some(ConfigError::UnsuitableCryptoProvider));
}

#[tokio::test]
async fn untrusted_server_is_no_rejection() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let configs = trusting(&other).build().unwrap();
        let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        let refused = exchange(&client, server.address()).await;
        assert_eq!(refused, Err(TlsErrorKind::ServerCertificate), "{version:?}");
        let pin = CertificatePin::from_sha1([7; 20]);
        let configs = trusting(&authority).build().unwrap();
        let pinned = configs.client(Some(&identity), &ServerAuth::Pinned(pin)).await.unwrap();
        let refused = exchange(&pinned, server.address()).await;
        assert_eq!(refused, Err(TlsErrorKind::ServerCertificate), "{version:?}");
        let trusted = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
        exchange(&trusted, server.address()).await.unwrap();
    }
}
