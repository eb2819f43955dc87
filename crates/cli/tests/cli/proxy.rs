//! `symbolon proxy`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::{EmulatorBuilder, Step};
use tempfile::TempDir;

use crate::app::CLIENT_ID;
use crate::run::{RunResult, TestEnv, signal, skip_without};
use crate::running::{RESOURCE, RunningServer, assert_no_request_is_lost};

/// A running `proxy`.
pub(crate) struct RunningProxy(pub(crate) RunningServer);

impl RunningProxy {
    pub(crate) fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        let mut command = env.symbolon();
        command.args(["proxy", "--key", "p-256", "--output", "json"]).args(arguments);
        Self(RunningServer::start(command))
    }

    /// A proxy for the resource of the emulator, with a bound token.
    pub(crate) fn bound(env: &TestEnv, arguments: &[&str]) -> Self {
        let to = ["--to", env.emulator.resource_url(), "--resource", RESOURCE, "--pop"];
        Self::start(env, &[&to[..], arguments].concat())
    }

    pub(crate) fn address(&self) -> &str {
        self.0.variable("SYMBOLON_PROXY_URL").strip_prefix("http://").unwrap()
    }

    pub(crate) fn secret(&self) -> &str {
        self.0.variable("SYMBOLON_PROXY_SECRET")
    }

    pub(crate) fn head(&self, method: &str, target: &str, fields: &str) -> String {
        let (address, secret) = (self.address(), self.secret());
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nX-Symbolon-Secret: {secret}\r\n{fields}\r\n"
        )
    }

    /// Returns the status and the body of a response.
    pub(crate) fn get(&self, target: &str) -> (u16, Value) {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&self, target: &str, fields: &str) -> (u16, Value) {
        let stream = TcpStream::connect(self.address()).unwrap();
        exchange(stream, &self.head("GET", target, &format!("Connection: close\r\n{fields}")))
    }

    /// Stops it by a signal and returns its exit code and log.
    pub(crate) fn stop(self, with: Signal) -> (Option<i32>, String) {
        self.0.stop(with)
    }

    /// Reads the log until a line has this text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let stderr = self.0.command.0.stderr.as_mut().unwrap();
        let mut log = String::new();
        while !log.contains(text) {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{log}");
            log.push(char::from(byte[0]));
        }
    }
}

pub(crate) fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, Value) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

pub(crate) fn refused(env: &TestEnv, arguments: &[&str]) -> RunResult {
    let mut command = env.symbolon();
    RunResult::of(command.args(["proxy", "--output", "json"]).args(arguments).output().unwrap())
}

#[test]
fn prx_01_bound_calls() {
    let env = TestEnv::new();
    let proxy = RunningProxy::bound(&env, &[]);
    assert!(proxy.address().starts_with("127.0.0.1:"));
    for _ in 0..2 {
        let (status, seen) = proxy.get("/some/path");
        assert_eq!((status, &seen["scheme"], &seen["bound"]), (200, &"mtls_pop".into(), &true.into()));
    }
    let journal = env.emulator.journal();
    let entry = journal.last(Step::Resource).unwrap();
    assert_eq!((entry.target.as_str(), entry.certificate().is_some()), ("/some/path", true));
    assert_eq!(journal.count(Step::Token), 1);
    let second = RunningProxy::bound(&env, &[]);
    assert_ne!(proxy.secret(), second.secret(), "a secret of each run");
    let (code, log) = proxy.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    let line: Value = serde_json::from_str(&log).unwrap();
    assert_eq!((&line["event"], &line["message"]), (&"stopping".into(), &"stopping".into()), "{log}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{log}");
}

