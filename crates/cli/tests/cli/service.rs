//! `serve` and `proxy` as services: endpoints for operators, logs, systemd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::Step;

use crate::run::{TestEnv, signal, skip_without};

const RESOURCE: &str = "https://vault.azure.net";

/// A running server, with the variables that it printed.
struct RunningServer {
    child: Child,
    variables: Value,
}

impl RunningServer {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let Some(printed) = printed else {
            panic!("{:?}", child.wait_with_output().unwrap());
        };
        Self { child, variables: serde_json::from_str(&printed.unwrap()).unwrap() }
    }

    fn serve(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::start(serve(env, arguments))
    }

    fn variable(&self, name: &str) -> &str {
        self.variables[name].as_str().unwrap_or_else(|| panic!("{name}: {}", self.variables))
    }

    /// The address of the endpoints for operators.
    fn status_address(&self) -> &str {
        self.variable("SYMBOLON_STATUS_URL").strip_prefix("http://").unwrap()
    }

    fn agent_address(&self) -> &str {
        let endpoint = self.variable("IDENTITY_ENDPOINT");
        endpoint.strip_prefix("http://").unwrap().strip_suffix("/msi/token").unwrap()
    }

    fn token_request(&self, fields: &str) -> String {
        let (host, secret) = (self.agent_address(), self.variable("IDENTITY_HEADER"));
        let query = format!("api-version=2019-08-01&resource={RESOURCE}");
        format!(
            "GET /msi/token?{query} HTTP/1.1\r\nHost: {host}\r\nX-IDENTITY-HEADER: {secret}\r\n{fields}\r\n"
        )
    }

    /// Stops it by a signal and returns its exit code and log.
    fn stop(mut self, with: Signal) -> (Option<i32>, String) {
        signal(&self.child, with);
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn serve(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.symbolon();
    command.args(["serve", "--output", "json"]).args(arguments);
    command
}

fn proxy(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.symbolon();
    command.args(["proxy", "--key", "p-256", "--output", "json"]);
    command.args(["--to", env.emulator.resource_url(), "--resource", RESOURCE]).args(arguments);
    command
}

/// Returns the status and the body of a response.
fn get(address: &str, path: &str, fields: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).unwrap(), address, path, fields)
}

/// Like [`get`], until the first check has ended: a busy machine takes longer than a response.
fn get_checked(
    address: &str,
    path: &str,
    fields: &str,
    is_final: impl Fn(u16, &str) -> bool,
) -> (u16, String) {
    let mut responses = (0..50).map(|_| get(address, path, fields));
    responses.find(|(status, body)| is_final(*status, body)).expect("the check ends")
}

fn is_ready(status: u16, _body: &str) -> bool {
    status == 200
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn srv_01_status_address() {
    let env = TestEnv::new();
    let status = ["--status", "127.0.0.1:0"];
    for command in [serve(&env, &status), proxy(&env, &status)] {
        let server = RunningServer::start(command);
        for path in ["/livez", "/.symbolon/livez"] {
            assert_eq!(get(server.status_address(), path, "").0, 200, "{path}");
        }
        get_checked(server.status_address(), "/readyz", "", is_ready);
        assert_eq!(get(server.status_address(), "/", "").0, 404);
    }
}

#[test]
fn srv_02_readiness() {
    let env = TestEnv::new();
    let serving = RunningServer::serve(&env, &["--allow", RESOURCE, "--allow", "https://unknown.example"]);
    let secret = format!("X-IDENTITY-HEADER: {}\r\n", serving.variable("IDENTITY_HEADER"));
    let (status, body) = get_checked(serving.agent_address(), "/readyz", &secret, is_ready);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["ready"].as_array().map(Vec::len)), (200, Some(2)), "{body}");
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 2);
    assert_eq!(get(serving.agent_address(), "/readyz", "").1, r#"{"status":"ok"}"#);
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 2, "the tokens are cached");
    let missing = TestEnv::new();
    missing.emulator.inject(symbolon_emulator::Fault::status(Step::ImdsToken, 400).always());
    let serving = RunningServer::serve(&missing, &["--allow", RESOURCE]);
    let secret = format!("X-IDENTITY-HEADER: {}\r\n", serving.variable("IDENTITY_HEADER"));
    let is_checked = |_: u16, body: &str| !body.contains("pending");
    let (status, body) = get_checked(serving.agent_address(), "/readyz", &secret, is_checked);
    let body: Value = serde_json::from_str(&body).unwrap();
    let item = &body["not_ready"][0];
    assert_eq!((status, item["resource"].as_str()), (503, Some(RESOURCE)), "{body}");
    assert_eq!(item["identity"], "system");
    assert_eq!(item["code"], "managed_identity_request_failed");
}

