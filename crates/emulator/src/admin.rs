//! The admin server: what goes wrong, what happened, and a page that shows both. On a port of its own, and behind a
//! secret in the path, which is made anew for every emulator.

mod api;
mod body;
mod page;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{CACHE_CONTROL, HOST, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use self::body::Body;
use crate::error::Error;
use crate::state::State;

/// The largest request that is read: a file with faults is shorter.
const REQUEST_LIMIT: usize = 64 << 10;
/// Octets of the secret.
const SECRET: usize = 16;

type Answer = Response<Body>;

/// Where the admin server is, and for whom.
pub(crate) struct Door {
    address: SocketAddr,
    secret: String,
}

impl Door {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, Error> {
        let mut secret = [0; SECRET];
        aws_lc_rs::rand::fill(&mut secret).map_err(Error::certificate)?;
        let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { address, secret })
    }

    /// The page's URL; the API is relative to it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.secret)
    }

    /// Whether a request names this server. A page elsewhere whose name was pointed at loopback does not.
    fn is_host(&self, host: &str) -> bool {
        host == self.address.to_string() || host == format!("localhost:{}", self.address.port())
    }

    /// What a path names behind the secret.
    fn admit<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (secret, rest) = path.strip_prefix('/')?.split_once('/')?;
        verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes()).ok()?;
        Some(rest)
    }
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, door: Arc<Door>, state: Arc<State>) {
    loop {
        // A failed accept concerns one connection, which is gone.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (door, state) = (Arc::clone(&door), Arc::clone(&state));
        let service = service_fn(move |request| {
            let answer = answer(request, Arc::clone(&door), Arc::clone(&state));
            async move { Ok::<_, Infallible>(guarded(answer.await)) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // How a browser ends its connection is no concern of the server.
            let _ended = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>, door: Arc<Door>, state: Arc<State>) -> Answer {
    let (head, body) = request.into_parts();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| door.is_host(host)) {
        return api::refusal(StatusCode::MISDIRECTED_REQUEST, "host", "Ask by the address that was printed.");
    }
    // Without the slash, what the page loads would be looked for elsewhere.
    let path = head.uri.path();
    if door.admit(&format!("{path}/")) == Some("") {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
        if let Ok(location) = HeaderValue::try_from(format!("{path}/")) {
            answer.headers_mut().insert(LOCATION, location);
        }
        return answer;
    }
    let Some(rest) = door.admit(path) else {
        return api::refusal(StatusCode::NOT_FOUND, "secret", "The address has a secret in it, as printed.");
    };
    let Ok(body) = Limited::new(body, REQUEST_LIMIT).collect().await else {
        return api::refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "A request has at most 64 KiB.");
    };
    if rest.is_empty() && head.method == http::Method::GET {
        return page::answer();
    }
    api::answer(&head, rest, &body.to_bytes(), &state).await
}

/// No cache, no sniffing, and no address with a secret in it for others.
fn guarded(mut answer: Answer) -> Answer {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
