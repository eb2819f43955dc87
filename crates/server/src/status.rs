//! The endpoints for operators: `/livez`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use symbolon_types::{Secret, SharedClock, printable};

use crate::handler::{ClientConnection, Handler, RequestBody, ResponseFuture, ServerBody, server_body};
use crate::host::names_loopback;
use crate::listener::Listener;
use crate::metrics::{Metrics, TokenState, write_tokens};
use crate::peer::Peer;
use crate::readiness::{self, ReadinessCheck};
use crate::secret::has_secret;
use crate::server::Server;
use crate::settings::ServerSettings;
use crate::transfer_coding::TransferCodingError;

const LIVE_PATH: &str = "/livez";
const READY_PATH: &str = "/readyz";
const METRICS_PATH: &str = "/metrics";
/// The text format of Prometheus.
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The beginning of paths that reach the endpoints also where all other paths belong to resources.
pub const RESERVED_PREFIX: &str = "/.symbolon";

fn without_prefix(path: &str) -> &str {
    path.strip_prefix(RESERVED_PREFIX).unwrap_or(path)
}

/// A reader of the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusReader {
    /// Anybody: gets the status of `/livez` and `/readyz`, and the metrics only if they are open.
    Anyone,
    /// A client of the server: gets details and metrics.
    Client,
}

/// The settings of the endpoints for operators.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StatusSettings {
    /// A listener for the endpoints alone.
    pub listener: Option<Listener>,
    /// True if everybody may read the metrics.
    pub open_metrics: bool,
    /// The metrics that are shown.
    pub metrics: Metrics,
}

impl StatusSettings {
    /// Returns the endpoints, and the server of their listener. `/readyz` runs the checks that this
    /// function returns, and reports each that fails. On a loopback address of the listener,
    /// requests with the secret in this header get the details, on a Unix socket those of
    /// this user's processes.
    pub fn start(
        self,
        clock: SharedClock,
        (header, secret): (HeaderName, Option<Secret>),
        checks: impl Fn() -> Vec<Arc<ReadinessCheck>> + Send + Sync + 'static,
    ) -> (Arc<StatusEndpoints>, Option<Server>) {
        let settings = ServerSettings::new(clock.clone());
        let endpoints = StatusEndpoints::new(clock, self.metrics, self.open_metrics, checks);
        let endpoints = Arc::new(endpoints);
        let server = self.listener.map(|listener| {
            let handler = StatusHandler::new(Arc::clone(&endpoints), &listener, header, secret);
            Server::start(listener, handler, settings)
        });
        (endpoints, server)
    }
}

/// The endpoints `/livez`, `/readyz` and `/metrics`.
pub struct StatusEndpoints {
    checks: Box<dyn Fn() -> Vec<Arc<ReadinessCheck>> + Send + Sync>,
    metrics: Metrics,
    clock: SharedClock,
    open_metrics: bool,
    is_stopping: AtomicBool,
}

impl StatusEndpoints {
    fn new(
        clock: SharedClock,
        metrics: Metrics,
        open_metrics: bool,
        checks: impl Fn() -> Vec<Arc<ReadinessCheck>> + Send + Sync + 'static,
    ) -> Self {
        let is_stopping = AtomicBool::new(false);
        Self { checks: Box::new(checks), metrics, clock, open_metrics, is_stopping }
    }

