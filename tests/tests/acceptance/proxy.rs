//! PROXY: requests and responses.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use symbolon::SharedClock;
use symbolon_emulator::{Fault, Step};
use symbolon_proxy::Route;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::proxy_env::{ProxyEnv, exchange, read_until, route};
use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

#[tokio::test]
async fn proxy_03_secret_and_host_are_checked() {
    let env = ProxyEnv::new().await;
    let (address, secret) = (env.address(), env.secret().to_owned());
    let port = env.proxy.address().unwrap().port();
    let basic = |text: String| format!("Authorization: Basic {}", Base64::encode_string(text.as_bytes()));
    let right = format!("X-Symbolon-Secret: {secret}");
    for (host, fields, status, code) in [
        (&*address, String::new(), 401, "proxy_secret_required"),
        (&address, "X-Symbolon-Secret: guessed".to_owned(), 401, "proxy_secret_required"),
        (&address, format!("{right}\r\n{right}"), 401, "proxy_secret_required"),
        (&address, "Authorization: Bearer guessed".to_owned(), 401, "proxy_secret_required"),
        (&address, basic(format!("{secret}:")), 401, "proxy_secret_required"),
        ("attacker.example", right.clone(), 421, "proxy_host_mismatch"),
        (&format!("attacker.example:{port}"), right.clone(), 421, "proxy_host_mismatch"),
        ("localhost", right.clone(), 421, "proxy_host_mismatch"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n\r\n");
        let response = exchange(env.connect().await, &request).await;
        assert_eq!((response.status, response.code().as_deref()), (status, Some(code)), "{host} {fields}");
        assert_eq!(response.header("www-authenticate").is_some(), status == 401);
    }
    assert_eq!(env.test_env.emulator.journal().entries().len(), 0, "nothing was requested or sent");
    let host = format!("localhost:{port}");
    for (host, fields) in [
        (&address, right.clone()),
        (&host, right),
        (&address, format!("Authorization: Bearer {secret}")),
        (&address, basic(format!("symbolon:{secret}"))),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n\r\n");
        let response = exchange(env.connect().await, &request).await;
        assert_eq!((response.status, response.json()["bound"].as_bool()), (200, Some(true)), "{fields}");
        let text = format!("{}{}", response.head, response.body);
        assert!(!text.contains("eyJ") && !text.contains(&secret), "no token is on this side: {text}");
    }
    assert_eq!(env.log().len(), 8, "{:?}", env.log());
    assert!(!env.log().concat().contains(&secret), "{:?}", env.log());
}

#[tokio::test]
async fn proxy_04_fields_of_the_client_are_removed() {
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        let fields = "Authorization: Bearer stolen\r\nProxy-Authorization: Basic eA==\r\nConnection: X-Hop\r\n\
                      X-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers, gzip\r\nClient-Cert: :MII=:\r\n\
                      X-ARR-ClientCert: MII\r\nX_SSL_CLIENT_VERIFY: SUCCESS\r\nExpect: 100-continue\r\n\
                      Upgrade: h2c\r\nX-Kept: 1\r\nX-Kept: 2\r\nCookie: a=b\r\n";
        let response = env.send("GET", "/a/b?c=%20d", fields).await;
        assert_eq!(response.status, 200, "{response:?}");
        let received = server.received().remove(0);
        assert_eq!(received.uri.path_and_query().unwrap(), "/a/b?c=%20d");
        assert_eq!(
            (received.scheme(), received.certificate),
            (Some("mtls_pop"), Some(env.test_env.last_certificate()))
        );
        let mut names: Vec<&str> = received.headers.keys().map(http::HeaderName::as_str).collect();
        names.retain(|name| !["host", "connection"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["authorization", "cookie", "te", "x-kept"], "{tls:?}");
        assert_eq!(received.headers.get_all("x-kept").iter().count(), 2);
        assert_eq!(received.headers["te"], "trailers");
        if tls.protocols == HTTP1.protocols {
            let host = server.url().strip_prefix("https://").unwrap();
            assert_eq!(
                (&received.headers["host"], &received.headers["connection"]),
                (&host.parse().unwrap(), &"TE".parse().unwrap())
            );
        }
    }
}

#[tokio::test]
async fn proxy_05_parts_arrive_one_by_one() {
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        let mut stream = env.connect().await;
        stream.write_all(env.head("POST", "/", "Transfer-Encoding: chunked\r\n").as_bytes()).await.unwrap();
        stream.write_all(b"5\r\nfirst\r\n").await.unwrap();
        assert!(read_until(&mut stream, "first").await.starts_with("HTTP/1.1 200"), "{tls:?}");
        for part in ["second", "third"] {
            stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await.unwrap();
            read_until(&mut stream, part).await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "0\r\n\r\n").await;
        // The connection is kept.
        stream.write_all(env.head("GET", "/", "").as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(server.received().len(), 2);
    }
}

// The resource returns what it receives, and the client does not read it.
#[tokio::test]
async fn proxy_05_slow_reader_stops_the_sender() {
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        let mut stream = env.connect().await;
        stream.write_all(env.head("POST", "/", "Content-Length: 1000000000\r\n").as_bytes()).await.unwrap();
        let clock = SharedClock::system();
        let data = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        loop {
            tokio::select! {
                biased;
                written = stream.write(&data) => sent += written.unwrap(),
                () = clock.sleep(Duration::from_millis(500)) => break,
            }
            assert!(sent < 64 << 20, "{tls:?}: the sender was not stopped");
        }
        assert!(sent > 64 * 1024, "{sent}");
    }
}

