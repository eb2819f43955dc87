//! Pooled connections with streaming bodies, against local servers with client certificates.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the lints know test functions, not what they call"
)]

#[expect(dead_code, reason = "shared with the tests of the transport")]
#[path = "../transport/authority.rs"]
mod authority;
#[expect(dead_code, reason = "shared with the tests of the transport")]
#[path = "../transport/keys.rs"]
mod keys;
mod server;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use rustls::SupportedProtocolVersion;
use symbolon_hyper::{Connections, ConnectionsBuilder, OutgoingBody, ResponseBody, SendFailure, outgoing};
use symbolon_transport::{PhaseCell, RequestPhase, TransportErrorKind, timeout};
use symbolon_types::{ClientIdentity, Context, Env, ManualClock, SharedClock, Thumbprint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{Behaviour, EchoServer};

const PROTOCOLS: [(&str, Version); 2] = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn trusting(authority: &Authority) -> ConnectionsBuilder {
    Connections::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates([authority.certificate()])
}

fn request(method: Method, url: &str, body: &'static str) -> Request<OutgoingBody> {
    Request::builder().method(method).uri(url).body(outgoing(Full::<Bytes>::from(body))).unwrap()
}

async fn send(
    connections: &Connections,
    request: Request<OutgoingBody>,
    identity: &ClientIdentity,
) -> Result<Response<ResponseBody>, SendFailure> {
    let sent = connections.send(request, Some(identity));
    let sent = timeout(&SharedClock::system(), Duration::from_secs(30), sent).await;
    sent.expect("the request hangs")
}

async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn bodies_stream_over_both_protocols() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, http_version) in PROTOCOLS {
        for tls in VERSIONS {
            let server = EchoServer::start(&authority, tls, protocol, Behaviour::Echo).await;
            let connections = trusting(&authority).build().unwrap();
            // 3 MiB, more than every window and buffer.
            let pieces =
                (0..48).map(|n: u8| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![n; 65_536]))));
            let body = outgoing(StreamBody::new(stream::iter(pieces)));
            let request = Request::post(server.url()).body(body).unwrap();
            let response = send(&connections, request, &identity).await.unwrap();
            assert_eq!(response.headers()["version"], format!("{http_version:?}"), "{protocol} {tls:?}");
            assert_eq!(response.headers()["target"], "/path?query=1");
            assert_eq!(response.headers()["has-host"], "true");
            let mut received = 0;
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                for byte in frame.unwrap().into_data().unwrap() {
                    assert_eq!(usize::from(byte), received / 65_536);
                    received += 1;
                }
            }
            assert_eq!(received, 48 * 65_536);
            for method in [Method::GET, Method::DELETE, Method::PUT] {
                let again = send(&connections, self::request(method, &server.url(), "x"), &identity).await;
                text(again.unwrap()).await;
            }
            assert_eq!(server.record().connections.load(Ordering::SeqCst), 1, "{protocol} {tls:?}");
            let seen = server.record().thumbprints.lock().unwrap().clone();
            assert_eq!(seen, vec![identity.thumbprint(); 4]);
        }
    }
}

#[tokio::test]
async fn bursts_share_connections() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, most) in [("http/1.1", 32), ("h2", 1)] {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        for _ in 0..3 {
            join_all((0..32).map(|_| async {
                let response = send(&connections, request(Method::GET, &server.url(), ""), &identity).await;
                assert_eq!(text(response.unwrap()).await, "hello");
            }))
            .await;
        }
        let opened = server.record().connections.load(Ordering::SeqCst);
        assert!(opened <= most, "{protocol}: {opened}");
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = EchoServer::start(&authority, &rustls::version::TLS13, "http/1.1", Behaviour::Echo).await;
    let connections = trusting(&authority).max_connections(2).build().unwrap();
    join_all((0..20).map(|_| async {
        let response =
            send(&connections, request(Method::POST, &server.url(), "x"), &identity).await.unwrap();
        assert_eq!(text(response).await, "x");
    }))
    .await;
    assert_eq!(server.record().requests.load(Ordering::SeqCst), 20);
    let most = server.record().most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most}");
}

