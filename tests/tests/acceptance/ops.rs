//! OPS: connections of the servers, and their endpoints for operators.

use std::io::{Read as _, Write as _};
use std::process::Command;

use symbolon_emulator::{Fault, Step};
use symbolon_proxy::Listener;
use symbolon_types::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::proxy_env::{ProxyEnv, TextResponse, builder, exchange, read_until, route};
use crate::test_env::TestEnv;

/// The variable of the process that measures its memory.
const CHILD: &str = "SYMBOLON_TEST_OPS_01";
const CONNECTIONS: usize = 1_000;
/// The connections that send a request at once: fewer than may wait for their first one.
const BATCH: usize = 200;
/// Maximum memory of the server for an idle connection, in bytes. HTTP alone has buffers of 16 KiB.
const PER_CONNECTION: usize = 6 * 1024;

/// Runs this test in a process of its own, because other tests use memory as well.
#[cfg(target_os = "linux")]
#[test]
fn ops_01_idle_connections_are_small() {
    if Env::process().var(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "ops::ops_01_idle_connections_are_small", "--nocapture"]).env(CHILD, "1");
        let ran = child.output().unwrap();
        let printed = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{printed}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(printed.contains("bytes for each"), "{printed}");
        return;
    }
    symbolon_proxy::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (address, requests) = runtime.block_on(async {
        let test_env = TestEnv::new().await;
        let url = test_env.emulator.resource_url().to_owned();
        let env = ProxyEnv::with(route(&test_env, "/here", &url, None), test_env).await;
        let refused = env.head("GET", "/elsewhere", "");
        let posted = env.head("POST", "/elsewhere", "Content-Length: 0\r\n");
        let found = (env.proxy.address().unwrap(), [refused, posted]);
        // It serves until the process ends.
        std::mem::forget(env);
        found
    });
    let mut connections = Vec::new();
    let mut connect = |count: usize| {
        let mut opened: Vec<_> = (0..count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        // At once, so that all would have buffers at a time.
        for (number, stream) in opened.iter_mut().enumerate() {
            stream.write_all(requests[number % 2].as_bytes()).unwrap();
        }
        for stream in &mut opened {
            let mut response = [0; 4096];
            let read = stream.read(&mut response).unwrap();
            assert!(response[..read].starts_with(b"HTTP/1.1 404"));
        }
        connections.append(&mut opened);
    };
    // The first ones warm up the allocator, and are as many as keep buffers for a moment.
    connect(128);
    let before = resident();
    for _ in 0..CONNECTIONS / BATCH {
        connect(BATCH);
    }
    let each = (resident() - before) / CONNECTIONS;
    println!("{each} bytes for each connection");
    assert!(each <= PER_CONNECTION, "{each} bytes for each connection");
    std::process::exit(0);
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn ops_02_requests_in_pieces_and_in_one() {
    let env = ProxyEnv::new().await;
    let mut stream = env.connect().await;
    let get = env.head("GET", "/", "");
    let post = env.head("POST", "/", "Content-Length: 5\r\n");
    let chunked = env.head("POST", "/", "Transfer-Encoding: chunked\r\n");
    let requests = [
        vec![get.clone()],
        // Several requests at once, and a part of the next.
        vec![format!("{get}{get}{get}{}", &get[..20]), get[20..].to_owned()],
        vec![post.clone(), "he".to_owned(), "llo".to_owned()],
        vec![format!("{post}hello{get}")],
        vec![chunked, "5\r\nhello\r\n".to_owned(), format!("0\r\n\r\n{get}")],
    ];
    let counts = [1, 4, 1, 2, 2];
    for (pieces, count) in requests.iter().zip(counts) {
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        for _ in 0..count {
            let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
            assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
        }
    }
    assert_eq!(env.test_env.emulator.journal().count(Step::Resource), counts.iter().sum::<usize>());
}

// The proxy answers before the body arrives, which looks like a request.
#[tokio::test]
async fn ops_02_unread_body_is_no_request() {
    let test_env = TestEnv::new().await;
    let url = test_env.emulator.resource_url().to_owned();
    let env = ProxyEnv::with(route(&test_env, "/here", &url, None), test_env).await;
    let hidden = env.head("GET", "/here", "");
    for framing in [format!("Content-Length: {}", hidden.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut stream = env.connect().await;
        let head = env.head("POST", "/elsewhere", &format!("{framing}\r\n"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let response = read_until(&mut stream, "\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 404"), "{response}");
        let _sent = stream.write_all(hidden.as_bytes()).await;
        let mut rest = Vec::new();
        // Closed, or reset because of the body.
        let _ended = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "{rest:?}");
    }
    assert_eq!(env.test_env.emulator.journal().count(Step::Resource), 0);
}

async fn get(address: std::net::SocketAddr, path: &str, fields: &str) -> TextResponse {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n"))
        .await
}

#[tokio::test]
async fn ops_03_readiness_of_identity_and_resource() {
    let test_env = TestEnv::new().await;
    let route = route(&test_env, "/", test_env.emulator.resource_url(), None).identity_name("system");
    let (builder, _log) = builder(route);
    let status = Listener::tcp("the proxy", ([127, 0, 0, 1], 0).into()).await.unwrap();
    let builder = builder.context(test_env.context()).status_on(status);
    let proxy = builder.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (main, status) = (proxy.address().unwrap(), proxy.status_address().unwrap());
    let secret = format!("Authorization: Bearer {}\r\n", proxy.secret().unwrap().expose());
    test_env.emulator.inject(Fault::status(Step::Token, 401).times(1));

    let response = get(status, "/readyz", &secret).await;
    assert_eq!(response.status, 503, "{response:?}");
    let body = response.json();
    assert_eq!((&body["status"], &body["ready"]), (&"not ready".into(), &serde_json::json!([])));
    let item = &body["not_ready"][0];
    assert_eq!((&item["identity"], &item["resource"]), (&"system".into(), &symbolon_tests::RESOURCE.into()));
    assert!(item["code"].is_string() && item["message"].is_string(), "{body}");
    // Without the secret: the status alone, and no further request for a token.
    for (address, path) in [(status, "/readyz"), (main, "/.symbolon/readyz")] {
        let response = get(address, path, "").await;
        assert_eq!((response.status, response.body.as_str()), (503, r#"{"status":"not ready"}"#));
    }
    assert_eq!(test_env.emulator.journal().count(Step::Token), 1);

    test_env.manual_clock.advance(std::time::Duration::from_secs(5));
    let response = get(main, "/.symbolon/readyz", &secret).await;
    assert_eq!(response.status, 200, "{response:?}");
    let ready = serde_json::json!([{ "identity": "system", "resource": symbolon_tests::RESOURCE }]);
    assert_eq!((&response.json()["ready"], &response.json()["not_ready"]), (&ready, &serde_json::json!([])));
    assert_eq!(test_env.emulator.journal().count(Step::Resource), 0, "nothing is sent to the resource");
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(status, path, "").await.body, r#"{"status":"ok"}"#);
        // Without the prefix, the path is that of the resource.
        assert_eq!(get(main, path, "").await.code().as_deref(), Some("proxy_secret_required"));
    }
    assert_eq!(get(status, "/metrics", "").await.status, 401);
    assert_eq!(get(status, "/metrics", "Authorization: Bearer guessed\r\n").await.status, 401);
    assert!(get(status, "/metrics", &secret).await.body.contains("symbolon_requests_total{"));
    assert_eq!(get(status, "/elsewhere", &secret).await.status, 404);
    let foreign = "GET /livez HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n";
    let stream = tokio::net::TcpStream::connect(status).await.unwrap();
    assert_eq!(exchange(stream, foreign).await.status, 421);
}