#[tokio::test]
async fn proxy_06_websocket_is_passed_on() {
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        // The HTTP/2 connection to the resource stays unused by the upgrade.
        assert_eq!(env.send("GET", "/", "").await.status, 200);
        server.script([Reaction::Upgrade]);
        let mut stream = env.connect().await;
        let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        stream.write_all(env.head("GET", "/socket", fields).as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        for field in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "x-kept: 1\r\n"] {
            assert!(head.contains(field), "{head}");
        }
        for part in ["first\0\u{ff}", "second"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            read_until(&mut stream, part).await;
        }
        let received = server.received().remove(1);
        assert_eq!((received.scheme(), received.version), (Some("mtls_pop"), http::Version::HTTP_11));
        assert_eq!(received.certificate, Some(env.test_env.last_certificate()));
        assert_eq!(
            (&received.headers["upgrade"], &received.headers["sec-websocket-version"]),
            (&"websocket".parse().unwrap(), &"13".parse().unwrap())
        );
        // The end of one side ends the other.
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        env.proxy.stop().await;
    }
}

#[tokio::test]
async fn proxy_06_only_requested_upgrades() {
    let server = ResourceServer::start(HTTP1).await;
    let env = ProxyEnv::of(&server).await;
    for fields in ["", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"]
    {
        server.script([Reaction::Upgrade]);
        let response = env.send("GET", "/", fields).await;
        assert_eq!(
            (response.status, response.code().as_deref()),
            (502, Some("invalid_response")),
            "{fields}"
        );
        assert!(!server.received().pop().unwrap().headers.contains_key("upgrade"));
    }
}

#[tokio::test]
async fn proxy_07_challenges_are_answered() {
    let env = ProxyEnv::new().await;
    assert_eq!(env.send("GET", "/", "").await.status, 200);
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    env.test_env.emulator.inject(Fault::claims_challenge(Step::Resource, claims).until_satisfied());
    assert_eq!(env.send("POST", "/echo", "Content-Length: 0\r\n").await.status, 200);
    let refused = env.test_env.last_certificate();
    env.test_env.emulator.reject_in_tls(refused);
    env.test_env.emulator.reset_connections_of(refused);
    assert_eq!(env.send("GET", "/", "").await.status, 200);
    assert_ne!(env.test_env.last_certificate(), refused);
    assert_eq!(env.log(), Vec::<String>::new());
}

#[tokio::test]
async fn proxy_08_responses_are_passed_on() {
    const FORGED: &[(&str, &str)] =
        &[("x-symbolon-error", "timeout"), ("connection", "x-hop"), ("x-hop", "1")];
    let forged = |tls: ServerTls| if tls.protocols == HTTP1.protocols { FORGED } else { &FORGED[..1] };
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        for (method, status, fields) in [
            ("GET", 302, &[("location", "https://elsewhere.example/x"), ("set-cookie", "a=b")][..]),
            ("POST", 503, &[("retry-after", "7"), ("x-ms-request-id", "1")]),
            ("GET", 401, &[("www-authenticate", "Bearer error=\"invalid_token\"")]),
            ("GET", 404, forged(tls)),
        ] {
            server.script([Reaction::Answer(status, fields)]);
            let response = env.send(method, "/", "Content-Length: 0\r\n").await;
            // In chunks, if the resource did not state the length.
            let body = response.body.trim_start_matches("8\r\n").trim_end_matches("\r\n0\r\n\r\n");
            assert_eq!((response.status, body), (status, "scripted"), "{method} {tls:?}");
            assert_eq!((response.code(), response.header("x-hop")), (None, None), "{response:?}");
            for (name, value) in fields.iter().filter(|field| !FORGED.contains(field)) {
                assert_eq!(response.header(name), Some(*value), "{response:?}");
            }
        }
        server.script([Reaction::Answer(304, &[("etag", "x")])]);
        let response = env.send("GET", "/", "If-None-Match: x\r\n").await;
        assert_eq!((response.status, response.header("etag"), &*response.body), (304, Some("x"), ""));
        server.script([Reaction::Answer(200, &[("content-length", "8")])]);
        let response = env.send("HEAD", "/", "").await;
        assert_eq!(
            (response.status, response.header("content-length"), &*response.body),
            (200, Some("8"), "")
        );
        server.script([Reaction::EchoWithTrailer]);
        let response =
            env.send("POST", "/", "TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n").await;
        assert_eq!((response.status, response.header("trailer")), (200, Some("x-sum")));
        assert!(response.body.contains("ab") && response.body.ends_with("x-sum: 7\r\n\r\n"), "{response:?}");
        assert_eq!(env.log(), Vec::<String>::new());
    }
}

