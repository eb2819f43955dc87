//! PROXY: clients that may not use it, limits, and the end of a run.

use std::time::Duration;

use symbolon::SharedClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proxy_env::{ProxyEnv, builder, exchange, route};
use crate::test_env::TestEnv;

/// Returns the output of `future`, which must not take longer than ten seconds.
async fn within<T>(future: impl Future<Output = T>) -> T {
    let clock = SharedClock::system();
    tokio::select! {
        output = future => output,
        () = clock.sleep(Duration::from_secs(10)) => panic!("no response within ten seconds"),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn proxy_10_unix_socket_needs_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;

    let test_env = TestEnv::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let route = route(&test_env, "/", test_env.emulator.resource_url(), None);
    let (builder, _log) = builder(route);
    let proxy = builder.listen_unix(&path).await.unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(proxy.secret().is_none() && proxy.address().is_none());
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    // The host is that of the resource, as far as the client is concerned.
    let response =
        exchange(stream, "GET / HTTP/1.1\r\nHost: vault.azure.net\r\nConnection: close\r\n\r\n").await;
    assert_eq!((response.status, response.json()["bound"].as_bool()), (200, Some(true)));
    let error = proxy.reload(Vec::new(), vec![4711]).unwrap_err();
    assert_eq!(error.code(), "invalid_configuration");
    proxy.stop().await;
    assert!(!path.exists());
}

// The other user is another process, which only root can start.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn proxy_10_other_users_need_permission() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    const NOBODY: u32 = 65_534;
    let test_env = TestEnv::new().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (allowed, status) in [(NOBODY, "200"), (NOBODY - 1, "403")] {
        let path = folder.path().join(format!("{allowed}.sock"));
        let route = route(&test_env, "/", test_env.emulator.resource_url(), None);
        let (builder, log) = builder(route);
        let proxy = builder.allow_user(allowed).listen_unix(&path).await.unwrap();
        let mut curl = std::process::Command::new("curl");
        curl.args(["-s", "-w", "%{http_code}", "http://localhost/", "--unix-socket"]).arg(&path).uid(NOBODY);
        let ran = tokio::task::spawn_blocking(move || curl.output()).await.unwrap();
        let Ok(ran) = ran else { return symbolon_test_programs::missing("curl as another user") };
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert!(printed.ends_with(status), "{allowed}: {printed}");
        assert_eq!(log.lock().unwrap().len(), usize::from(status == "403"));
        if status == "403" {
            assert!(printed.contains("proxy_user_not_allowed") && printed.contains("65534"), "{printed}");
        }
        proxy.stop().await;
    }
}

// Half of the connections send nothing, half a part of a head.
#[tokio::test]
async fn proxy_11_silent_clients_do_not_block_others() {
    symbolon_proxy::raise_descriptor_limit();
    let env = ProxyEnv::new().await;
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut stream = env.connect().await;
        if number % 2 == 0 {
            stream.write_all(env.head("GET", "/", "").split_at(40).0.as_bytes()).await.unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(within(env.send("GET", "/", "")).await.status, 200);
    }
    // All of them are closed, although one continues to send.
    let mut last = silent.pop().unwrap();
    let trickle = async {
        loop {
            if last.write_all(b"x").await.is_err() {
                return;
            }
            SharedClock::system().sleep(Duration::from_millis(100)).await;
        }
    };
    let ended = async {
        for stream in &mut silent {
            // Closed, or reset if unread data was left.
            let _ended = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    within(async { tokio::join!(trickle, ended) }).await;
}

// Requests without the secret, one after the other on one HTTP/2 connection.
#[tokio::test]
async fn proxy_11_http2_without_secret_is_closed() {
    let env = ProxyEnv::new().await;
    let stream = hyper_util::rt::TokioIo::new(env.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let flood = async {
        loop {
            let request = http::Request::get(format!("http://{}/", env.address()));
            let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
            let Ok(response) = sender.send_request(request).await else { return };
            assert_eq!(response.status(), 401);
            SharedClock::system().sleep(Duration::from_millis(50)).await;
        }
    };
    within(flood).await;
    let _ended = within(connection).await;
}

#[tokio::test]
async fn proxy_12_stop_loses_no_request() {
    for clients in [1, 32] {
        let env = ProxyEnv::new().await;
        assert_eq!(env.send("GET", "/", "").await.status, 200);
        let (address, head) = (env.proxy.address().unwrap(), env.head("GET", "/bytes/100000", ""));
        let started = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (head, started) = (head.clone(), std::sync::Arc::clone(&started));
                tokio::spawn(async move {
                    let mut served = 0;
                    // Refused connections are the end: nothing was sent.
                    while let Ok(mut stream) = TcpStream::connect(address).await {
                        loop {
                            stream.write_all(head.as_bytes()).await.expect("the request is sent");
                            let response = read_response(&mut stream).await;
                            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
                            served += 1;
                            started.add_permits(1);
                            if response.to_lowercase().contains("connection: close") {
                                break;
                            }
                        }
                    }
                    served
                })
            })
            .collect();
        let _started = within(started.acquire_many(3 * clients)).await.unwrap();
        within(env.proxy.stop()).await;
        for task in tasks {
            assert!(within(task).await.unwrap() > 0);
        }
    }
}

/// Reads a response with 100,000 bytes, and returns its head.
async fn read_response(stream: &mut TcpStream) -> String {
    let head = crate::proxy_env::read_until(stream, "\r\n\r\n").await;
    let mut body = vec![0; 100_000];
    stream.read_exact(&mut body).await.unwrap();
    head
}
