//! Alerts and losses over real connections.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use symbolon_rustls::TlsErrorKind;
use symbolon_types::ServerAuth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, NAMES};
use crate::keys::{ALGORITHMS, Algorithm, TestKey};
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS, Version};
use crate::{exchange, trusting};

/// A verifier that refuses every certificate for the same reason.
#[derive(Debug)]
struct Refusing(rustls::Error);

impl ClientCertVerifier for Refusing {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(self.0.clone())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn refusing(version: Version, authority: &Authority, reason: rustls::Error) -> SocketAddr {
    let (certificate, key) = authority.server(&NAMES);
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Refusing(reason)))
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err());
    });
    address
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListener::from_std(listener).unwrap(), address)
}

/// rustls sends a different alert for each of these reasons.
fn reasons() -> Vec<rustls::Error> {
    let certificate = [
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::Revoked,
        CertificateError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::BadSignature,
        CertificateError::InvalidPurpose,
        CertificateError::ApplicationVerificationFailure,
    ];
    let mut reasons: Vec<_> = certificate.into_iter().map(rustls::Error::InvalidCertificate).collect();
    reasons.push(rustls::Error::General("another".to_owned()));
    reasons
}

#[tokio::test]
async fn each_alert_about_a_certificate_rejects_it() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let identity = authority.identity(algorithm);
            let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
            for reason in reasons() {
                let address = refusing(version, &authority, reason.clone());
                let failed = exchange(&client, address).await;
                assert_eq!(failed, Err(TlsErrorKind::IdentityRejected), "{version:?} {reason:?}");
            }
        }
    }
}

/// A server that sends this alert instead of a ServerHello (RFC 8446 §5.1 and §6).
fn alerting(alert: u8) -> SocketAddr {
    let (listener, address) = listen();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await.unwrap();
        // A reset could overtake the alert.
        let _end = stream.read_to_end(&mut Vec::new()).await;
    });
    address
}

#[tokio::test]
async fn alert_before_the_certificate_is_no_rejection() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    let identity = authority.identity(Algorithm::P256);
    let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
    for alert in [10, 20, 40, 42, 46, 47, 48, 49, 50, 51, 70, 71, 80, 86, 109, 110, 112, 116, 120, 200] {
        let failed = exchange(&client, alerting(alert)).await;
        assert_eq!(failed, Err(TlsErrorKind::Handshake), "{alert}");
    }
}

#[tokio::test]
async fn loss_after_the_certificate_is_separate() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        for (certificates, fault, with_identity, without) in [
            (
                ClientCertificates::Required,
                Fault::ResetAtOnce,
                TlsErrorKind::Interrupted,
                TlsErrorKind::Interrupted,
            ),
            (
                ClientCertificates::Optional,
                Fault::ResetAfterHandshake,
                TlsErrorKind::LostWithIdentity,
                TlsErrorKind::Interrupted,
            ),
            (
                ClientCertificates::Optional,
                Fault::HangUpAfter(0),
                TlsErrorKind::LostWithIdentity,
                TlsErrorKind::Interrupted,
            ),
        ] {
            let server = ServerOptions::new(version, certificates).fault(fault).start(&authority);
            // Without sessions: an offered session shows the certificate, too.
            let configs = trusting(&authority).build().unwrap();
            for (identity, expected) in [(Some(&identity), with_identity), (None, without)] {
                let client = configs.client(identity, &ServerAuth::Roots).await.unwrap();
                let failed = exchange(&client, server.address()).await;
                assert_eq!(failed, Err(expected), "{version:?} {fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn failing_key_is_identity_unusable() {
    let authority = Authority::new();
    let configs = trusting(&authority).build().unwrap();
    for version in VERSIONS {
        for algorithm in ALGORITHMS {
            let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
            let identity = authority.identity_of(TestKey::generate(algorithm).failing());
            let client = configs.client(Some(&identity), &ServerAuth::Roots).await.unwrap();
            let failed = exchange(&client, server.address()).await;
            assert_eq!(failed, Err(TlsErrorKind::IdentityUnusable), "{version:?}");
            assert!(server.journal().requests.is_empty());
        }
    }
}