#[tokio::test]
async fn identities_never_share_connections() {
    let authority = Authority::new();
    let identities = [authority.identity(Algorithm::P256), authority.identity(Algorithm::P256)];
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        let mut expected: Vec<Thumbprint> = Vec::new();
        for round in 0..6 {
            let identity = &identities[round % 2];
            let response = send(&connections, request(Method::GET, &server.url(), ""), identity).await;
            text(response.unwrap()).await;
            expected.push(identity.thumbprint());
        }
        assert_eq!(*server.record().thumbprints.lock().unwrap(), expected, "{protocol}");
    }
}

#[tokio::test]
async fn closed_connection_is_replaced() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let behaviour = Behaviour::CloseAfterOne;
    let server = EchoServer::start(&authority, &rustls::version::TLS13, "http/1.1", behaviour).await;
    let connections = trusting(&authority).build().unwrap();
    for _ in 0..5 {
        let response =
            send(&connections, request(Method::POST, &server.url(), "x"), &identity).await.unwrap();
        assert_eq!(text(response).await, "x");
    }
    assert_eq!(server.record().requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn delivered_request_is_not_sent_again() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for method in [Method::POST, Method::GET] {
        let behaviour = Behaviour::LoseAfterDelivery;
        let server = EchoServer::start(&authority, &rustls::version::TLS12, "http/1.1", behaviour).await;
        let connections = trusting(&authority).build().unwrap();
        let failure = send(&connections, request(method, &server.url(), "x"), &identity).await.unwrap_err();
        assert!(!failure.is_unprocessed && failure.unsent.is_none(), "{failure:?}");
        assert_eq!(failure.error.kind(), TransportErrorKind::Interrupted);
        assert_eq!(server.record().requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn refused_stream_is_unprocessed() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for behaviour in [Behaviour::RefuseStreams, Behaviour::GoAway] {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, "h2", behaviour).await;
        let connections = trusting(&authority).build().unwrap();
        let failure =
            send(&connections, request(Method::POST, &server.url(), "x"), &identity).await.unwrap_err();
        assert!(failure.is_unprocessed, "{behaviour:?}: {failure:?}");
        assert_eq!(failure.error.kind(), TransportErrorKind::Interrupted, "{behaviour:?}");
    }
}

#[tokio::test]
async fn refused_certificate_is_classified() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = other.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        for tls in VERSIONS {
            let server = EchoServer::start(&authority, tls, protocol, Behaviour::Echo).await;
            let connections = trusting(&authority).build().unwrap();
            for _ in 0..20 {
                let sent = send(&connections, request(Method::GET, &server.url(), ""), &identity).await;
                let failure = sent.unwrap_err();
                assert!(failure.is_identity_rejected(), "{protocol} {tls:?}: {failure:?}");
            }
        }
    }
}

#[tokio::test]
async fn burst_learns_of_refused_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = other.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        join_all((0..16).map(|_| async {
            let sent = send(&connections, request(Method::GET, &server.url(), ""), &identity).await;
            let failure = sent.unwrap_err();
            assert!(failure.is_identity_rejected(), "{protocol}: {failure:?}");
        }))
        .await;
    }
}

#[tokio::test]
async fn empty_post_announces_its_length() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = EchoServer::start(&authority, &rustls::version::TLS13, "http/1.1", Behaviour::Echo).await;
    let connections = trusting(&authority).build().unwrap();
    let empty = request(Method::POST, &server.url(), "");
    let response = send(&connections, empty, &identity).await.unwrap();
    assert_eq!(response.headers()["sent-length"], "0");
}

#[tokio::test]
async fn idle_connections_are_not_used_again() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, Behaviour::Echo).await;
        let clock = ManualClock::at(SharedClock::system().now());
        let context = Context::default().with_env(Env::empty()).with_clock(SharedClock::new(clock.clone()));
        let connections = trusting(&authority).context(context).build().unwrap();
        for (seconds, expected) in [(0, 1), (89, 1), (91, 2)] {
            clock.advance(Duration::from_secs(seconds));
            let response = send(&connections, request(Method::GET, &server.url(), ""), &identity).await;
            text(response.unwrap()).await;
            assert_eq!(server.record().connections.load(Ordering::SeqCst), expected, "{protocol} {seconds}");
        }
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