#[test]
fn srv_03_readers_without_the_secret() {
    let env = TestEnv::new();
    for (arguments, metrics) in [(&[][..], 401), (&["--open-metrics"], 200)] {
        let arguments = [&["--status", "127.0.0.1:0"], arguments].concat();
        for command in [serve(&env, &arguments), proxy(&env, &arguments)] {
            let server = RunningServer::start(command);
            let address = server.status_address();
            assert_eq!(get(address, "/livez", "").1, r#"{"status":"ok"}"#);
            assert_eq!(get(address, "/metrics", "").0, metrics);
            assert_eq!(get(address, "/metrics", "Authorization: Bearer guessed\r\n").0, metrics);
            let secret = ["IDENTITY_HEADER", "SYMBOLON_PROXY_SECRET"]
                .iter()
                .find_map(|name| server.variables[name].as_str())
                .unwrap();
            let (status, text) = get(address, "/metrics", &format!("Authorization: Bearer {secret}\r\n"));
            assert_eq!(status, 200);
            assert!(!text.contains(secret) && !text.contains("eyJ"), "{text}");
        }
    }
}

#[test]
fn srv_04_reserved_paths_of_the_listener() {
    let env = TestEnv::new();
    let proxy = RunningServer::start(proxy(&env, &[]));
    let address = proxy.variable("SYMBOLON_PROXY_URL").strip_prefix("http://").unwrap();
    get_checked(address, "/.symbolon/readyz", "", is_ready);
    let secret = format!("X-Symbolon-Secret: {}\r\n", proxy.variable("SYMBOLON_PROXY_SECRET"));
    assert_eq!(env.emulator.journal().count(Step::Resource), 0);
    assert_eq!(get(address, "/livez", &secret).0, 200);
    assert_eq!(env.emulator.journal().last(Step::Resource).unwrap().target, "/livez");
    let serving = RunningServer::serve(&env, &[]);
    for path in ["/livez", "/readyz", "/.symbolon/livez", "/.symbolon/readyz"] {
        assert_eq!(get(serving.agent_address(), path, "").0, 200, "{path}");
    }
}

#[test]
fn srv_05_log_as_json() {
    let env = TestEnv::new();
    let serving = RunningServer::start({
        let mut command = serve(&env, &[]);
        command.env("RUST_LOG", "symbolon_hyper=debug,symbolon_token=debug").env("AZURE_CLIENT_ID", "x");
        command
    });
    let request = serving.token_request("Connection: close\r\n");
    let mut stream = TcpStream::connect(serving.agent_address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    assert_eq!(get(serving.agent_address(), "/msi/token", "").0, 401);
    let (code, log) = serving.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for name in ["time", "level", "event", "message"] {
            assert!(line[name].is_string(), "{line}");
        }
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let of = |event: &str| {
        let found = lines.iter().find(|line| line["event"] == event);
        found.unwrap_or_else(|| panic!("{event}: {log}"))
    };
    let served = of("request_served");
    assert_eq!((&served["resource"], &served["origin"]), (&RESOURCE.into(), &"network".into()));
    assert_eq!((&served["status"], &served["level"]), (&200.into(), &"info".into()));
    assert!(served["next_refresh_seconds"].as_u64().unwrap() > 0, "{served}");
    assert!(served["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{served}");
    let refused = of("request_refused");
    assert_eq!((&refused["status"], &refused["reason"]), (&401.into(), &"secret".into()));
    assert_eq!(of("all_resources_allowed")["level"], "warn");
    assert_eq!(of("client_id_ignored")["level"], "warn");
    assert_eq!(of("stopping")["level"], "info");
    let log_event = of("log");
    assert!(log_event["target"].as_str().unwrap().starts_with("symbolon_"), "{log_event}");
    assert!(log_event["fields"].is_object(), "{log_event}");
    assert!(!log.contains("eyJ"), "{log}");
}

#[test]
fn srv_05_errors_as_json() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let config = ["--config", path.to_str().unwrap()];
    let mut command = env.symbolon();
    let ran = command.args(["proxy", "--output", "json"]).args(config).output().unwrap();
    let log = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{log}");
    let error: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "invalid_usage");
    let to = env.emulator.resource_url();
    std::fs::write(&path, format!("[[routes]]\nto = \"{to}\"\nresource = \"{RESOURCE}\"\n")).unwrap();
    let mut command = env.symbolon();
    command.args(["proxy", "--output", "json"]).args(config);
    let mut server = RunningServer::start(command);
    std::fs::write(&path, "broken").unwrap();
    signal(&server.child, Signal::HUP);
    let mut line = String::new();
    BufReader::new(server.child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["event"], &line["level"]), (&"routes_not_reloaded".into(), &"error".into()));
    assert_eq!(line["code"], "invalid_usage");
}

