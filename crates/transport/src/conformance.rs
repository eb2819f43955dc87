//! A test suite for implementors of [`Transport`] (feature `conformance`).
//!
//! The servers are on loopback, and started by this module; the cases need no network and no
//! particular runtime. [`check`] covers the part of the contract that needs no TLS. The feature
//! `conformance-tls` adds `check_tls` with servers that request, refuse and lose certificates;
//! without it, pass a TLS server to [`check_pinned`]. For plain HTTP to a name, pass a name with a
//! public address to [`check_public_name`].
//!
//! ```no_run
//! # use symbolon_transport::{Transport, conformance};
//! # async fn example(transport: impl Transport) {
//! let report = conformance::check(transport).await;
//! assert!(report.holds(), "{report}");
//! # }
//! ```

mod server;
#[cfg(feature = "conformance-tls")]
mod tls;
#[cfg(feature = "conformance-tls")]
mod tls_server;

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use server::Server;
#[cfg(feature = "conformance-tls")]
pub use tls::check_tls;
use url::Url;

use crate::{
    BODY_LIMIT, CertificatePin, Request, Response, Route, SharedTransport, Transport, TransportError,
    TransportErrorKind,
};

/// The results of all cases.
#[derive(Clone, Debug)]
pub struct ConformanceReport(Vec<(&'static str, Result<(), String>)>);

impl ConformanceReport {
    /// Returns true if every case passed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.iter().all(|(_, outcome)| outcome.is_ok())
    }

    /// Creates a report, for another suite.
    #[must_use]
    pub fn new(cases: Vec<(&'static str, Result<(), String>)>) -> Self {
        Self(cases)
    }

    /// Iterates over the cases, each with its error.
    pub fn cases(&self) -> impl Iterator<Item = (&'static str, Result<(), &str>)> {
        self.0.iter().map(|(name, outcome)| (*name, outcome.as_ref().copied().map_err(String::as_str)))
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in self.cases() {
            match outcome {
                Ok(()) => writeln!(f, "ok      {name}")?,
                Err(wrong) => writeln!(f, "FAILED  {name}: {wrong}")?,
            }
        }
        Ok(())
    }
}

/// Runs all cases against a transport.
pub async fn check(transport: impl Transport) -> ConformanceReport {
    use TransportErrorKind as Kind;
    let transport = SharedTransport::new(transport);
    let mut cases = vec![
        ("the request arrives unchanged", request_arrives(&transport).await),
        ("the response arrives unchanged", response_arrives(&transport).await),
        ("a redirect is not followed", redirect_is_response(&transport).await),
        ("a body at the limit is accepted", body_at_limit(&transport).await),
        ("a body over the limit is refused", body_over_limit(&transport).await),
        ("an endless chunked body is refused", endless_body(&transport).await),
        (
            "an incomplete body is an interruption",
            reply_fails(
                &transport,
                "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
                Kind::Interrupted,
            )
            .await,
        ),
        (
            "a connection closed before the response is an interruption",
            reply_fails(&transport, "", Kind::Interrupted).await,
        ),
        (
            "a reply that is not HTTP is a protocol error",
            reply_fails(&transport, "SSH-2.0-OpenSSH_9.2\r\n\r\n", Kind::Protocol).await,
        ),
        ("a closed port is a connection failure", closed_port(&transport).await),
        ("a closed kept connection does not fail the next request", stale(&transport).await),
        ("a lost POST is not sent again", lost_post(&transport, &["/lost"]).await),
        (
            "a POST lost on a kept connection is not sent again",
            lost_post(&transport, &["/kept", "/lost"]).await,
        ),
        ("a URL cannot inject a header", no_injection(&transport).await),
        ("plain HTTP reaches a name with a local address", local_name(&transport).await),
    ];
    if transport.capabilities().pinned_servers() {
        cases.push(("a pinned request is not sent without TLS", nothing_without_tls(&transport).await));
    }
    ConformanceReport(cases)
}

/// Runs the cases for [pinned servers](crate::Capabilities::pinned_servers) against a transport
/// that declares them. `url` must be at a TLS server on loopback that returns 200 to every GET. Its
/// certificate has the thumbprint `pin`, another name, and an issuer that the transport does not
/// trust.
///
/// A server that presents the pinned certificate without its key must be
/// [`Tls`](TransportErrorKind::Tls). `check_tls` tests that, and all of these cases.
pub async fn check_pinned(transport: impl Transport, url: &Url, pin: CertificatePin) -> ConformanceReport {
    ConformanceReport(pinned_cases(&SharedTransport::new(transport), url, pin).await)
}

async fn pinned_cases(
    transport: &SharedTransport,
    url: &Url,
    pin: CertificatePin,
) -> Vec<(&'static str, Case)> {
    let another = CertificatePin::from_sha1([0; 20]);
    let ask = |pin| transport.send(get(url.clone()).with_pinned_server(pin));
    let refused = |sent| expect_kind(sent, TransportErrorKind::Tls);
    // The order matters: a refused request must not be served from a kept connection later.
    vec![
        ("pinned servers are declared", {
            expect(transport.capabilities().pinned_servers(), "they are not")
        }),
        ("another certificate is refused", refused(ask(Some(another)).await)),
        ("an untrusted server is refused", refused(ask(None).await)),
        ("the pinned certificate is accepted", served(ask(Some(pin)).await)),
        ("a connection is not shared between pins", refused(ask(Some(another)).await)),
        ("a pinned connection serves no request without a pin", refused(ask(None).await)),
        ("the pinned server is still served", served(ask(Some(pin)).await)),
    ]
}

/// Checks that no plain HTTP is sent to a name with a public address. `url` is an `http` URL whose
/// name resolves to addresses outside of this machine and its private networks only; nothing needs
/// to listen there.
pub async fn check_public_name(transport: impl Transport, url: &Url) -> ConformanceReport {
    let sent = SharedTransport::new(transport).send(get(url.clone())).await;
    let refused = expect_kind(sent, TransportErrorKind::Insecure);
    ConformanceReport(vec![("plain HTTP to a public address is refused", refused)])
}

fn served(sent: Result<Response, TransportError>) -> Case {
    let response = sent.map_err(describe)?;
    expect(response.status() == StatusCode::OK, "the status is not 200")
}

type Case = Result<(), String>;

const EMPTY_OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn get(url: Url) -> Request {
    Request::new(Method::GET, url, Route::Local)
}

fn expect_kind(sent: Result<Response, TransportError>, expected: TransportErrorKind) -> Case {
    match sent {
        Err(error) if error.kind() == expected => Ok(()),
        Err(error) => Err(format!("expected {expected:?}, got {error:?}")),
        Ok(response) => Err(format!("expected {expected:?}, got {response:?}")),
    }
}

async fn reply_fails(
    transport: &SharedTransport,
    reply: impl Into<Vec<u8>>,
    expected: TransportErrorKind,
) -> Case {
    let server = Server::replying(reply).map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, expected)
}

fn expect(holds: bool, wrong: &str) -> Case {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn describe(error: impl fmt::Display) -> String {
    error.to_string()
}

async fn request_arrives(transport: &SharedTransport) -> Case {
    let server = Server::replying(EMPTY_OK).map_err(describe)?;
    let url = server.url("/metadata/x?api-version=2.0&resource=a%2Bb%26c");
    let mut request = Request::new(Method::POST, url, Route::Local).with_body(&b"{\"csr\":\"x\"}"[..]);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
    transport.send(request).await.map_err(describe)?;
    let received = server.received();
    let text = String::from_utf8_lossy(&received).to_lowercase();
    let first = text.lines().next().unwrap_or_default();
    expect(
        first == "post /metadata/x?api-version=2.0&resource=a%2bb%26c http/1.1",
        "the request line differs",
    )?;
    for header in [
        "content-type: application/json".to_owned(),
        "metadata: true".to_owned(),
        "content-length: 11".to_owned(),
        format!("host: 127.0.0.1:{}", server.port()),
    ] {
        expect(text.lines().any(|line| line == header), &format!("no header line `{header}`"))?;
    }
    expect(received.ends_with(b"{\"csr\":\"x\"}"), "the body differs")
}

async fn response_arrives(transport: &SharedTransport) -> Case {
    let server = Server::replying(
        "HTTP/1.1 429 Slow Down\r\nServer: IMDS/1\r\nRetry-After: 7\r\ncontent-length: 4\r\n\r\nbody",
    )
    .map_err(describe)?;
    let response = transport.send(get(server.url("/"))).await.map_err(describe)?;
    expect(response.status() == StatusCode::TOO_MANY_REQUESTS, "the status differs")?;
    expect(response.headers().get("server").is_some_and(|value| value == "IMDS/1"), "a header is missing")?;
    expect(response.body() == &Bytes::from_static(b"body"), "the body differs")
}

async fn redirect_is_response(transport: &SharedTransport) -> Case {
    let target = Server::replying(EMPTY_OK).map_err(describe)?;
    let location = target.url("/elsewhere");
    let reply =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::replying(reply).map_err(describe)?;
    let response = transport.send(get(server.url("/"))).await.map_err(describe)?;
    expect(response.status() == StatusCode::TEMPORARY_REDIRECT, "the redirect was followed")?;
    expect(response.headers().contains_key(LOCATION), "the location is missing")?;
    expect(target.received().is_empty(), "the target of the redirect received a request")
}

async fn body_at_limit(transport: &SharedTransport) -> Case {
    let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_LIMIT}\r\n\r\n").into_bytes();
    reply.resize(reply.len() + BODY_LIMIT, b'x');
    let server = Server::replying(reply).map_err(describe)?;
    let response = transport.send(get(server.url("/"))).await.map_err(describe)?;
    expect(response.body().len() == BODY_LIMIT, "the body is not complete")
}

async fn body_over_limit(transport: &SharedTransport) -> Case {
    let over = BODY_LIMIT + 1;
    let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {over}\r\n\r\n").into_bytes();
    reply.resize(reply.len() + over, b'x');
    reply_fails(transport, reply, TransportErrorKind::TooLarge).await
}

async fn endless_body(transport: &SharedTransport) -> Case {
    let mut reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=BODY_LIMIT / 0x1_0000 {
        reply.extend_from_slice(b"10000\r\n");
        reply.resize(reply.len() + 0x1_0000, b'x');
        reply.extend_from_slice(b"\r\n");
    }
    reply_fails(transport, reply, TransportErrorKind::TooLarge).await
}

async fn closed_port(transport: &SharedTransport) -> Case {
    let url = Server::closed_url().map_err(describe)?;
    expect_kind(transport.send(get(url)).await, TransportErrorKind::Connect)
}

async fn local_name(transport: &SharedTransport) -> Case {
    let server = Server::replying(EMPTY_OK).map_err(describe)?;
    let mut url = server.url("/");
    url.set_host(Some("localhost")).map_err(describe)?;
    served(transport.send(get(url)).await)
}

/// The server responds without `connection: close`, and closes the connection.
async fn stale(transport: &SharedTransport) -> Case {
    let server = Server::replying(EMPTY_OK).map_err(describe)?;
    for _ in 0..3 {
        transport.send(get(server.url("/"))).await.map_err(describe)?;
        server.wait_until_closed();
    }
    Ok(())
}

/// The server receives the last request completely, and closes its connection without a response.
async fn lost_post(transport: &SharedTransport, paths: &[&str]) -> Case {
    let server = Server::losing(EMPTY_OK).map_err(describe)?;
    let post = |path| Request::new(Method::POST, server.url(path), Route::Local).with_body(&b"once"[..]);
    let (last, before) = paths.split_last().ok_or("no request")?;
    for path in before {
        transport.send(post(path)).await.map_err(describe)?;
    }
    expect_kind(transport.send(post(last)).await, TransportErrorKind::Interrupted)?;
    let received = server.received();
    let line = format!("POST {last} HTTP/1.1\r\n").into_bytes();
    let copies = received.windows(line.len()).filter(|part| *part == line).count();
    expect(copies == 1, &format!("the server received {copies} copies"))
}

async fn nothing_without_tls(transport: &SharedTransport) -> Case {
    let server = Server::replying_at_once(EMPTY_OK).map_err(describe)?;
    let mut url = server.url("/token");
    url.set_scheme("https").map_err(|()| "the URL cannot be one of https")?;
    let mut request = get(url).with_pinned_server(Some(CertificatePin::from_sha1([7; 20])));
    request.headers_mut().insert(HeaderName::from_static("secret"), HeaderValue::from_static("s3cr3t"));
    expect(transport.send(request).await.is_err(), "there was a response")?;
    server.wait_until_closed();
    let received = server.received();
    let holds = |text: &[u8]| received.windows(text.len()).any(|part| part == text);
    expect(!holds(b"s3cr3t") && !holds(b"/token"), "the request was sent without TLS")
}

async fn no_injection(transport: &SharedTransport) -> Case {
    let server = Server::replying(EMPTY_OK).map_err(describe)?;
    let url = server.url("/path?client_id=a%0d%0ainjected:%20yes");
    transport.send(get(url)).await.map_err(describe)?;
    let received = server.received();
    let text = String::from_utf8_lossy(&received).to_lowercase();
    expect(
        !text.lines().any(|line| line.starts_with("injected:")),
        "a percent-encoded line break was decoded",
    )
}
