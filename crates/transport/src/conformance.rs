//! What a transport must get right, as tests to run against yours. (Feature `conformance`.)
//!
//! The cases talk to a plain server on loopback that this module starts; they need no TLS, no
//! network and no particular runtime. What they cannot check is the TLS half of the contract: for
//! [pinned servers](crate::Capabilities::pinned_servers), [`check_pinned`] takes a TLS server that you
//! run; for client certificates, run an mTLS server, as `symbolon-hyper` does in its own tests.
//!
//! ```no_run
//! # use symbolon_transport::{Transport, conformance};
//! # async fn example(transport: impl Transport) {
//! let report = conformance::check(transport).await;
//! assert!(report.holds(), "{report}");
//! # }
//! ```

mod server;

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use server::Server;
use url::Url;

use crate::{
    BODY_LIMIT, CertificatePin, Request, Response, Route, SharedTransport, Transport, TransportError,
    TransportErrorKind,
};

/// The outcome of every case.
#[derive(Clone, Debug)]
pub struct Report(Vec<(&'static str, Result<(), String>)>);

impl Report {
    /// Whether every case passed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.iter().all(|(_, outcome)| outcome.is_ok())
    }

    /// The cases, each with what was wrong.
    pub fn cases(&self) -> impl Iterator<Item = (&'static str, Result<(), &str>)> {
        self.0.iter().map(|(name, outcome)| (*name, outcome.as_ref().copied().map_err(String::as_str)))
    }
}

impl fmt::Display for Report {
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

/// Runs every case against a transport.
pub async fn check(transport: impl Transport) -> Report {
    let transport = SharedTransport::new(transport);
    let mut cases = vec![
        ("the request arrives as it was given", request_arrives(&transport).await),
        ("the response arrives as it was sent", response_arrives(&transport).await),
        ("a redirect is a response", redirect_is_response(&transport).await),
        ("a body at the limit is accepted", body_at_limit(&transport).await),
        ("a body over the limit is refused", body_over_limit(&transport).await),
        ("an endless chunked body is refused", endless_body(&transport).await),
        ("a torn body is an interruption", torn_body(&transport).await),
        ("a hang-up before the response is an interruption", hang_up(&transport).await),
        ("a reply that is not HTTP is a protocol error", not_http(&transport).await),
        ("a closed port is a failure to connect", closed_port(&transport).await),
        ("a kept connection that was closed does not fail the next request", stale(&transport).await),
        ("a header injected through a value is impossible", no_injection(&transport).await),
    ];
    if transport.capabilities().pinned_servers() {
        cases.push((
            "a server without TLS sees nothing of a pinned request",
            nothing_without_tls(&transport).await,
        ));
    }
    Report(cases)
}

/// Runs the cases for [pinned servers](crate::Capabilities::pinned_servers) against a transport that
/// declares them. `url` is at a TLS server on loopback that answers every GET with 200, whose certificate
/// has the thumbprint `pin`, is not for its name, and is issued by nobody whom the transport trusts.
///
/// What needs a server that lies is left to your own tests: one that presents the pinned certificate
/// without its key must be [`Tls`](TransportErrorKind::Tls).
pub async fn check_pinned(transport: impl Transport, url: &Url, pin: CertificatePin) -> Report {
    let transport = SharedTransport::new(transport);
    let another = CertificatePin::from_sha1([0; 20]);
    let ask = |pin| transport.send(get(url.clone()).with_pinned_server(pin));
    let refused = |sent| expect_kind(sent, TransportErrorKind::Tls);
    // In this order: what was refused before must not be served from a connection that is kept.
    Report(vec![
        ("pinned servers are declared", {
            expect(transport.capabilities().pinned_servers(), "they are not")
        }),
        ("another certificate is refused", refused(ask(Some(another)).await)),
        ("a server is not trusted that nobody vouches for", refused(ask(None).await)),
        ("the pinned certificate is enough", served(ask(Some(pin)).await)),
        ("a connection with one pin serves no request with another", refused(ask(Some(another)).await)),
        ("a connection with a pin serves no request without", refused(ask(None).await)),
        ("the pinned server is still served", served(ask(Some(pin)).await)),
    ])
}

fn served(sent: Result<Response, TransportError>) -> Case {
    let response = sent.map_err(describe)?;
    expect(response.status() == StatusCode::OK, "the status is not 200")
}

type Case = Result<(), String>;

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

fn expect(holds: bool, wrong: &str) -> Case {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn describe(error: impl fmt::Display) -> String {
    error.to_string()
}

async fn request_arrives(transport: &SharedTransport) -> Case {
    let server = Server::replying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").map_err(describe)?;
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
    let target = Server::replying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").map_err(describe)?;
    let location = target.url("/elsewhere");
    let reply =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::replying(reply).map_err(describe)?;
    let response = transport.send(get(server.url("/"))).await.map_err(describe)?;
    expect(response.status() == StatusCode::TEMPORARY_REDIRECT, "the redirect was followed")?;
    expect(response.headers().contains_key(LOCATION), "the location is missing")?;
    expect(target.received().is_empty(), "the target of the redirect was asked")
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
    let server = Server::replying(reply).map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, TransportErrorKind::TooLarge)
}

async fn endless_body(transport: &SharedTransport) -> Case {
    let mut reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=BODY_LIMIT / 0x1_0000 {
        reply.extend_from_slice(b"10000\r\n");
        reply.resize(reply.len() + 0x1_0000, b'x');
        reply.extend_from_slice(b"\r\n");
    }
    let server = Server::replying(reply).map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, TransportErrorKind::TooLarge)
}

async fn torn_body(transport: &SharedTransport) -> Case {
    let server =
        Server::replying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, TransportErrorKind::Interrupted)
}