#[test]
fn prx_01_variables_as_text() {
    let env = TestEnv::new();
    let mut command = env.symbolon();
    command.args(["proxy", "--to", "https://x.example", "--resource", RESOURCE]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2);
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let _ended = child.kill();
    let _reaped = child.wait();
    assert!(lines[0].starts_with("export SYMBOLON_PROXY_URL='http://127.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("export SYMBOLON_PROXY_SECRET='"), "{lines:?}");
}

#[test]
fn prx_02_bearer_calls() {
    let env = TestEnv::new();
    let proxy = RunningProxy::start(&env, &["--to", env.emulator.resource_url(), "--resource", RESOURCE]);
    let (status, seen) = proxy.get("/");
    assert_eq!((status, &seen["scheme"], &seen["bound"]), (200, &"Bearer".into(), &false.into()));
    assert_eq!(env.emulator.journal().last(Step::Resource).unwrap().certificate(), None);
}

#[test]
fn prx_03_variables_as_json() {
    let env = TestEnv::new();
    let proxy = RunningProxy::bound(&env, &[]);
    let names = proxy.0.variables.as_object().unwrap().keys();
    assert!(names.eq(["SYMBOLON_PROXY_SECRET", "SYMBOLON_PROXY_URL"]), "{:?}", proxy.0.variables);
}

#[test]
fn prx_04_address() {
    let env = TestEnv::new();
    let proxy = RunningProxy::bound(&env, &["--listen", "127.0.0.2:0"]);
    assert!(proxy.address().starts_with("127.0.0.2:"));
    let to = ["--to", "https://x.example", "--resource", RESOURCE, "--listen", proxy.address()];
    let ran = refused(&env, &to);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("local_error")));
    assert!(ran.stderr.contains(proxy.address()), "{}", ran.stderr);
    let ran = refused(&env, &["--to", "https://x.example", "--resource", RESOURCE, "--listen", "0.0.0.0:0"]);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_configuration")));
}

#[test]
fn prx_05_unix_socket() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let proxy = RunningProxy::bound(&env, &["--unix", path.to_str().unwrap()]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names = proxy.0.variables.as_object().unwrap().keys();
    assert!(names.eq(["SYMBOLON_PROXY_SOCKET"]), "{:?}", proxy.0.variables);
    assert_eq!(get_by_socket(&path).0, 200);
    let (code, log) = proxy.stop(Signal::INT);
    assert_eq!((code, path.exists()), (Some(0), false), "{log}");
}

fn get_by_socket(path: &Path) -> (u16, Value) {
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    exchange(stream, "GET / HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n")
}

/// A folder that other users can enter. Only root can act as another user.
fn open_folder() -> Option<TempDir> {
    if !rustix::process::geteuid().is_root() {
        skip_without("root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    Some(folder)
}

#[test]
fn prx_06_other_users() {
    let Some(folder) = open_folder() else { return };
    let env = TestEnv::new();
    for (allowed, status) in [("65534", "200"), ("65533", "403"), ("nobody", "200"), ("daemon", "403")] {
        let path = folder.path().join(allowed);
        let proxy = RunningProxy::bound(&env, &["--unix", path.to_str().unwrap(), "--allow-uid", allowed]);
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "http://vault/", "--unix-socket"]);
        let Ok(ran) = curl.arg(&path).uid(65_534).output() else { return skip_without("curl") };
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), status, "{allowed}");
        assert_eq!(get_by_socket(&path).0, 200, "the own user stays allowed");
        let (_, log) = proxy.stop(Signal::TERM);
        assert_eq!(log.contains("403 proxy_user_not_allowed: user 65534"), status == "403", "{log}");
    }
    let ran = refused(&env, &["--to", "https://x.example", "--resource", RESOURCE, "--allow-uid", "1"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn prx_06_users_by_name() {
    let Some(folder) = open_folder() else { return };
    let env = TestEnv::new();
    let (file, path) = (folder.path().join("routes.toml"), folder.path().join("proxy.sock"));
    let write = |users: &str| {
        let to = env.emulator.resource_url();
        let route = format!("[[routes]]\nto = \"{to}\"\nresource = \"{RESOURCE}\"\npop = true\n");
        std::fs::write(&file, format!("allow_uids = [{users}]\n{route}")).unwrap();
    };
    let status = || {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "http://vault/", "--unix-socket"]);
        String::from_utf8(curl.arg(&path).uid(65_534).output().expect("curl").stdout).unwrap()
    };
    write("\"daemon\", 65533");
    let files = ["--config", file.to_str().unwrap(), "--unix", path.to_str().unwrap()];
    let mut proxy = RunningProxy::start(&env, &files);
    assert_eq!(status(), "403");
    write("\"daemon\", \"nobody\"");
    signal(&proxy.0.command.0, Signal::HUP);
    proxy.wait_for("the routes were read again");
    assert_eq!(status(), "200");
    // An unknown name changes nothing.
    write("\"no-such-user\"");
    signal(&proxy.0.command.0, Signal::HUP);
    proxy.wait_for("line 1, column 15: allow_uids: there is no user 'no-such-user' on this machine");
    assert_eq!(status(), "200");
}

