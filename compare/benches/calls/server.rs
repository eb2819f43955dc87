//! The server: TLS with client certificates, HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::BoxError;

/// The size of a frame of a streamed body.
pub(crate) const FRAME: usize = 64 * 1024;
/// The answer of a small call, as large as a short JSON document.
const SMALL: &[u8] = &[b'x'; 256];

/// Prints URL and certificate, and serves over one version of TLS until stdin ends.
pub(crate) async fn serve(ca: &Path, version: &'static SupportedProtocolVersion) -> Result<(), BoxError> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(
            vec![own.cert.der().clone()],
            PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into()),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    // The parent reads up to the empty line.
    println!("https://localhost:{}\n{}\n", listener.local_addr()?.port(), own.cert.pem().trim());
    // The parent holds the other end of stdin.
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let respond = service_fn(|request| async { Ok::<_, Infallible>(respond(request).await) });
            let _ended =
                Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), respond).await;
        });
    }
}

async fn respond(request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    if let Some(size) = request.uri().path().strip_prefix("/bytes/").and_then(|size| size.parse().ok()) {
        return Response::new(StreamBody::new(frames(size)).boxed_unsync());
    }
    let mut body = request.into_body();
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len);
    }
    let text = if received == 0 { Bytes::from_static(SMALL) } else { Bytes::from(received.to_string()) };
    Response::new(Full::new(text).boxed_unsync())
}

/// Returns the frames of a body with this size.
pub(crate) fn frames<E>(
    size: usize,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, E>> + Send + Sync {
    let frame = Bytes::from_static(&[7; FRAME]);
    stream::iter((0..size.div_ceil(FRAME)).map(move |number| {
        let left = size - number * FRAME;
        Ok(Frame::data(frame.slice(..left.min(FRAME))))
    }))
}
