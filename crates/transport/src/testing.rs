//! Test doubles: a transport and a key (feature `testing`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use crate::{Capabilities, Request, Response, Transport, TransportError, TransportErrorKind};

/// A transport that returns prepared responses and records the requests.
///
/// It declares every capability. After the last response, it fails with
/// [`Connect`](TransportErrorKind::Connect).
///
/// ```
/// # use symbolon_transport::{Request, Response, Route, Transport, testing::ScriptedTransport};
/// # use http::{Method, StatusCode};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = ScriptedTransport::new([Ok(Response::new(StatusCode::OK, "{}"))]);
/// let request = Request::new(Method::GET, "https://login.example/keys".parse()?, Route::Public);
/// assert_eq!(transport.send(request).await?.status(), StatusCode::OK);
/// assert_eq!(transport.requests()[0].url().path(), "/keys");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedTransport(Arc<Mutex<ScriptedState>>);

#[derive(Debug)]
struct ScriptedState {
    responses: VecDeque<Result<Response, TransportError>>,
    requests: Vec<Request>,
}

impl ScriptedTransport {
    /// Creates a transport with these responses, in this order.
    pub fn new(responses: impl IntoIterator<Item = Result<Response, TransportError>>) -> Self {
        let responses = responses.into_iter().collect();
        Self(Arc::new(Mutex::new(ScriptedState { responses, requests: Vec::new() })))
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns the number of unused responses.
    #[must_use]
    pub fn responses_left(&self) -> usize {
        self.state().responses.len()
    }

    fn state(&self) -> MutexGuard<'_, ScriptedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for ScriptedTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_client_certificates().with_pinned_servers().with_private_trust()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let mut state = self.state();
        state.requests.push(request);
        state.responses.pop_front().unwrap_or_else(|| Err(TransportErrorKind::Connect.into()))
    }
}

/// A key with a public half only, for identities without a handshake. It signs nothing.
#[derive(Clone, Debug)]
pub struct PublicHalf(SubjectPublicKeyInfoDer<'static>);

impl PublicHalf {
    /// Creates a key from its SubjectPublicKeyInfo in DER.
    pub fn new(public_key: impl Into<SubjectPublicKeyInfoDer<'static>>) -> Self {
        Self(public_key.into())
    }
}

impl SigningKey for PublicHalf {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[]
    }

    fn sign(&self, scheme: SignatureScheme, _message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::UnsupportedScheme(scheme))
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}