#[test]
fn prx_07_headers() {
    let env = TestEnv::new();
    let proxy = RunningProxy::bound(&env, &["-H", "x-ms-client-request-id: of-proxy"]);
    let sent = || {
        let journal = env.emulator.journal();
        let entry = journal.last(Step::Resource).unwrap();
        entry.header("x-ms-client-request-id").map(str::to_owned).unwrap_or_default()
    };
    assert_eq!((proxy.get("/").0, sent()), (200, "of-proxy".to_owned()));
    assert_eq!(proxy.get_with("/", "x-ms-client-request-id: of-client\r\n").0, 200);
    assert_eq!(sent(), "of-client");
}

/// Writes a file with a route and this further text.
fn write_config(path: &Path, env: &TestEnv, route: &str, more: &str) {
    let to = env.emulator.resource_url();
    let text = format!(
        "[[routes]]\npath = \"{route}\"\nto = \"{to}\"\nresource = \"{RESOURCE}\"\npop = true\n{more}"
    );
    std::fs::write(path, text).unwrap();
}

#[test]
fn prx_08_routes_of_a_file() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let user_assigned = env.emulator.user_assigned().client_id.clone();
    let more = format!(
        "identity = \"client-id:{user_assigned}\"\ntimeout = 30\nheaders = {{ x-ms-client-request-id = \"7\" }}\n"
    );
    write_config(&path, &env, "/user", &more);
    let config = ["--config", path.to_str().unwrap()];
    let alone = RunningProxy::start(&env, &config);
    let (status, seen) = alone.get("/user/x");
    assert_eq!((status, &seen["bound"], &seen["appid"]), (200, &true.into(), &user_assigned.into()));
    assert_eq!(env.emulator.journal().last(Step::Resource).unwrap().target, "/x");
    assert_eq!(alone.get("/other").0, 404);
    let both = RunningProxy::bound(&env, &config);
    assert_eq!(both.get("/other").1["appid"], env.emulator.client_id());
    assert_eq!(both.get("/user").1["appid"], user_assigned_id(&env));
}

fn user_assigned_id(env: &TestEnv) -> Value {
    env.emulator.user_assigned().client_id.clone().into()
}

#[test]
fn prx_09_file_is_read_again() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    write_config(&path, &env, "/old", "");
    let mut proxy = RunningProxy::start(&env, &["--config", path.to_str().unwrap()]);
    assert_eq!((proxy.get("/old").0, proxy.get("/new").0), (200, 404));
    write_config(&path, &env, "/new", "");
    signal(&proxy.0.command.0, Signal::HUP);
    proxy.wait_for("the routes were read again");
    assert_eq!((proxy.get("/old").0, proxy.get("/new").0), (404, 200));
    assert_eq!(env.emulator.journal().count(Step::Token), 1, "the token is kept");
    write_config(&path, &env, "/broken", "pip = true\n");
    signal(&proxy.0.command.0, Signal::HUP);
    proxy.wait_for("line 6, column 1: unknown field `pip`");
    assert_eq!(proxy.get("/new").0, 200);
}