// The identity that is no longer used sends no request that would close its connections.
#[tokio::test]
async fn idle_connections_of_others_are_closed() {
    let authority = Authority::new();
    let (old, new) = (authority.identity(Algorithm::P256), authority.identity(Algorithm::P256));
    for (protocol, _) in PROTOCOLS {
        // Six seconds before the certificates end, their connections are young.
        for (left, advance) in [(600, 91), (5, 6)].map(|(left, by)| (seconds(left), seconds(by))) {
            let tls = &rustls::version::TLS13;
            let server = EchoServer::start(&authority, tls, protocol, Behaviour::Echo).await;
            let clock = ManualClock::at(old.not_after() - left);
            let context = Context::default().with_env(Env::empty());
            let context = context.with_clock(SharedClock::new(clock.clone()));
            let connections = trusting(&authority).context(context).build().unwrap();
            for identity in [&old, &new] {
                let response = send(&connections, request(Method::GET, &server.url(), ""), identity).await;
                text(response.unwrap()).await;
            }
            assert_eq!(server.record().open.load(Ordering::SeqCst), 2, "{protocol}");
            clock.advance(advance);
            let other = authority.identity(Algorithm::P256);
            // The certificate of the server ends at the same time as those of the clients.
            let _sent = send(&connections, request(Method::GET, &server.url(), ""), &other).await;
            let is_closed = async {
                while server.record().open.load(Ordering::SeqCst) > 1 {
                    tokio::task::yield_now().await;
                }
            };
            let closed = timeout(&SharedClock::system(), Duration::from_secs(30), is_closed).await;
            assert!(closed.is_some(), "{protocol} {advance:?}: old connections stay open");
        }
    }
}

#[tokio::test]
async fn bare_loss_is_no_rejection() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let behaviour = Behaviour::CloseAfterHandshake;
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, behaviour).await;
        let connections = trusting(&authority).build().unwrap();
        let failure =
            send(&connections, request(Method::GET, &server.url(), ""), &identity).await.unwrap_err();
        assert!(failure.is_lost_with_identity && !failure.is_identity_rejected(), "{protocol}: {failure:?}");
    }
}

#[tokio::test]
async fn endless_interim_responses_are_an_error() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for tls in VERSIONS {
        let server = EchoServer::start(&authority, tls, "http/1.1", Behaviour::InterimOnly).await;
        let connections = trusting(&authority).build().unwrap();
        let sent = send(&connections, request(Method::POST, &server.url(), "x"), &identity).await;
        let failure = sent.unwrap_err();
        assert_eq!(failure.error.kind(), TransportErrorKind::Protocol, "{failure:?}");
        assert!(!failure.is_unprocessed && !failure.is_lost_with_identity, "{failure:?}");
        assert!(failure.error.to_string().starts_with("localhost:"), "{}", failure.error);
    }
}

/// The server closes while the body is still written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_response_to_upload_is_returned() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for tls in VERSIONS {
        for _ in 0..10 {
            let server = EchoServer::start(&authority, tls, "http/1.1", Behaviour::RefuseUpload).await;
            let connections = trusting(&authority).build().unwrap();
            let body = outgoing(Full::<Bytes>::from(vec![0; 16 << 20]));
            let request = Request::post(server.url()).body(body).unwrap();
            let sent = send(&connections, request, &identity).await;
            assert_eq!(sent.map(|response| response.status().as_u16()).ok(), Some(413), "{tls:?}");
        }
    }
}

#[tokio::test]
async fn phases_and_proxy_of_request_are_known() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = EchoServer::start(&authority, VERSIONS[1], "h2", Behaviour::Echo).await;
    let phase = PhaseCell::new();
    let mut request = request(Method::GET, &server.url(), "");
    request.extensions_mut().insert(phase.clone());
    let connections = trusting(&authority).build().unwrap();
    send(&connections, request, &identity).await.unwrap();
    assert_eq!(phase.phase(), Some(RequestPhase::Response));
    for (url, kind) in [
        ("socks5h://user:s3cr3t@127.0.0.1:1", TransportErrorKind::Connect),
        ("socks4://user:s3cr3t@127.0.0.1:1", TransportErrorKind::Misconfigured),
    ] {
        let env = [("ALL_PROXY", url)].into_iter().collect();
        let connections = trusting(&authority).context(Context::default().with_env(env)).build().unwrap();
        let request = self::request(Method::GET, "https://service.example/", "");
        let failure = send(&connections, request, &identity).await.unwrap_err();
        assert_eq!((failure.error.kind(), failure.unsent.is_some()), (kind, true));
        let shown = failure.error.to_string();
        assert!(shown.contains("service.example:443") && shown.contains("ALL_PROXY"), "{shown}");
        assert!(!shown.contains("s3cr3t"));
    }
}