/// The service manager's end of notifications.
struct Manager {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    name: String,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::of(socket, folder, path.to_str().unwrap().to_owned())
    }

    #[cfg(target_os = "linux")]
    fn with_abstract_name() -> Self {
        use std::os::linux::net::SocketAddrExt as _;

        let name = format!("symbolon-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::of(socket, tempfile::tempdir().unwrap(), format!("@{name}"))
    }

    fn of(socket: UnixDatagram, folder: tempfile::TempDir, name: String) -> Self {
        // A test that waits in vain fails.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, _folder: folder, name }
    }

    /// Returns the assignments of the next notification.
    fn next(&self) -> Vec<(String, String)> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a notification");
        let text = std::str::from_utf8(&message[..length]).unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{text}"));
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(pair).collect()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn srv_06_notifications() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let to = env.emulator.resource_url();
    std::fs::write(&path, format!("[[routes]]\nto = \"{to}\"\nresource = \"{RESOURCE}\"\n")).unwrap();
    for manager in [Manager::new(), Manager::with_abstract_name()] {
        let mut command = env.symbolon();
        command.args(["proxy", "--output", "json", "--config", path.to_str().unwrap()]);
        let server = RunningServer::start({
            command.env("NOTIFY_SOCKET", &manager.name);
            command
        });
        let ready = manager.next();
        assert_eq!(ready[0], ("READY".to_owned(), "1".to_owned()));
        assert_eq!(ready[1].0, "STATUS");
        signal(&server.child, Signal::HUP);
        let reloading = manager.next();
        assert_eq!(reloading[0], ("RELOADING".to_owned(), "1".to_owned()));
        assert_eq!(reloading[1].0, "MONOTONIC_USEC");
        assert!(reloading[1].1.parse::<u64>().unwrap() > 0);
        assert_eq!(manager.next()[0], ("READY".to_owned(), "1".to_owned()));
        let (code, log) = server.stop(Signal::TERM);
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(manager.next()[0], ("STOPPING".to_owned(), "1".to_owned()));
    }
    let manager = Manager::new();
    let mut command = serve(&env, &[]);
    command.env("NOTIFY_SOCKET", &manager.name);
    let server = RunningServer::start(command);
    let secret = server.variable("IDENTITY_HEADER").to_owned();
    let ready = manager.next();
    assert_eq!(ready[0], ("READY".to_owned(), "1".to_owned()));
    assert!(!format!("{ready:?}").contains(&secret));
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    assert_eq!(manager.next()[0], ("STOPPING".to_owned(), "1".to_owned()));
}

#[test]
fn srv_06_unusable_notify_socket() {
    let env = TestEnv::new();
    let mut command = serve(&env, &[]);
    let ran = command.env("NOTIFY_SOCKET", format!("/{}", "x".repeat(200))).output().unwrap();
    let log = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.code() == Some(1) && log.contains("NOTIFY_SOCKET"), "{log}");
    // A manager that has gone stops nothing.
    let mut command = serve(&env, &[]);
    command.env("NOTIFY_SOCKET", "/nowhere/notify");
    assert_eq!(RunningServer::start(command).stop(Signal::TERM).0, Some(0));
}