async fn hang_up(transport: &SharedTransport) -> Case {
    let server = Server::replying("").map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, TransportErrorKind::Interrupted)
}

async fn not_http(transport: &SharedTransport) -> Case {
    let server = Server::replying("SSH-2.0-OpenSSH_9.2\r\n\r\n").map_err(describe)?;
    expect_kind(transport.send(get(server.url("/"))).await, TransportErrorKind::Protocol)
}

async fn closed_port(transport: &SharedTransport) -> Case {
    let url = Server::closed_url().map_err(describe)?;
    expect_kind(transport.send(get(url)).await, TransportErrorKind::Connect)
}

/// The server answers without `connection: close` and then closes all the same.
async fn stale(transport: &SharedTransport) -> Case {
    let server = Server::replying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").map_err(describe)?;
    for _ in 0..3 {
        transport.send(get(server.url("/"))).await.map_err(describe)?;
        server.wait_until_closed();
    }
    Ok(())
}

async fn nothing_without_tls(transport: &SharedTransport) -> Case {
    let server = Server::blurting("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").map_err(describe)?;
    let mut url = server.url("/token");
    url.set_scheme("https").map_err(|()| "the URL cannot be one of https")?;
    let mut request = get(url).with_pinned_server(Some(CertificatePin::from_sha1([7; 20])));
    request.headers_mut().insert(HeaderName::from_static("secret"), HeaderValue::from_static("s3cr3t"));
    expect(transport.send(request).await.is_err(), "there was an answer")?;
    server.wait_until_closed();
    let received = server.received();
    let holds = |text: &[u8]| received.windows(text.len()).any(|part| part == text);
    expect(!holds(b"s3cr3t") && !holds(b"/token"), "the request was sent in clear")
}

async fn no_injection(transport: &SharedTransport) -> Case {
    let server = Server::replying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").map_err(describe)?;
    let url = server.url("/path?client_id=a%0d%0ainjected:%20yes");
    transport.send(get(url)).await.map_err(describe)?;
    let received = server.received();
    let text = String::from_utf8_lossy(&received).to_lowercase();
    expect(
        !text.lines().any(|line| line.starts_with("injected:")),
        "a percent-encoded line break was decoded",
    )
}
