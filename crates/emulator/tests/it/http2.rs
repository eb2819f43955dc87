//! Tests of HTTP/2 and of streamed bodies at the resource.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use symbolon_emulator::{Emulator, EntryOutcome, Fault, Step};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{Answer, BoxError, Client, Identity, authorized, cause, get};
use crate::csr::Key;
use crate::fixtures::{bound_token, certified};

/// A request body whose chunks the test sends.
struct Upload(mpsc::Receiver<Bytes>);

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// An HTTP/2 connection to the resource, with a bound token.
struct Http2 {
    url: String,
    token: String,
    sender: http2::SendRequest<http_body_util::combinators::BoxBody<Bytes, io::Error>>,
}

impl Http2 {
    async fn connect(emulator: &Emulator, identity: &Identity) -> Result<Self, BoxError> {
        let token = bound_token(emulator, identity).await?;
        let address = emulator.resource_url().trim_start_matches("https://");
        let stream = TcpStream::connect(address).await?;
        let client = Client::new(emulator, Some(identity)).with_alpn(&[b"h2", b"http/1.1"]);
        let stream = client.handshake("127.0.0.1".to_owned(), stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { url: emulator.resource_url().to_owned(), token, sender })
    }

    async fn send<B>(
        &mut self,
        method: Method,
        path: &str,
        body: B,
    ) -> Result<Response<Incoming>, hyper::Error>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static,
    {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("mtls_pop {}", self.token))
            .body(body.boxed())
            .unwrap();
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, hyper::Error> {
        self.send(Method::GET, path, Empty::new().map_err(|never| match never {})).await
    }
}

fn h2_error<'a>(error: &'a (dyn Error + 'static)) -> &'a h2::Error {
    cause::<h2::Error>(error).unwrap_or_else(|| panic!("no error of HTTP/2: {error:?}"))
}

#[tokio::test]
async fn resource_serves_http2_by_alpn() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    let response = http2.get("/secrets/1").await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["x5t#S256"], identity.thumbprint().to_string());
    let entry = emulator.journal().last(Step::Resource).unwrap().clone();
    assert_eq!(entry.target, "/secrets/1");
    let host = emulator.resource_url().trim_start_matches("https://").to_owned();
    assert_eq!(entry.header("host"), Some(host.as_str()));

    // Without ALPN, HTTP/1.1. The token service offers nothing else.
    let answer = Client::new(&emulator, None).send(get(emulator.resource_url())).await.unwrap();
    assert_eq!(answer.status, 401);
    let stream = TcpStream::connect(emulator.token_url().trim_start_matches("https://")).await.unwrap();
    let client = Client::new(&emulator, None).with_alpn(&[b"h2", b"http/1.1"]);
    let stream = client.handshake("127.0.0.1".to_owned(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

/// Each chunk returns before the next one is sent, so nothing waits for the whole body.
#[tokio::test]
async fn echo_streams_both_ways() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    let (sender, chunks) = mpsc::channel(1);
    let response = http2.send(Method::POST, "/echo", Upload(chunks)).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for round in 0..3 {
        let chunk = Bytes::from(vec![round; 1000]);
        sender.send(chunk.clone()).await.unwrap();
        let mut received = Vec::new();
        while received.len() < chunk.len() {
            received.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(received, chunk);
    }
    drop(sender);
    assert!(body.collect().await.unwrap().to_bytes().is_empty());

    // More than the limit of the other servers, over HTTP/1.1.
    let large = "0123456789".repeat(300_000);
    let mut request = authorized(&format!("{}/echo", emulator.resource_url()), "mtls_pop", &http2.token);
    *request.method_mut() = Method::POST;
    *request.body_mut() = large.clone();
    let client = Client::new(&emulator, Some(&identity));
    assert_eq!(client.send(request.clone()).await.unwrap().body, large);
    *request.uri_mut() = emulator.resource_url().parse().unwrap();
    assert_eq!(client.send(request).await.unwrap().status, 200);
    let mut refused = get(&format!("{}/echo", emulator.resource_url()));
    *refused.method_mut() = Method::POST;
    assert_eq!(client.send(refused).await.unwrap().status, 401);
}

fn is_pattern(body: &[u8]) -> bool {
    body.iter().enumerate().all(|(position, octet)| usize::from(*octet) == position % 251)
}

#[tokio::test]
async fn octets_of_any_number_are_sent() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    let client = Client::new(&emulator, Some(&identity));
    for length in [0, 1, 16_064, 3_000_000] {
        let path = format!("/bytes/{length}");
        let response = http2.get(&path).await.unwrap();
        let announced = response.body().size_hint().exact();
        assert_eq!(announced, Some(length as u64));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.len() == length && is_pattern(&body), "{length}: {}", body.len());
        let request = authorized(&format!("{}{path}", emulator.resource_url()), "mtls_pop", &http2.token);
        let answer: Answer = client.send(request).await.unwrap();
        assert!(answer.body.len() == length && is_pattern(&answer.body));
    }
    // Not a number, so that it is a path like others.
    let response = http2.get("/bytes/-1").await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
}