#[test]
fn srv_07_watchdog() {
    let env = TestEnv::new();
    for is_own in [true, false] {
        let manager = Manager::new();
        let mut command = serve(&env, &[]);
        command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "20000");
        if !is_own {
            // It is for another process.
            command.env("WATCHDOG_PID", "1");
        }
        let server = RunningServer::start(command);
        let mut names: Vec<String> =
            (0..if is_own { 5 } else { 1 }).map(|_| manager.next()[0].0.clone()).collect();
        assert_eq!(server.stop(Signal::TERM).0, Some(0));
        names.retain(|name| name != "READY");
        assert_eq!(names, vec!["WATCHDOG"; if is_own { 4 } else { 0 }]);
        if !is_own {
            assert_eq!(manager.next()[0].0, "STOPPING");
        }
    }
}

/// Runs a command by `systemd-socket-activate`, which starts it at the first connection.
fn activated(server: &Command, sockets: &[(&str, &str)]) -> Command {
    let mut command = Command::new("systemd-socket-activate");
    for (socket, _) in sockets {
        command.args(["--listen", socket]);
    }
    let names: Vec<&str> = sockets.iter().map(|(_, name)| *name).collect();
    command.arg(format!("--fdname={}", names.join(":")));
    command.env_clear();
    for (name, value) in server.get_envs() {
        if let Some(value) = value {
            // Only these reach the command.
            command.env(name, value).arg(format!("--setenv={}", name.to_str().unwrap()));
        }
    }
    command.arg(server.get_program()).args(server.get_args());
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Connects as soon as somebody listens.
fn connect_tcp(address: SocketAddr, child: &mut Child) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended"),
        }
        std::thread::yield_now();
    }
}

fn connect_unix(path: &Path, child: &mut Child) -> UnixStream {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended"),
        }
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn srv_08_sockets_of_systemd() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return skip_without("systemd-socket-activate");
    }
    let env = TestEnv::new();
    let (main, status) = (free_address(), free_address());
    // The connection that starts the server is served as well.
    let command = activated(
        &serve(&env, &[]),
        &[(&main.to_string(), "symbolon-agent.socket"), (&status.to_string(), "status")],
    );
    let mut starting = command;
    let mut child = starting.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let first = connect_tcp(status, &mut child);
    let response = exchange(first, &status.to_string(), "/livez", "");
    assert_eq!(response.0, 200);
    let printed = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let server = RunningServer { child, variables: serde_json::from_str(&printed).unwrap() };
    assert_eq!(server.agent_address(), main.to_string());
    assert_eq!(server.status_address(), status.to_string());
    let mut stream = TcpStream::connect(main).unwrap();
    stream.write_all(server.token_request("Connection: close\r\n").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let mut command = activated(&proxy(&env, &["--pop"]), &[(path.to_str().unwrap(), "x")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stream = connect_unix(&path, &mut child);
    let (status, seen) = exchange(stream, "vault", "/", "");
    assert_eq!(status, 200, "{seen}");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(path.exists(), "the file is that of systemd");
}

#[cfg(target_os = "linux")]
#[test]
fn srv_08_sockets_without_use() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return skip_without("systemd-socket-activate");
    }
    let env = TestEnv::new();
    let cases: [(&[&str], &[&str], &str); 4] = [
        (&["x", "y"], &[], "no use"),
        (&["status", "status"], &[], "no use"),
        (&["x"], &["--listen", "127.0.0.1:0"], "--listen"),
        (&["status"], &["--status", "127.0.0.1:0"], "--status"),
    ];
    for (names, arguments, told) in cases {
        let addresses: Vec<String> = names.iter().map(|_| free_address().to_string()).collect();
        let sockets: Vec<(&str, &str)> =
            addresses.iter().map(String::as_str).zip(names.iter().copied()).collect();
        let mut command = activated(&serve(&env, arguments), &sockets);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(connect_tcp(addresses[0].parse().unwrap(), &mut child));
        let ran = child.wait_with_output().unwrap();
        let log = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.code() == Some(2) && log.contains(told), "{names:?}: {log}");
    }
}

