//! A gRPC server that requires a client certificate and returns its thumbprint.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use symbolon::Thumbprint;
use symbolon_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use symbolon_rustls::rustls::crypto::aws_lc_rs;
use symbolon_rustls::rustls::server::WebPkiClientVerifier;
use symbolon_rustls::rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A running server.
pub(crate) struct GrpcServer {
    pub(crate) url: String,
    pub(crate) root_pem: String,
}

impl GrpcServer {
    /// Starts a server that accepts clients with certificates of this authority.
    pub(crate) async fn start(client_authority: Vec<u8>) -> Result<Self, Box<dyn Error>> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(client_authority))?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![own.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { serve(stream, acceptor).await.map_err(|error| error.to_string()) });
            }
        });
        Ok(Self { url, root_pem: own.cert.pem() })
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let thumbprint = Thumbprint::of(certificate.ok_or("no certificate")?).to_string();
    let service = service_fn(move |_request| {
        let response = response(thumbprint.as_bytes());
        async { Ok::<_, Infallible>(response) }
    });
    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// Returns a unary gRPC response: one message behind its length, and the status as a trailer.
fn response(
    message: &[u8],
) -> Response<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>>> {
    let mut data = BytesMut::new();
    data.put_u8(0);
    data.put_u32(u32::try_from(message.len()).unwrap_or_default());
    data.put_slice(message);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = stream::iter([Ok(Frame::data(data.freeze())), Ok(Frame::trailers(trailers))]);
    let mut response = Response::new(StreamBody::new(frames));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}
