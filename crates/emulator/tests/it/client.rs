//! A small HTTP client: hyper on tokio-rustls, one connection per [`Session`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use symbolon_emulator::{CertifiedKey, Emulator};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A certificate and its key (PKCS#8).
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) pkcs8: Vec<u8>,
}

impl From<CertifiedKey> for Identity {
    fn from(key: CertifiedKey) -> Self {
        Self { certificate: key.certificate.der.to_vec(), pkcs8: key.pkcs8.to_vec() }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client of the emulator. Each call of [`send`](Self::send) opens a connection.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    pub(crate) fn new(emulator: &Emulator, identity: Option<&Identity>) -> Self {
        Self::with_versions(emulator, identity, rustls::ALL_VERSIONS)
    }

    pub(crate) fn with_versions(
        emulator: &Emulator,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(emulator.ca_der().to_vec())).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots);
        let config = match identity {
            Some(identity) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from(identity.certificate.clone())],
                    PrivateKeyDer::Pkcs8(identity.pkcs8.clone().into()),
                )
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        Self { config: Arc::new(config) }
    }

    /// Offers these application protocols.
    pub(crate) fn with_alpn(self, protocols: &[&[u8]]) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    pub(crate) async fn connect(&self, url: &str) -> Result<Session, BoxError> {
        let url = Url::parse(url)?;
        let host = url.host_str().unwrap().trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap();
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if url.scheme() == "http" {
            return Session::over(stream).await;
        }
        Session::over(self.handshake(host, stream).await?).await
    }

    /// Performs the TLS handshake.
    pub(crate) async fn handshake(
        &self,
        host: String,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, BoxError> {
        let name = ServerName::try_from(host)?;
        Ok(TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?)
    }

    pub(crate) async fn send(&self, request: Request<String>) -> Result<Answer, BoxError> {
        let url = request.uri().to_string();
        self.connect(&url).await?.send(request).await
    }
}

/// A connection.
pub(crate) struct Session(SendRequest<Full<Bytes>>);

impl Session {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, BoxError> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(crate) async fn send(&mut self, request: Request<String>) -> Result<Answer, BoxError> {
        let (mut head, body) = request.into_parts();
        let authority = head.uri.authority().unwrap().to_string();
        head.headers.insert("host", authority.parse()?);
        head.uri = head.uri.path_and_query().unwrap().as_str().parse()?;
        self.0.ready().await?;
        let (head, body) =
            self.0.send_request(Request::from_parts(head, Full::from(body))).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

/// Returns the first error of this type in the chain, also inside an `io::Error`.
pub(crate) fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| wrapped.downcast_ref::<E>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Returns the TLS alert in an error.
pub(crate) fn alert(error: &(dyn std::error::Error + 'static)) -> Option<AlertDescription> {
    match cause::<rustls::Error>(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

pub(crate) fn get(url: &str) -> Request<String> {
    Request::get(url).body(String::new()).unwrap()
}

/// Returns a GET with `Metadata: true`.
pub(crate) fn metadata(url: &str) -> Request<String> {
    Request::get(url).header("metadata", "true").body(String::new()).unwrap()
}

pub(crate) fn form(url: &str, parameters: &[(&str, &str)]) -> Request<String> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Request::post(url).header("content-type", "application/x-www-form-urlencoded").body(body).unwrap()
}

pub(crate) fn authorized(url: &str, scheme: &str, token: &str) -> Request<String> {
    Request::get(url).header("authorization", format!("{scheme} {token}")).body(String::new()).unwrap()
}