#[tokio::test]
async fn plain_http_is_refused() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let connections = trusting(&authority).build().unwrap();
    for (url, identity, kind) in [
        ("http://localhost:1/", Some(&identity), TransportErrorKind::Insecure),
        ("http://service.example/", None, TransportErrorKind::Insecure),
        ("ftp://localhost/", None, TransportErrorKind::Unsupported),
        ("/relative", None, TransportErrorKind::Unsupported),
        ("https://user@localhost/", None, TransportErrorKind::Unsupported),
    ] {
        let request = Request::get(url).body(outgoing(Empty::<Bytes>::new())).unwrap();
        let failure = connections.send(request, identity).await.unwrap_err();
        assert_eq!((failure.error.kind(), failure.is_unprocessed), (kind, true), "{url}");
        assert!(failure.unsent.is_some());
    }
}

#[tokio::test]
async fn dropped_body_closes_its_exchange_only() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, &rustls::version::TLS13, protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        let big = Box::leak("x".repeat(1 << 20).into_boxed_str());
        for _ in 0..3 {
            drop(send(&connections, request(Method::POST, &server.url(), big), &identity).await.unwrap());
        }
        let response = send(&connections, request(Method::GET, &server.url(), ""), &identity).await.unwrap();
        assert_eq!(text(response).await, "hello", "{protocol}");
    }
}

/// A body whose parts are sent one by one. Its sender is closed once the body is dropped.
fn channel() -> (mpsc::Sender<&'static str>, OutgoingBody) {
    let (sender, receiver) = mpsc::channel(1);
    let parts = stream::unfold(receiver, |mut receiver| async move {
        let part: &str = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(part))), receiver))
    });
    (sender, outgoing(StreamBody::new(parts)))
}

async fn soon<F: Future>(future: F) -> F::Output {
    let ready = timeout(&SharedClock::system(), Duration::from_secs(10), future).await;
    ready.expect("it did not happen in ten seconds")
}

#[tokio::test]
async fn upload_ends_with_its_response() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, VERSIONS[1], protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        let upload = |method: Method| {
            let (parts, body) = channel();
            (parts, Request::builder().method(method).uri(server.url()).body(body).unwrap())
        };
        // Dropped by the caller.
        let (parts, request) = upload(Method::POST);
        parts.send("part").await.unwrap();
        let mut response = send(&connections, request, &identity).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "part", "{protocol}");
        assert!(!parts.is_closed());
        drop(response);
        soon(parts.closed()).await;
        // Ended by the server, which did not read the request.
        let (parts, request) = upload(Method::GET);
        let response = send(&connections, request, &identity).await.unwrap();
        assert_eq!(text(response).await, "hello", "{protocol}");
        soon(parts.closed()).await;
        // Cancelled before the head of the response.
        let (parts, request) = upload(Method::OPTIONS);
        let sent = connections.send(request, Some(&identity));
        let sent = timeout(&SharedClock::system(), Duration::from_millis(200), sent).await;
        assert!(sent.is_none(), "{protocol}");
        soon(parts.closed()).await;
        let again =
            send(&connections, self::request(Method::GET, &server.url(), ""), &identity).await.unwrap();
        assert_eq!(text(again).await, "hello", "{protocol}");
        let http2_only = server.record().connections.load(Ordering::SeqCst);
        assert!(protocol != "h2" || http2_only == 1, "a cancelled stream costs no connection");
    }
}

