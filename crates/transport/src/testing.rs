//! Stand-ins for tests: a transport, and a key. (Feature `testing`.)

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use crate::{Capabilities, Request, Response, Transport, TransportError, TransportErrorKind};

/// A transport that answers from a list and remembers what it was asked.
///
/// It claims every capability. When the list has run out, it fails with
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
pub struct ScriptedTransport(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    answers: VecDeque<Result<Response, TransportError>>,
    requests: Vec<Request>,
}

impl ScriptedTransport {
    /// Answers in this order.
    pub fn new(answers: impl IntoIterator<Item = Result<Response, TransportError>>) -> Self {
        let answers = answers.into_iter().collect();
        Self(Arc::new(Mutex::new(Script { answers, requests: Vec::new() })))
    }

    /// What it was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.script().requests.clone()
    }

    /// How many answers are left.
    #[must_use]
    pub fn answers_left(&self) -> usize {
        self.script().answers.len()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for ScriptedTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_client_certificates().with_pinned_servers()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let mut script = self.script();
        script.requests.push(request);
        script.answers.pop_front().unwrap_or_else(|| Err(TransportErrorKind::Connect.into()))
    }
}

/// The public half of a key: enough for an identity that no handshake needs. It signs nothing.
#[derive(Clone, Debug)]
pub struct PublicHalf(SubjectPublicKeyInfoDer<'static>);

impl PublicHalf {
    /// The key of this SubjectPublicKeyInfo, in DER.
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