#[tokio::test]
async fn streamed_body_is_torn_in_the_middle() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    emulator.inject(Fault::torn_body(Step::Resource).times(2));
    let mut body = http2.get("/bytes/40000").await.unwrap().into_body();
    let mut received = 0;
    let error = loop {
        match body.frame().await.expect("the body ended without an error") {
            Ok(frame) => received += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(received <= 20_000, "{received}");
    assert!(h2_error(&error).is_remote());
    assert_eq!(emulator.journal().last(Step::Resource).unwrap().outcome, EntryOutcome::Torn(200));

    let request = authorized(&format!("{}/bytes/40000", emulator.resource_url()), "mtls_pop", &http2.token);
    let error = Client::new(&emulator, Some(&identity)).send(request).await.err().unwrap();
    assert!(cause::<hyper::Error>(&*error).is_some(), "{error:?}");
    // The HTTP/2 connection outlives its stream.
    assert_eq!(http2.get("/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn go_away_precedes_the_request() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    for answered in 0..2 {
        let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
        for _ in 0..answered {
            http2.get("/").await.unwrap();
        }
        emulator.inject(Fault::go_away(Step::Resource));
        let error = http2.get("/").await.unwrap_err();
        let error = h2_error(&error);
        assert!(error.is_go_away() && error.is_remote(), "{error:?}");
        assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
        assert_eq!(emulator.journal().last(Step::Resource).unwrap().outcome, EntryOutcome::GoAway);
        assert!(http2.get("/").await.is_err());
    }
}

#[tokio::test]
async fn stream_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    emulator.inject(Fault::refuse_stream(Step::Resource));
    let error = http2.get("/").await.unwrap_err();
    let error = h2_error(&error);
    assert_eq!((error.reason(), error.is_reset()), (Some(h2::Reason::REFUSED_STREAM), true));
    assert_eq!(emulator.journal().last(Step::Resource).unwrap().outcome, EntryOutcome::StreamRefused);
    assert_eq!(http2.get("/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn http1_connection_closes_instead() {
    let emulator = Emulator::start().await.unwrap();
    for fault in [Fault::go_away(Step::Resource), Fault::refuse_stream(Step::Resource)] {
        emulator.inject(fault);
        let client = Client::new(&emulator, None);
        let error = client.send(get(emulator.resource_url())).await.err().unwrap();
        let kind = cause::<io::Error>(&*error).map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "{error:?}");
        assert_eq!(client.send(get(emulator.resource_url())).await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn reset_ends_an_http2_connection() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let mut http2 = Http2::connect(&emulator, &identity).await.unwrap();
    emulator.inject(Fault::reset(Step::Resource));
    let error = http2.get("/").await.unwrap_err();
    let kind = cause::<io::Error>(&error).map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::ConnectionReset), "{error:?}");
    assert!(http2.get("/").await.is_err());
}