#[tokio::test]
async fn unused_origins_are_closed() {
    const ORIGINS: usize = 12;
    const MOST: usize = 4;
    // Each address of the loopback network is an origin.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                count.fetch_add(1, Ordering::SeqCst);
                while stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let context = Context::default().with_env(Env::empty());
    let connections = Connections::builder().context(context).max_origins(MOST).build().unwrap();
    let call = async |origin: usize| {
        let request = request(Method::GET, &format!("http://127.0.0.{}:{port}/", origin + 1), "");
        connections.send(request, None).await.unwrap()
    };
    for origin in (0..ORIGINS).chain(ORIGINS - MOST..ORIGINS) {
        assert_eq!(call(origin).await.status(), 200);
    }
    soon(async {
        while open.load(Ordering::SeqCst) > MOST {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(open.load(Ordering::SeqCst), MOST, "the most recently used stay open");
}

#[tokio::test]
async fn wait_for_a_connection_is_a_phase() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, VERSIONS[1], protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).max_connections(1).max_streams(1).build().unwrap();
        let (parts, body) = channel();
        parts.send("part").await.unwrap();
        let upload = Request::post(server.url()).body(body).unwrap();
        let response = send(&connections, upload, &identity).await.unwrap();
        let phase = PhaseCell::new();
        let mut waiting = request(Method::GET, &server.url(), "");
        waiting.extensions_mut().insert(phase.clone());
        let mut waiting = Box::pin(connections.send(waiting, Some(&identity)));
        let step = Duration::from_millis(100);
        assert!(timeout(&SharedClock::system(), step, &mut waiting).await.is_none(), "{protocol}");
        assert_eq!(phase.phase(), Some(RequestPhase::Queue), "{protocol}");
        drop(response);
        assert_eq!(text(soon(waiting).await.unwrap()).await, "hello", "{protocol}");
    }
}

// Longer heads than these are refused as well, before they are read as a whole.
#[tokio::test]
async fn oversized_head_is_an_error() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, VERSIONS[1], protocol, Behaviour::HugeHead).await;
        let connections = trusting(&authority).build().unwrap();
        for _ in 0..2 {
            let sent = send(&connections, request(Method::POST, &server.url(), "x"), &identity).await;
            let failure = sent.unwrap_err();
            assert!(!failure.is_unprocessed && !failure.is_lost_with_identity, "{protocol}: {failure:?}");
            assert_eq!(failure.error.kind(), TransportErrorKind::Protocol, "{protocol}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn request_with_huge_headers_is_sent() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, VERSIONS[1], protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).build().unwrap();
        for (length, expected) in [(8 << 10, &["200"][..]), (1 << 20, &["431", "transport_error"])] {
            let mut request = request(Method::POST, &server.url(), "x");
            let value = http::HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
            request.headers_mut().insert("x-huge", value);
            request.headers_mut().insert("expect", http::HeaderValue::from_static("100-continue"));
            let sent = send(&connections, request, &identity).await;
            let found =
                sent.map_or("transport_error".to_owned(), |response| response.status().as_str().to_owned());
            assert!(expected.contains(&found.as_str()), "{protocol} {length}: {found}");
        }
        let again = send(&connections, request(Method::GET, &server.url(), ""), &identity).await.unwrap();
        assert_eq!(text(again).await, "hello", "{protocol}");
    }
}

/// Returns the output of a future, or `None` if it is not ready after so many polls.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| match polls == times {
        true => Poll::Ready(None),
        false => {
            polls += 1;
            future.as_mut().poll(context).map(Some)
        }
    })
    .await
}

// With one connection and one stream, a slot that is lost stops the next request.
#[tokio::test]
async fn cancelled_at_each_poll_it_leaks_nothing() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for (protocol, _) in PROTOCOLS {
        let server = EchoServer::start(&authority, VERSIONS[1], protocol, Behaviour::Echo).await;
        let connections = trusting(&authority).max_connections(1).max_streams(1).build().unwrap();
        let exchange = async || {
            let upload = request(Method::POST, &server.url(), "upload");
            text(connections.send(upload, Some(&identity)).await.unwrap()).await
        };
        let mut polls = 0;
        // First on new connections, then on kept ones.
        for is_kept in [false, true] {
            for times in 0.. {
                let done = soon(polled(times, exchange())).await;
                polls += 1;
                if done.is_some() {
                    break;
                }
                if is_kept {
                    assert_eq!(soon(exchange()).await, "upload", "{protocol} after {times} polls");
                }
            }
        }
        assert!(polls > 4, "{protocol}: {polls}");
        assert_eq!(soon(exchange()).await, "upload", "{protocol}");
        soon(async {
            while server.record().open.load(Ordering::SeqCst) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