// A body that cannot be sent again: the challenge is for the client.
#[tokio::test]
async fn proxy_08_challenge_beyond_the_replay_limit() {
    let env = ProxyEnv::new().await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    env.test_env.emulator.inject(Fault::claims_challenge(Step::Resource, claims).once());
    let large = 200 * 1024;
    let mut stream = env.connect().await;
    let fields = format!("Connection: close\r\nContent-Length: {large}\r\n");
    stream.write_all(env.head("POST", "/", &fields).as_bytes()).await.unwrap();
    let response = exchange(stream, &"x".repeat(large)).await;
    assert_eq!((response.status, response.code()), (401, None), "{response:?}");
    assert!(response.header("www-authenticate").unwrap().contains("insufficient_claims"), "{response:?}");
}

#[tokio::test]
async fn proxy_09_errors_have_codes() {
    let server = ResourceServer::start(HTTP1).await;
    let test_env = TestEnv::new().await;
    let route = route(&test_env, "/vault", server.url(), Some(&server));
    let env = ProxyEnv::with(route, test_env).await;
    let long = format!("X-Long: {}\r\n", "x".repeat(70_000));
    for (method, target, fields, status, code) in [
        ("GET", "/other", "", 404, "proxy_route_missing"),
        ("GET", "/vault/../x", "", 400, "proxy_target_invalid"),
        ("OPTIONS", "*", "", 400, "proxy_target_invalid"),
        ("CONNECT", "/vault/x", "", 400, "proxy_target_invalid"),
        ("GET", "/vault/x", &*long, 431, "proxy_headers_too_large"),
    ] {
        let response = env.send(method, target, fields).await;
        assert_eq!((response.status, response.code().as_deref()), (status, Some(code)), "{method} {target}");
        let error = &response.json()["error"];
        assert!(error["message"].as_str().unwrap().contains("; "), "it says what to do: {error}");
        assert_eq!(error["retryable"], false);
    }
    assert_eq!(server.received().len(), 0);
    // The body of the client is at fault, not the resource.
    let response = env.send("POST", "/vault/x", "Transfer-Encoding: chunked\r\n\r\nno length\r\n").await;
    assert_eq!((response.status, response.code().as_deref()), (400, Some("request_body_failed")));
    server.script([Reaction::Lose]);
    let response = env.send("POST", "/vault/x", "Content-Length: 0\r\n").await;
    assert_eq!((response.status, response.code().as_deref()), (502, Some("transport_error")));
    let connect = env.head("CONNECT", &env.address(), "Connection: close\r\n");
    let response = exchange(env.connect().await, &connect).await;
    assert_eq!((response.status, response.code().as_deref()), (400, Some("proxy_target_invalid")));
    let members = [
        "code",
        "correlation_id",
        "error_codes",
        "message",
        "retry_after",
        "retryable",
        "service_message",
        "status",
    ];
    assert!(response.json()["error"].as_object().unwrap().keys().eq(members), "{response:?}");
}

