//! A blob service over real TLS that checks token and certificate of each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use symbolon::Thumbprint;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::resource_server::{HTTP1, server_config};

const ETAG: &str = "\"0x8D\"";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A running server, which ends when this is dropped.
pub(crate) struct BlobServer {
    url: String,
    certificate: String,
    state: Arc<BlobState>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct BlobState {
    blobs: Mutex<BTreeMap<String, Bytes>>,
    blocks: Mutex<BTreeMap<String, Bytes>>,
    /// The check of each request.
    checks: Mutex<Vec<TokenCheck>>,
}

/// The check of the token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    /// A token that is bound to the certificate of the connection.
    Bound,
    /// A token without confirmation.
    Bearer,
    /// Anything else, which gets a 401.
    Refused,
}

impl BlobServer {
    pub(crate) async fn start() -> Self {
        let (config, certificate) = server_config(HTTP1, rustls::DEFAULT_VERSIONS);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(BlobState::default());
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&state));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let chain = stream.get_ref().1.peer_certificates();
                    let certificate = chain.map(|chain| Thumbprint::of(&chain[0]));
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, hyper::Error>(state.respond(request, certificate).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, certificate, state, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The certificate (PEM), which clients must trust.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(crate) fn checks(&self) -> Vec<TokenCheck> {
        self.state.checks.lock().unwrap().clone()
    }
}

impl Drop for BlobServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BlobState {
    async fn respond(
        &self,
        request: Request<Incoming>,
        certificate: Option<Thumbprint>,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let check = check(authorization.unwrap_or_default(), certificate);
        self.checks.lock().unwrap().push(check);
        let body = body.collect().await.unwrap().to_bytes();
        let response = Response::builder().header("etag", ETAG).header("last-modified", DATE);
        if check == TokenCheck::Refused {
            return response.status(StatusCode::UNAUTHORIZED).body(Full::default()).unwrap();
        }
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default());
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        match (head.method, parameter("comp").as_deref()) {
            (Method::PUT, Some("block")) => {
                // Block ids are numbered.
                self.blocks.lock().unwrap().insert(parameter("blockid").unwrap(), body);
            }
            (Method::PUT, Some("blocklist")) => {
                let blocks = std::mem::take(&mut *self.blocks.lock().unwrap());
                let whole: Vec<u8> = blocks.into_values().flatten().collect();
                self.blobs.lock().unwrap().insert(path, whole.into());
            }
            (Method::PUT, None) => {
                self.blobs.lock().unwrap().insert(path, body);
            }
            (Method::GET, Some("list")) => return response.body(self.list(&path).into()).unwrap(),
            (method @ (Method::GET | Method::HEAD), None) => {
                let Some(blob) = self.blobs.lock().unwrap().get(&path).cloned() else {
                    return response.status(StatusCode::NOT_FOUND).body(Full::default()).unwrap();
                };
                let range = ["range", "x-ms-range"].iter().find_map(|name| head.headers.get(*name));
                let range =
                    range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
                let response = response.header("x-ms-blob-type", "BlockBlob");
                return match range.filter(|_| method == Method::GET) {
                    Some((start, end)) => {
                        let start: usize = start.parse().unwrap();
                        let end = end.parse().map_or(blob.len(), |end: usize| blob.len().min(end + 1));
                        let range = format!("bytes {start}-{}/{}", end - 1, blob.len());
                        let response =
                            response.status(StatusCode::PARTIAL_CONTENT).header("content-range", range);
                        response.body(blob.slice(start..end).into()).unwrap()
                    }
                    None => response.body(blob.into()).unwrap(),
                };
            }
            (method, comp) => panic!("{method} {path} {comp:?}"),
        }
        response.status(StatusCode::CREATED).body(Full::default()).unwrap()
    }

    fn list(&self, container: &str) -> Bytes {
        let blobs = self.blobs.lock().unwrap();
        let entries: String = blobs
            .iter()
            .filter_map(|(path, blob)| Some((path.strip_prefix(container)?.trim_start_matches('/'), blob)))
            .map(|(name, blob)| {
                format!(
                    "<Blob><Name>{name}</Name><Properties><Last-Modified>{DATE}</Last-Modified>\
                     <Etag>0x8D</Etag><Content-Length>{}</Content-Length>\
                     <Content-Type>application/octet-stream</Content-Type></Properties></Blob>",
                    blob.len()
                )
            })
            .collect();
        format!("<EnumerationResults><Blobs>{entries}</Blobs><NextMarker /></EnumerationResults>").into()
    }
}

fn check(authorization: &str, certificate: Option<Thumbprint>) -> TokenCheck {
    let Some((scheme, token)) = authorization.split_once(' ') else { return TokenCheck::Refused };
    let payload = token.split('.').nth(1).and_then(|part| Base64UrlUnpadded::decode_vec(part).ok());
    let claims: Option<serde_json::Value> = payload.and_then(|json| serde_json::from_slice(&json).ok());
    let Some(claims) = claims else { return TokenCheck::Refused };
    match (scheme, claims["cnf"]["x5t#S256"].as_str(), certificate) {
        ("mtls_pop", Some(bound_to), Some(presented)) if presented.to_string() == bound_to => {
            TokenCheck::Bound
        }
        ("Bearer", None, _) => TokenCheck::Bearer,
        _ => TokenCheck::Refused,
    }
}
