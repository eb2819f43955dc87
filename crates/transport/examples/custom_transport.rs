//! A custom transport: a blocking HTTP client behind the contract, with the conformance suite.
//!
//! It does not declare client certificates, so Symbolon requests bearer tokens over it and refuses
//! to request bound tokens.

#![expect(clippy::print_stdout, reason = "examples print")]

use std::error::Error;

use bytes::Bytes;
use symbolon_transport::{
    BODY_LIMIT, Capabilities, Request, Response, Transport, TransportError, TransportErrorKind, conformance,
    is_loopback,
};

/// An existing HTTP client: ureq without TLS.
#[derive(Clone, Debug)]
pub struct Ureq(ureq::Agent);

impl Ureq {
    /// Creates a client without redirects and proxy that returns error statuses as responses.
    #[must_use]
    pub fn new() -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
        Self(config.build().new_agent())
    }
}

impl Default for Ureq {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for Ureq {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let agent = self.0.clone();
        let sent = tokio::task::spawn_blocking(move || send(&agent, &request)).await;
        sent.unwrap_or_else(|panic| Err(TransportError::new(TransportErrorKind::Protocol).with_source(panic)))
    }
}

fn send(agent: &ureq::Agent, request: &Request) -> Result<Response, TransportError> {
    let url = request.url();
    // The addresses that ureq resolves a name to cannot be tested here.
    if url.scheme() == "http" && url.domain().is_some() && !is_loopback(url) {
        return Err(TransportErrorKind::Insecure.into());
    }
    let mut outgoing = http::Request::builder().method(request.method()).uri(request.url().as_str());
    if let Some(headers) = outgoing.headers_mut() {
        headers.extend(request.headers().clone());
    }
    let outgoing = outgoing.body(request.body().to_vec());
    let outgoing =
        outgoing.map_err(|error| TransportError::new(TransportErrorKind::Unsupported).with_source(error))?;
    let (head, mut body) = agent.run(outgoing).map_err(classify)?.into_parts();
    let body = body.with_config().limit(BODY_LIMIT as u64 + 1).read_to_vec().map_err(classify)?;
    if body.len() > BODY_LIMIT {
        return Err(TransportErrorKind::TooLarge.into());
    }
    Ok(Response::new(head.status, Bytes::from(body)).with_headers(head.headers))
}

/// Maps the errors of ureq to the kinds of the contract, on which callers decide.
fn classify(error: ureq::Error) -> TransportError {
    use std::io::ErrorKind as Io;
    let kind = match &error {
        ureq::Error::BodyExceedsLimit(_) => TransportErrorKind::TooLarge,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => TransportErrorKind::Connect,
        ureq::Error::Timeout(_) => TransportErrorKind::Timeout,
        ureq::Error::Io(io) if io.kind() == Io::ConnectionRefused => TransportErrorKind::Connect,
        ureq::Error::Io(_) => TransportErrorKind::Interrupted,
        _ => TransportErrorKind::Protocol,
    };
    TransportError::new(kind).with_source(error)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = conformance::check(Ureq::new()).await;
    print!("{report}");
    if report.holds() { Ok(()) } else { Err("the transport does not conform".into()) }
}