    /// From now on, `/readyz` reports that the server is stopping.
    pub fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// Returns true for the path of an endpoint, with or without [`RESERVED_PREFIX`].
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        [LIVE_PATH, READY_PATH, METRICS_PATH].contains(&without_prefix(path))
    }

    /// Answers a request for the path of an endpoint, with or without [`RESERVED_PREFIX`].
    pub async fn respond(&self, head: &Parts, reader: StatusReader) -> Response<Full<Bytes>> {
        if head.method != Method::GET && head.method != Method::HEAD {
            let body = json!({ "status": "only GET is allowed" });
            let mut response = json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match without_prefix(head.uri.path()) {
            LIVE_PATH => json_response(StatusCode::OK, &json!({ "status": "ok" })),
            READY_PATH => self.readiness(reader).await,
            METRICS_PATH if reader == StatusReader::Anyone && !self.open_metrics => unauthorized(),
            METRICS_PATH => with_type(StatusCode::OK, METRICS_TYPE, self.metrics().await),
            _ => json_response(StatusCode::NOT_FOUND, &json!({ "status": "unknown path" })),
        }
    }

    async fn metrics(&self) -> String {
        let checks = (self.checks)();
        readiness::run_all(&checks, &self.clock).await;
        let now = self.clock.now();
        // Routes can have the same token.
        let mut states = BTreeMap::new();
        for report in readiness::reports(&checks) {
            let expiry = report.result.ok();
            let left = expiry.map(|expiry| expiry.duration_since(now).unwrap_or_default().as_secs());
            states.insert((report.identity, report.resource), left);
        }
        let states = states.into_iter();
        let tokens: Vec<TokenState<'_>> = states
            .map(|((identity, resource), expires_in)| TokenState { identity, resource, expires_in })
            .collect();
        let mut text = self.metrics.to_string();
        // Writing to a text cannot fail.
        let _written = write_tokens(&mut text, &tokens);
        text
    }

    async fn readiness(&self, reader: StatusReader) -> Response<Full<Bytes>> {
        if self.is_stopping.load(Ordering::SeqCst) {
            return json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" }));
        }
        let checks = (self.checks)();
        readiness::run_all(&checks, &self.clock).await;
        let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
        for report in readiness::reports(&checks) {
            let (identity, resource) = (report.identity, report.resource);
            match report.result {
                Ok(_) => ready.push(json!({ "identity": identity, "resource": resource })),
                Err(error) => not_ready.push(json!({
                    "identity": identity,
                    "resource": resource,
                    "code": printable(error.code).to_string(),
                    "message": printable(error.message).to_string(),
                })),
            }
        }
        let (status, text) = match not_ready.is_empty() {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        };
        let mut body = json!({ "status": text });
        if reader == StatusReader::Client {
            body["not_ready"] = not_ready.into();
            body["ready"] = ready.into();
        }
        json_response(status, &body)
    }
}

impl fmt::Debug for StatusEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusEndpoints").field("open_metrics", &self.open_metrics).finish_non_exhaustive()
    }
}

/// The clients of a listener for the endpoints.
enum StatusAccess {
    /// On a loopback address: requests with the secret in this header, as a bearer token or as a
    /// password.
    Secret { header: HeaderName, secret: Option<Secret>, port: u16 },
    /// On another address: none, because the secret would cross the network in the clear.
    Nobody,
    /// On a Unix socket: processes of these users.
    Users(Vec<u32>),
}

impl StatusAccess {
    fn reader(&self, peer: Peer, head: &Parts) -> StatusReader {
        let is_client = match (self, peer) {
            (Self::Secret { header, secret, .. }, _) => {
                secret.as_ref().is_some_and(|secret| has_secret(&head.headers, header, secret))
            }
            (Self::Users(users), Peer::Process { uid, .. }) => users.contains(&uid),
            _ => false,
        };
        if is_client { StatusReader::Client } else { StatusReader::Anyone }
    }
}

/// The handler of a listener for the endpoints alone.
struct StatusHandler {
    endpoints: Arc<StatusEndpoints>,
    access: StatusAccess,
}

impl StatusHandler {
    fn new(
        endpoints: Arc<StatusEndpoints>,
        listener: &Listener,
        header: HeaderName,
        secret: Option<Secret>,
    ) -> Arc<Self> {
        let access = match listener.address() {
            Some(address) if address.ip().is_loopback() => {
                StatusAccess::Secret { header, secret, port: address.port() }
            }
            Some(_) => StatusAccess::Nobody,
            None => StatusAccess::Users(own_users()),
        };
        Arc::new(Self { endpoints, access })
    }

    async fn handle(&self, head: &Parts, peer: Peer) -> Response<Full<Bytes>> {
        if let StatusAccess::Secret { port, .. } = self.access
            && !names_loopback(head, port)
        {
            let body = json!({ "status": "the Host header does not name this server" });
            return json_response(StatusCode::MISDIRECTED_REQUEST, &body);
        }
        self.endpoints.respond(head, self.access.reader(peer, head)).await
    }
}

impl Handler for StatusHandler {
    fn refuse(&self, error: TransferCodingError, _peer: Peer) -> Response<ServerBody> {
        json_response(error.status(), &json!({ "status": error.to_string() })).map(server_body)
    }

    fn respond(
        self: Arc<Self>,
        request: Request<RequestBody>,
        connection: &Arc<ClientConnection>,
    ) -> ResponseFuture {
        let peer = connection.peer();
        let (head, _body) = request.into_parts();
        Box::pin(async move { self.handle(&head, peer).await.map(server_body) })
    }
}

fn own_users() -> Vec<u32> {
    #[cfg(unix)]
    return vec![rustix::process::geteuid().as_raw()];
    #[cfg(not(unix))]
    Vec::new()
}

fn unauthorized() -> Response<Full<Bytes>> {
    let body = json!({ "status": "the secret is missing or wrong, and the metrics are not open" });
    let mut response = json_response(StatusCode::UNAUTHORIZED, &body);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="symbolon""#));
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    with_type(status, JSON_TYPE, body.to_string())
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
