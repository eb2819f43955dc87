//! The transport against local TLS servers.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the lints know test functions, not what they call"
)]

#[cfg(unix)]
mod apache;
mod authority;
mod cancellation;
mod conformance;
mod environment;
mod identities;
mod keys;
mod logs;
mod openssl;
mod pinned;
mod plain;
mod proxies;
mod refusals;
mod resending;
mod server;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use symbolon_hyper::{HyperTransport, HyperTransportBuilder};
use symbolon_transport::{Request, Route, Transport, TransportErrorKind, timeout};
use symbolon_types::{ClientIdentity, Context, Env, SharedClock};

use crate::authority::Authority;

/// A longer wait counts as a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a builder that trusts the authority and reads no variables.
fn trusting(authority: &Authority) -> HyperTransportBuilder {
    HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates([authority.certificate()])
}

/// Returns a request by the local route.
fn get(url: &str, identity: Option<&ClientIdentity>) -> Request {
    Request::new(Method::GET, url.parse().unwrap(), Route::Local).with_identity(identity.cloned())
}

/// Returns a request with a body by the local route.
fn request(method: Method, url: &str, identity: Option<&ClientIdentity>, body: impl Into<Bytes>) -> Request {
    let request = Request::new(method, url.parse().unwrap(), Route::Local);
    request.with_identity(identity.cloned()).with_body(body)
}

/// Sends a request. Returns the body or the kind of the error.
async fn outcome(transport: &HyperTransport, request: Request) -> Result<String, TransportErrorKind> {
    let sent = timeout(&SharedClock::system(), PATIENCE, transport.send(request)).await;
    let response = sent.expect("the request hangs").map_err(|error| error.kind())?;
    Ok(String::from_utf8(response.body().to_vec()).unwrap())
}

/// Waits until the condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = SharedClock::system();
    for _ in 0..1000 {
        if holds() {
            return;
        }
        clock.sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