#[tokio::test]
async fn proxy_09_unreachable_and_slow_resources() {
    // Nothing listens at this address.
    let test_env = TestEnv::new().await;
    let env = ProxyEnv::start(test_env, "https://127.0.0.1:9", None).await;
    let response = env.send("GET", "/", "").await;
    assert_eq!((response.status, response.code().as_deref()), (503, Some("transport_error")));
    // The resource requests no certificate, without which the token is of no use.
    let server = ResourceServer::start(ServerTls { requests_certificate: false, ..HTTP1 }).await;
    let env = ProxyEnv::of(&server).await;
    let response = env.send("GET", "/", "").await;
    assert_eq!((response.status, response.code().as_deref()), (502, Some("transport_error")));
    assert_eq!(server.received().len(), 0);
    // The metadata service issues nothing.
    let env = ProxyEnv::new().await;
    env.test_env.emulator.inject(Fault::status(Step::PlatformMetadata, 400).always());
    let response = env.send("GET", "/", "").await;
    assert_eq!((response.status, response.code().as_deref()), (502, Some("managed_identity_request_failed")));
    let server = ResourceServer::start(HTTP1).await;
    server.script([Reaction::Stall]);
    let env = ProxyEnv::of(&server).await;
    let (sent, _) = tokio::join!(env.send("GET", "/", ""), async {
        env.test_env.wait_until(|| server.received().len() == 1).await;
        // The clock of the client stands still until now.
        env.test_env.manual_clock.advance(Duration::from_secs(61));
    });
    assert_eq!((sent.status, sent.code().as_deref()), (504, Some("timeout")));
}