// Without Accept=no, a service manager passes connections.
#[test]
fn srv_08_sockets_that_do_not_listen() {
    let env = TestEnv::new();
    let (passed, _client) = UnixStream::pair().unwrap();
    let server = serve(&env, &[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0", "sh"]);
    command.arg(server.get_program()).args(server.get_args()).env_clear();
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::os::fd::OwnedFd::from(passed)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines().next();
    if printed.is_some() {
        child.kill().unwrap();
    }
    let ran = child.wait_with_output().unwrap();
    let log = String::from_utf8(ran.stderr).unwrap();
    assert!(printed.is_none(), "it serves: {printed:?}");
    assert!(ran.status.code() == Some(1) && log.contains("the socket does not listen"), "{log}");
}

// Sockets that were passed to a parent are not taken.
#[test]
fn srv_08_sockets_of_another_process() {
    let env = TestEnv::new();
    let mut command = serve(&env, &[]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = RunningServer::start(command);
    assert_eq!(get(server.agent_address(), "/livez", "").0, 200);
}

// Connections that are refused are the end: nothing was sent on them.
#[test]
fn srv_09_signal_loses_no_request() {
    let env = TestEnv::new();
    let serving = RunningServer::serve(&env, &[]);
    let (address, request) = (serving.agent_address().to_owned(), serving.token_request(""));
    let (served, is_stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                while let Ok(mut stream) = TcpStream::connect(&address) {
                    while stream.write_all(request.as_bytes()).is_ok() {
                        let mut response = [0; 8192];
                        let read = stream.read(&mut response).unwrap_or_default();
                        let text = String::from_utf8_lossy(&response[..read]).to_lowercase();
                        assert!(text.starts_with("http/1.1 200"), "lost: {text}");
                        served.fetch_add(1, Ordering::SeqCst);
                        if text.contains("connection: close") {
                            break;
                        }
                    }
                    if is_stopped.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        while served.load(Ordering::SeqCst) < 50 {
            std::thread::yield_now();
        }
        let (code, log) = serving.stop(Signal::TERM);
        is_stopped.store(true, Ordering::SeqCst);
        assert_eq!(code, Some(0), "{log}");
    });
}

#[test]
fn srv_10_killed_server_starts_again() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let unix = ["--unix", path.to_str().unwrap()];
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    let listens = || UnixStream::connect(&path).is_ok();
    // The steps of a start at which it is killed. The second one can be too short to be seen.
    let is_reached: [&dyn Fn(usize) -> bool; 3] =
        [&|_| true, &|before| entries() > before || listens(), &|_| listens()];
    for commands in [serve, proxy] {
        for reached in is_reached {
            for _ in 0..3 {
                let before = entries();
                let mut command = commands(&env, &unix);
                let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                while !reached(before) {
                    assert_eq!(child.try_wait().unwrap(), None, "it ended");
                }
                child.kill().unwrap();
                child.wait().unwrap();
            }
            let server = RunningServer::start(commands(&env, &unix));
            UnixStream::connect(&path).unwrap();
            drop(server);
        }
    }
    // With a request under way, at an address.
    let serving = RunningServer::serve(&env, &[]);
    let address = serving.agent_address().to_owned();
    env.emulator.inject(symbolon_emulator::Fault::stall(Step::ImdsToken).once());
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(serving.token_request("").as_bytes()).unwrap();
    while env.emulator.journal().count(Step::ImdsToken) == 0 {
        std::thread::yield_now();
    }
    drop(serving);
    let again = RunningServer::serve(&env, &["--listen", &address]);
    assert_eq!(get(again.agent_address(), "/livez", "").0, 200);
    drop(stream);
}

/// Starts a proxy with bound tokens and an agent, and uses each once.
fn used_servers(env: &TestEnv) -> [RunningServer; 2] {
    let status = ["--status", "127.0.0.1:0"];
    let proxy = RunningServer::start(proxy(env, &["--status", "127.0.0.1:0", "--pop"]));
    let address = proxy.variable("SYMBOLON_PROXY_URL").strip_prefix("http://").unwrap();
    let secret = format!("X-Symbolon-Secret: {}\r\n", proxy.variable("SYMBOLON_PROXY_SECRET"));
    for _ in 0..2 {
        assert_eq!(get(address, "/", &secret).0, 200);
    }
    let serving = RunningServer::serve(env, &[&status[..], &["--allow", RESOURCE]].concat());
    let mut stream = TcpStream::connect(serving.agent_address()).unwrap();
    stream.write_all(serving.token_request("Connection: close\r\n").as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    [proxy, serving]
}

fn bearer(server: &RunningServer) -> String {
    let secret = ["IDENTITY_HEADER", "SYMBOLON_PROXY_SECRET"];
    secret.iter().find_map(|name| server.variables[name].as_str()).unwrap().to_owned()
}

#[test]
fn srv_11_metrics() {
    let env = TestEnv::new();
    for server in used_servers(&env) {
        let secret = format!("Authorization: Bearer {}\r\n", bearer(&server));
        let (status, text) = get(server.status_address(), "/metrics", &secret);
        assert_eq!(status, 200);
        let is_proxy = server.variables["SYMBOLON_PROXY_URL"].is_string();
        let bound = format!("bound=\"{is_proxy}\"");
        let mut expected = vec![
            format!("symbolon_token_requests_total{{{bound},origin=\"network\",error=\"\"}} 1\n"),
            format!("symbolon_token_cache_hits_total{{{bound},level=\"memory\"}} "),
            format!("symbolon_token_fetches_total{{{bound},reason=\"missing\",error=\"\"}} 1\n"),
            "symbolon_token_fetch_duration_seconds_count 1\n".to_owned(),
            format!("symbolon_ready{{identity=\"system\",resource=\"{RESOURCE}\"}} 1\n"),
            format!("symbolon_token_expires_in_seconds{{identity=\"system\",resource=\"{RESOURCE}\"}} "),
            "symbolon_requests_total{status=\"200\"} ".to_owned(),
        ];
        if is_proxy {
            expected.push("symbolon_mints_total{renewal=\"false\",error=\"\"} 1\n".to_owned());
            expected.push("symbolon_handshakes_total{certificate=\"true\",version=\"1.3\",".to_owned());
        }
        for line in &expected {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(&bearer(&server)) && !text.contains("eyJ"), "{text}");
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else { return skip_without("promtool") };
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ran = promtool.wait_with_output().unwrap();
        let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(ran.status.success() && said.trim().is_empty(), "{said}{text}");
    }
}

#[test]
fn srv_12_scraped_by_prometheus() {
    let env = TestEnv::new();
    let servers = used_servers(&env);
    let folder = tempfile::tempdir().unwrap();
    let mut config = "global: { scrape_interval: 100ms }\nscrape_configs:\n".to_owned();
    for (name, server) in ["proxy", "agent"].iter().zip(&servers) {
        let file = folder.path().join(name);
        std::fs::write(&file, bearer(server)).unwrap();
        let (target, file) = (server.status_address(), file.display());
        config += &format!(
            "- job_name: {name}\n  authorization: {{ credentials_file: {file} }}\n  static_configs: [{{ targets: ['{target}'] }}]\n"
        );
    }
    std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let address = free_address().to_string();
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
    let Ok(child) = prometheus.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return skip_without("prometheus");
    };
    let mut prometheus = RunningServer { child, variables: Value::Null };
    drop(connect_tcp(address.parse().unwrap(), &mut prometheus.child));
    let query = "/api/v1/query?query=symbolon_token_requests_total%7Borigin%3D%22network%22%7D";
    let jobs = loop {
        assert_eq!(prometheus.child.try_wait().unwrap(), None, "prometheus ended");
        let (status, body) = get(&address, query, "");
        if status == 200 {
            let body: Value = serde_json::from_str(&body).unwrap();
            let mut found: Vec<String> = body["data"]["result"]
                .as_array()
                .unwrap()
                .iter()
                .map(|sample| format!("{} {}", sample["metric"]["job"], sample["value"][1]))
                .collect();
            found.sort();
            if found.len() == 2 {
                break found;
            }
        }
        // Prometheus needs some seconds before it scrapes.
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert_eq!(jobs, [r#""agent" "1""#, r#""proxy" "1""#]);
}
