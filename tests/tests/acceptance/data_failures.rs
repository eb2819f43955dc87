//! DATA: time limits, cancellation, and unusable responses.

use std::error::Error as _;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use symbolon::{ErrorKind, SharedClock};
use symbolon_emulator::{Fault, Step};
use symbolon_transport::timeout;
use tokio::net::TcpListener;

use crate::data::{channel, client};
use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer};
use crate::test_env::TestEnv;

const DEADLINE: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(7);

/// Drives a future until the condition is true, which must be before its end.
async fn drive_until<F: Future<Output: Debug> + Unpin>(mut future: F, is_reached: impl Fn() -> bool) {
    let step = Duration::from_millis(10);
    for _ in 0..1000 {
        let ended = timeout(&SharedClock::system(), step, &mut future).await;
        assert!(ended.is_none(), "{ended:?}");
        if is_reached() {
            return;
        }
    }
    panic!("it did not happen in ten seconds");
}

/// A server that accepts connections and sends nothing.
struct SilentServer {
    url: String,
    accepted: Arc<AtomicUsize>,
}

impl SilentServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok(connection) = listener.accept().await {
                open.push(connection);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { url, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn data_13_deadline_covers_handshake_and_head() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = client(&test_env, Some(&server)).deadline(DEADLINE).build().unwrap();
        let silent = SilentServer::start().await;
        server.script([Reaction::Stall]);
        for url in [server.url(), &silent.url] {
            let mut call = Box::pin(client.get(url).send());
            let is_reached = || silent.accepted() == 1 || url == server.url() && server.received().len() == 1;
            drive_until(&mut call, is_reached).await;
            test_env.manual_clock.advance(DEADLINE - Duration::from_secs(1));
            drive_until(&mut call, || true).await;
            test_env.manual_clock.advance(Duration::from_secs(1));
            let error = call.await.unwrap_err();
            assert_eq!(
                (error.code(), error.kind(), error.is_transient()),
                ("timeout", ErrorKind::Network, true)
            );
            assert!(error.to_string().contains("5s") && error.to_string().contains("deadline"), "{error}");
        }
    }
}

#[tokio::test]
async fn data_13_upload_that_advances_continues() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let client = client(&test_env, Some(&server)).deadline(DEADLINE).build().unwrap();
    server.script([Reaction::Status(200, None)]);
    let (parts, body) = channel();
    let url = server.url().to_owned();
    let call = tokio::spawn(async move { client.post(url).streaming_body(body).send().await });
    for _ in 0..5 {
        parts.send("x").await.unwrap();
        // Empty once the client has read the part.
        drop(parts.reserve().await.unwrap());
        test_env.manual_clock.advance(DEADLINE - Duration::from_secs(1));
    }
    drop(parts);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn data_13_read_timeout_covers_each_frame() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = client(&test_env, Some(&server)).read_timeout(READ_TIMEOUT).build().unwrap();
        server.script([Reaction::StallBody]);
        let response = client.get(server.url()).send().await.unwrap();
        let mut body = response.into_http().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
        // A slow reader is no slow server.
        test_env.manual_clock.advance(2 * READ_TIMEOUT);
        drive_until(body.frame(), || true).await;
        test_env.manual_clock.advance(READ_TIMEOUT);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), "timeout");
        assert!(error.to_string().contains("read timeout of 7s"), "{error}");
        assert!(body.frame().await.is_none(), "an error ends the body");
    }
}

#[tokio::test]
async fn data_14_cancelled_call_leaves_nothing_behind() {
    for tls in [HTTP1, HTTP2] {
        for is_bound in [false, true] {
            let test_env = TestEnv::new().await;
            let server = ResourceServer::start(tls).await;
            let client = client(&test_env, Some(&server));
            let client = if is_bound { client.proof_of_possession() } else { client };
            let client = client.build().unwrap();
            let token_step = if is_bound { Step::Token } else { Step::ImdsToken };
            let silent = SilentServer::start().await;

            test_env.emulator.inject(Fault::stall(token_step));
            let call = Box::pin(client.get(server.url()).send());
            drive_until(call, || test_env.count(token_step) == 1).await;
            assert_eq!(server.accepted(), 0, "cancelled during the token request");
            drive_until(Box::pin(client.get(&silent.url).send()), || silent.accepted() == 1).await;
            server.script([Reaction::Stall]);
            drive_until(Box::pin(client.post(server.url()).send()), || server.received().len() == 1).await;
            server.script([Reaction::StallBody]);
            let response = client.get(server.url()).send().await.unwrap();
            drive_until(Box::pin(response.bytes()), || true).await;

            let response = client.post(server.url()).body("next").send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "next");
            assert_eq!(server.received().len(), 3, "nothing was sent again");
            test_env.wait_until(|| server.open() == 1).await;
        }
    }
}

#[tokio::test]
async fn data_21_unusable_bodies_are_errors() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let limited = client(&test_env, Some(&server)).max_response_size(8).build().unwrap();
        let post = |body: &'static [u8]| limited.post(server.url()).body(body).send();
        assert_eq!(post(b"8 octets").await.unwrap().text().await.unwrap(), "8 octets");
        let error = post(b"more than 8").await.unwrap().bytes().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("response_too_large", ErrorKind::Response));
        let error = post(b"five5").await.unwrap().limit(4).bytes().await.unwrap_err();
        assert_eq!(error.code(), "response_too_large");
        let error = post(b"\xff").await.unwrap().text().await.unwrap_err();
        assert_eq!(error.code(), "invalid_response");
        let error = post(b"\"s3cr3t\"").await.unwrap().json::<u32>().await.unwrap_err();
        assert_eq!(error.code(), "invalid_response");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        server.script([Reaction::TearBody]);
        let error = limited.get(server.url()).send().await.unwrap().bytes().await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("transport_error", true));
    }
}

#[tokio::test]
async fn data_13_time_limit_may_be_zero_or_endless() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP2).await;
    let none = client(&test_env, Some(&server)).deadline(Duration::ZERO).build().unwrap();
    let error = none.get(server.url()).send().await.unwrap_err();
    assert_eq!((error.code(), server.received().len()), ("timeout", 0));
    let unread = client(&test_env, Some(&server)).read_timeout(Duration::ZERO).build().unwrap();
    server.script([Reaction::StallBody]);
    let error = unread.get(server.url()).send().await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.code(), "timeout");
    let endless = client(&test_env, Some(&server)).deadline(Duration::MAX).read_timeout(Duration::MAX);
    let response = endless.build().unwrap().post(server.url()).body("x").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "x");
}

#[tokio::test]
async fn data_37_failed_body_is_not_sent_again() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = client(&test_env, Some(&server)).retries(2).build().unwrap();
        let parts = || {
            let broken = std::io::Error::other("the source broke");
            stream::iter([Ok(Frame::data(bytes::Bytes::from("part"))), Err(broken)])
        };
        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
        server.script([Reaction::Status(200, None); 2]);
        let error =
            client.put(server.url()).streaming_body(StreamBody::new(parts())).send().await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("request_body_failed", false), "{tls:?}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("the source broke"), "{cause}");
        assert!(server.received().len() <= 2, "sent again");
    }
}