// A script that reloads the routes does not know that the proxy is stopping.
#[test]
fn prx_09_reload_does_not_end_the_drain() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    write_config(&path, &env, "/", "");
    let mut proxy = RunningProxy::start(&env, &["--config", path.to_str().unwrap()]);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let head = proxy.head("POST", "/echo", "Content-Length: 10\r\n");
    stream.write_all(format!("{head}first").as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"first") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    signal(&proxy.0.command.0, Signal::TERM);
    proxy.wait_for("stopping");
    signal(&proxy.0.command.0, Signal::HUP);
    // A connection is refused once the signals before were handled.
    while TcpStream::connect(proxy.address()).is_ok() {}
    stream.write_all(b"after").unwrap();
    let mut rest = [0; 5];
    stream.read_exact(&mut rest).expect("the rest of the response");
    assert_eq!(&rest, b"after");
    assert_eq!(proxy.stop(Signal::HUP).0, Some(0));
}

#[test]
fn prx_10_refusals_are_logged() {
    let env = TestEnv::new();
    let proxy = RunningProxy::bound(&env, &[]);
    let host = format!("Host: {}\r\nConnection: close\r\n", proxy.address());
    let guessed = format!("GET /private-path HTTP/1.1\r\n{host}X-Symbolon-Secret: guessed\r\n\r\n");
    let (status, body) = exchange(TcpStream::connect(proxy.address()).unwrap(), &guessed);
    assert_eq!((status, &body["error"]["code"]), (401, &"proxy_secret_required".into()));
    let secret = proxy.secret().to_owned();
    let (_, log) = proxy.stop(Signal::TERM);
    assert!(
        log.contains("refused a request of 127.0.0.1:") && log.contains("401 proxy_secret_required"),
        "{log}"
    );
    for text in ["private-path", "guessed", &secret, "eyJ"] {
        assert!(!log.contains(text), "{log}");
    }
}

#[test]
fn prx_11_signal_loses_no_request() {
    for with in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let proxy = RunningProxy::bound(&env, &[]);
        assert_eq!(proxy.get("/").0, 200);
        let (address, request) = (proxy.address().to_owned(), proxy.head("GET", "/", ""));
        assert_no_request_is_lost(&address, &request, || proxy.stop(with));
    }
}

#[test]
fn prx_12_killed_proxy_starts_again() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let unix = ["--unix", path.to_str().unwrap()];
    let first = RunningProxy::bound(&env, &unix);
    let in_use = refused(&env, &["--to", "https://x.example", "--resource", RESOURCE, unix[0], unix[1]]);
    assert_eq!((in_use.code, in_use.error()["code"].as_str()), (2, Some("invalid_configuration")));
    // Dropping it kills it.
    drop(first);
    assert!(path.exists(), "the socket is left over");
    let second = RunningProxy::bound(&env, &unix);
    assert_eq!(get_by_socket(&path).0, 200);
    drop(second);
    let first = RunningProxy::bound(&env, &[]);
    let address = first.address().to_owned();
    // A connection that is open when the proxy is killed stays in the kernel for a while.
    let open = TcpStream::connect(&address).unwrap();
    assert_eq!(first.get("/").0, 200);
    drop(first);
    assert_eq!(RunningProxy::bound(&env, &["--listen", &address]).get("/").0, 200);
    drop(open);
}

#[test]
fn prx_13_machine_without_bound_tokens() {
    let env = TestEnv::with(EmulatorBuilder::v1_only);
    let proxy = RunningProxy::bound(&env, &[]);
    let (status, body) = proxy.get("/");
    assert_eq!((status, &body["error"]["code"]), (502, &"mtls_pop_not_supported_in_imds_v1".into()));
    assert_eq!(env.emulator.journal().count(Step::Resource), 0);
}