#[tokio::test]
async fn proxy_13_routes_are_replaced() {
    let (old, new) = (ResourceServer::start(HTTP1).await, ResourceServer::start(HTTP2).await);
    let env = ProxyEnv::of(&old).await;
    let mut stream = env.connect().await;
    stream.write_all(env.head("POST", "/", "Content-Length: 10\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"first").await.unwrap();
    read_until(&mut stream, "first").await;
    let error = env.proxy.reload(Vec::new(), Vec::new()).unwrap_err();
    assert_eq!(error.code(), "invalid_configuration");
    assert_eq!(env.send("GET", "/x", "").await.status, 200, "the proxy continues as before");
    let to_new = |path| -> Route { route(&env.test_env, path, new.url(), Some(&new)) };
    env.proxy.reload(vec![to_new("/x"), to_new("/y")], Vec::new()).unwrap();
    assert_eq!((env.send("GET", "/x", "").await.status, env.send("GET", "/z", "").await.status), (200, 404));
    stream.write_all(b"after").await.unwrap();
    read_until(&mut stream, "after").await;
    assert_eq!((old.received().len(), new.received().len()), (2, 1));
}

#[tokio::test]
async fn proxy_15_bodies_are_chunked_only() {
    let server = ResourceServer::start(HTTP1).await;
    let env = ProxyEnv::of(&server).await;
    let next = env.head("GET", "/", "Connection: close\r\n");
    let ours = Some("proxy_transfer_encoding_refused");
    for (codings, status, code) in [
        (&["gzip, chunked"][..], 501, ours),
        (&["gzip", "chunked"], 501, ours),
        (&["identity, chunked"], 501, ours),
        (&[", chunked"], 501, ours),
        (&["chunked, chunked"], 400, ours),
        (&["Chunked", "chunked"], 400, ours),
        // hyper refuses these; the length of their bodies is unknown.
        (&["chunked, gzip"], 400, None),
        (&["gzip"], 400, None),
        (&["chunked;q=1"], 400, None),
        (&["xchunked"], 400, None),
    ] {
        let fields: String =
            codings.iter().map(|coding| format!("Transfer-Encoding: {coding}\r\n")).collect();
        let request = format!("{}5\r\nhello\r\n0\r\n\r\n{next}", env.head("POST", "/", &fields));
        let response = exchange(env.connect().await, &request).await;
        assert_eq!((response.status, response.code().as_deref()), (status, code), "{codings:?} {response:?}");
        assert_eq!(response.header("connection"), Some("close"), "{codings:?} {response:?}");
    }
    let head = env.head("POST", "/", "Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0");
    let response = exchange(env.connect().await, &format!("{head}0\r\n\r\n{next}")).await;
    assert_eq!((response.status, response.code(), &*response.body), (400, None, ""), "{response:?}");
    assert_eq!(server.received().len(), 0);
    let log = env.log();
    assert!(log.len() == 6 && log[0].contains("501 proxy_transfer_encoding_refused: "), "{log:?}");
    let chunked = "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n";
    assert_eq!(env.send("POST", "/", chunked).await.status, 200);
    // The coding decides about the length, and only the body in chunks is passed on.
    let both = format!("Content-Length: 100\r\n{chunked}");
    assert_eq!(env.send("POST", "/", &both).await.status, 200);
    assert!(!server.received()[1].headers.contains_key("content-length"));
    // A response with a coding that the proxy would remove is no response.
    server.script([Reaction::Answer(200, &[("transfer-encoding", "gzip, chunked")])]);
    let response = env.send("GET", "/", "").await;
    assert_eq!(
        (response.status, response.code().as_deref()),
        (502, Some("invalid_response")),
        "{response:?}"
    );
    server.script([Reaction::Answer(200, &[("transfer-encoding", "Chunked")])]);
    assert_eq!(env.send("GET", "/", "").await.status, 200);
}

// An empty line of trailers may end with LF alone, and hyper searches CRLF to find their end: it
// takes the head that follows for a part of the trailers, and its body for a request.
#[tokio::test]
async fn proxy_16_trailers_end_the_connection() {
    let end = "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n";
    for tls in [HTTP1, HTTP2] {
        let server = ResourceServer::start(tls).await;
        let test_env = TestEnv::new().await;
        let route = route(&test_env, "/x", server.url(), Some(&server));
        let env = ProxyEnv::with(route, test_env).await;
        let close = "Connection: close\r\n";
        let hidden = env.head("DELETE", "/x/hidden", close);
        let fields = format!("{close}Content-Length: {}\r\n", hidden.len());
        let cover = env.head("POST", "/x/cover", &fields);
        for (path, status) in [("/x", 200), ("/elsewhere", 404)] {
            for trailers in ["X-Sum: 7\r\n\r\n", "X-Sum: 7\n\n", "X-Sum: 7\n\r\n", "\n"] {
                let before = server.received().len();
                let request =
                    format!("{}2\r\nab\r\n0\r\n{trailers}{cover}{hidden}", env.head("POST", path, end));
                let request = if status == 404 { request.replace("2\r\nab\r\n", "") } else { request };
                let response = exchange(env.connect().await, &request).await;
                let context = format!("{trailers:?} {tls:?} {response:?}");
                assert_eq!(response.status, status, "{context}");
                assert_eq!(response.header("connection"), Some("close"), "{context}");
                assert!(!response.body.contains("HTTP/1.1"), "another request was served: {context}");
                let received = server.received().split_off(before);
                assert!(received.iter().all(|request| request.uri.path() == "/"), "{received:?} {context}");
                // The proxy frames the body anew: with its fields, and nothing else.
                if tls.protocols == HTTP1.protocols && status == 200 && trailers.starts_with("X-Sum") {
                    assert!(response.body.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{context}");
                }
            }
        }
    }
}

// Other servers take LF for the end of such a line; hyper does not.
#[tokio::test]
async fn proxy_16_lines_of_chunks_end_with_crlf() {
    let server = ResourceServer::start(HTTP1).await;
    let env = ProxyEnv::of(&server).await;
    let next = env.head("DELETE", "/hidden", "Connection: close\r\n");
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5;x\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0;x\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
    ] {
        let head = env.head("POST", "/", "Transfer-Encoding: chunked\r\n");
        let mut stream = env.connect().await;
        stream.write_all(format!("{head}{body}{next}").as_bytes()).await.unwrap();
        let mut text = String::new();
        // The response may have begun: its end is that of the connection.
        let _ended = stream.read_to_string(&mut text).await;
        assert!(text.matches("HTTP/1.1 ").count() < 2 && !text.ends_with("0\r\n\r\n"), "{body:?} {text}");
    }
    assert!(server.received().iter().all(|request| request.uri.path() == "/"), "{:?}", server.received());
}

#[tokio::test]
async fn proxy_14_disconnect_ends_the_request() {
    for (tls, is_half) in [(HTTP1, false), (HTTP1, true), (HTTP2, false)] {
        let server = ResourceServer::start(tls).await;
        let env = ProxyEnv::of(&server).await;
        server.script([Reaction::StallBody]);
        let mut stream = env.connect().await;
        stream.write_all(env.head("GET", "/", "").as_bytes()).await.unwrap();
        read_until(&mut stream, "part").await;
        if is_half {
            stream.shutdown().await.unwrap();
            let mut rest = String::new();
            let _ended = stream.read_to_string(&mut rest).await;
            assert!(!rest.contains("0\r\n\r\n"), "the response is complete: {rest}");
        }
        drop(stream);
        if tls.protocols == HTTP1.protocols {
            env.test_env.wait_until(|| server.open() == 0).await;
        }
        assert_eq!(env.send("GET", "/", "").await.status, 200);
    }
}
