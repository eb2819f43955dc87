//! Servers pinned by the thumbprint of their certificate.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, ServerConfig};
use sha1::{Digest, Sha1};
use symbolon_hyper::HyperTransport;
use symbolon_transport::{CertificatePin, Request, Transport, TransportErrorKind, conformance};
use symbolon_types::{Context, Env, ManualClock};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{VERSIONS, Version, read_head};
use crate::{get, outcome};

/// A self-signed certificate with its own or another key.
struct Presented {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Presented {
    /// Expired and issued for another name, like those of local services.
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["node.fabric.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    fn pin(&self) -> CertificatePin {
        CertificatePin::from_sha1(Sha1::digest(&self.certificate).into())
    }

    fn with_key_of(self, other: Self) -> Self {
        Self { key: other.key, ..self }
    }
}

/// A server whose response states if its handshake was `full` or `resumed`.
fn serve(version: Version, presented: Presented) -> String {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(presented.key).unwrap();
    // Unlike `with_single_cert`, it accepts the key of another certificate.
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![presented.certificate], key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                let body = if is_resumed { "resumed" } else { "full" };
                while read_head(&mut stream).await.is_ok() {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await?;
                    stream.flush().await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    format!("https://{address}/token?resource=x")
}

fn transport() -> HyperTransport {
    HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .build()
        .unwrap()
}

fn pinned(url: &str, pin: CertificatePin) -> Request {
    get(url, None).with_pinned_server(Some(pin))
}

#[tokio::test]
async fn pinned_server_conformance() {
    for version in VERSIONS {
        let presented = Presented::new();
        let pin = presented.pin();
        let url = serve(version, presented).parse().unwrap();
        // Requests without a pin need a root; this one issued nothing here.
        let authority = crate::authority::Authority::new();
        let report = conformance::check_pinned(crate::trusting(&authority).build().unwrap(), &url, pin).await;
        assert!(report.holds(), "{version:?}\n{report}");
    }
    assert!(transport().capabilities().pinned_servers());
}

#[tokio::test]
async fn pinned_certificate_needs_its_key() {
    for version in VERSIONS {
        let presented = Presented::new();
        let pin = presented.pin();
        let url = serve(version, presented.with_key_of(Presented::new()));
        let sent = outcome(&transport(), pinned(&url, pin)).await;
        assert_eq!(sent, Err(TransportErrorKind::Tls), "{version:?}");
    }
}

#[tokio::test]
async fn trusted_certificate_must_match_the_pin() {
    let authority = crate::authority::Authority::new();
    for version in VERSIONS {
        let server = crate::server::ServerOptions::new(version, crate::server::ClientCertificates::Never)
            .start(&authority);
        let transport = crate::trusting(&authority).build().unwrap();
        assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
        let sent = outcome(&transport, pinned(&server.url(), Presented::new().pin())).await;
        assert_eq!(sent, Err(TransportErrorKind::Tls), "{version:?}");
        assert_eq!(server.journal().requests.len(), 1, "the pinned request was not sent");
    }
}

#[tokio::test]
async fn session_is_resumed_with_same_pin_only() {
    for version in VERSIONS {
        let manual_clock = ManualClock::new();
        let builder = HyperTransport::builder()
            .platform_roots(false)
            .context(Context::default().with_env(Env::empty()).with_clock(&manual_clock));
        let transport = builder.build().unwrap();
        let presented = Presented::new();
        let pin = presented.pin();
        let url = serve(version, presented);
        let mut handshakes = Vec::new();
        for _ in 0..2 {
            handshakes.push(outcome(&transport, pinned(&url, pin)).await.unwrap());
            // The connection has exceeded the idle limit.
            manual_clock.advance(Duration::from_secs(600));
        }
        assert_eq!(handshakes, ["full", "resumed"], "{version:?}");
        let other = outcome(&transport, pinned(&url, Presented::new().pin())).await;
        assert_eq!(other, Err(TransportErrorKind::Tls), "{version:?}");
    }
}

#[tokio::test]
async fn pinned_request_requires_tls() {
    let sent = outcome(&transport(), pinned("http://127.0.0.1:9/token", Presented::new().pin())).await;
    assert_eq!(sent, Err(TransportErrorKind::Insecure));
}