#[test]
fn prx_14_invalid_files_and_options() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let config = ["--config", path.to_str().unwrap()];
    let ran = refused(&env, &config);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
    assert!(ran.stderr.contains("routes.toml"), "{}", ran.stderr);
    let route = "[[routes]]\nto = \"https://x.example\"\nresource = \"https://x.example\"\n";
    let application =
        format!("{route}application = {{ authority = \"https://x.example/t\", client_id = \"c\"");
    for (text, told) in [
        ("[[routes]]\nto = 7\n", "line 2, column 6"),
        ("[[routes]\n", "line 1, column 10"),
        ("[[route]]\n", "line 1, column 3: unknown field `route`"),
        ("[[routes]]\nresource = \"x\"\n", "line 1, column 1: missing field `to`"),
        (&format!("\n{route}identity = \"x\"\n"), "line 2, column 1: identity: use system"),
        (&format!("{route}timeout = 0\n"), "line 1, column 1: timeout: "),
        (&format!("{route}headers = {{ authorization = \"x\" }}\n"), "line 1, column 1: headers: "),
        ("", "the proxy has no route"),
        (&format!("{route}{route}"), "two routes have the path /"),
        (
            &format!("\n{}", route.replace("https://x.example\"\nres", "http://x.example\"\nres")),
            "routes.toml: line 2, column 1: the URL of the route / is not an https URL",
        ),
        (
            &format!("{application}, certificate = \"/nonexistent\" }}\n"),
            "1: certificate /nonexistent: No such",
        ),
        (&format!("{application}, pop = true }}\n"), "unknown field `pop`"),
        (
            &format!("{application} }}\n"),
            "1: missing: a credential: client_secret_env, certificate or assert",
        ),
        (
            &format!("{application}, certificate = \"x\", assertion_file = \"y\" }}\n"),
            "1: application: an application has one of",
        ),
        (
            &format!("{application}, assertion_file = \"/dev/null\", send_x5c = true }}\n"),
            "1: application: send_x5c and certificate_password_env are for a certificate",
        ),
        (
            &format!("{application}, client_secret_env = \"s3cr3t\" }}\n"),
            "that client_secret_env names is not set",
        ),
        (
            &format!("{application}, assertion_file = \"/dev/null\" }}\npop = true\n"),
            "1: a bound token needs the certificate of the application",
        ),
        (&format!("{application} }}\nidentity = \"system\"\n"), "an identity or an application, not both"),
        (&format!("allow_uids = [1]\n{route}"), "add --unix"),
        (
            &format!("allow_uids = [1, \"no-such-user\"]\n{route}"),
            "line 1, column 18: allow_uids: there is no user 'no",
        ),
        (&format!("allow_uids = [\"\"]\n{route}"), "line 1, column 15: allow_uids: there is no user ''"),
        (&format!("allow_uids = [-1]\n{route}"), "line 1, column 15: allow_uids: -1 is not the id of a user"),
        (&format!("allow_uids = [1.5]\n{route}"), "line 1, column 15: allow_uids: use the name"),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = refused(&env, &config);
        assert_eq!(ran.code, 2, "{text}: {}", ran.stderr);
        assert!(ran.error()["message"].as_str().unwrap().contains(told), "{text}: {}", ran.stderr);
        assert!(!ran.stderr.contains("s3cr3t"), "{}", ran.stderr);
    }
    for arguments in [
        &[][..],
        &["--to", "https://x.example"],
        &["--resource", "https://x.example"],
        &["--to", "http://x.example", "--resource", "https://x.example"],
        &["--to", "https://x.example", "--resource", "https://x.example", "-H", "Authorization: x"],
        &[
            "--to",
            "https://x.example",
            "--resource",
            "https://x.example",
            "--unix",
            "/x",
            "--allow-uid",
            "no-user",
        ],
        &[
            "--to",
            "https://x.example",
            "--resource",
            "https://x.example",
            "--unix",
            "/x",
            "--listen",
            "127.0.0.1:0",
        ],
        &["--config", "/dev/null", "--client-id", CLIENT_ID],
        &["--to", "https://x.example", "--resource", "x", "--identity", "system", "--client-id", CLIENT_ID],
        &["--to", "https://x.example", "--resource", "x", "--certificate", "x", "--assertion-file", "y"],
    ] {
        let ran = refused(&env, arguments);
        assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")), "{arguments:?}");
    }
}
