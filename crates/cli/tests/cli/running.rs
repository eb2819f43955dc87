//! Running servers of the command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::run::{TestEnv, signal};

pub(crate) const RESOURCE: &str = "https://vault.azure.net";

/// A running command. Dropping it kills it.
pub(crate) struct RunningCommand(pub(crate) Child);

impl RunningCommand {
    /// Stops it by a signal and returns its exit code and log.
    pub(crate) fn stop(mut self, with: Signal) -> (Option<i32>, String) {
        signal(&self.0, with);
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap().code(), log)
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A running server, with the variables that it printed.
pub(crate) struct RunningServer {
    pub(crate) command: RunningCommand,
    pub(crate) variables: Value,
}

impl RunningServer {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let Some(printed) = printed else {
            panic!("{:?}", child.wait_with_output().unwrap());
        };
        Self { command: RunningCommand(child), variables: serde_json::from_str(&printed.unwrap()).unwrap() }
    }

    pub(crate) fn serve(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::start(serve(env, arguments))
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        self.variables[name].as_str().unwrap_or_else(|| panic!("{name}: {}", self.variables))
    }

    /// The address of the endpoints for operators.
    pub(crate) fn status_address(&self) -> &str {
        self.variable("SYMBOLON_STATUS_URL").strip_prefix("http://").unwrap()
    }

    pub(crate) fn agent_address(&self) -> &str {
        let endpoint = self.variable("IDENTITY_ENDPOINT");
        endpoint.strip_prefix("http://").unwrap().strip_suffix("/msi/token").unwrap()
    }

    pub(crate) fn token_request(&self, fields: &str) -> String {
        let (host, secret) = (self.agent_address(), self.variable("IDENTITY_HEADER"));
        let query = format!("api-version=2019-08-01&resource={RESOURCE}");
        format!(
            "GET /msi/token?{query} HTTP/1.1\r\nHost: {host}\r\nX-IDENTITY-HEADER: {secret}\r\n{fields}\r\n"
        )
    }

    /// Stops it by a signal and returns its exit code and log.
    pub(crate) fn stop(self, with: Signal) -> (Option<i32>, String) {
        self.command.stop(with)
    }
}

pub(crate) fn serve(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.symbolon();
    command.args(["serve", "--output", "json"]).args(arguments);
    command
}

pub(crate) fn proxy(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.symbolon();
    command.args(["proxy", "--key", "p-256", "--output", "json"]);
    command.args(["--to", env.emulator.resource_url(), "--resource", RESOURCE]).args(arguments);
    command
}

/// Returns the status and the body of a response.
pub(crate) fn get(address: &str, path: &str, fields: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).unwrap(), address, path, fields)
}

/// Like [`get`], until the first check has ended: a busy machine takes longer than a response.
pub(crate) fn get_checked(
    address: &str,
    path: &str,
    fields: &str,
    is_final: impl Fn(u16, &str) -> bool,
) -> (u16, String) {
    let mut responses = (0..50).map(|_| get(address, path, fields));
    responses.find(|(status, body)| is_final(*status, body)).expect("the check ends")
}

pub(crate) fn is_ready(status: u16, _body: &str) -> bool {
    status == 200
}

pub(crate) fn exchange(mut stream: impl Read + Write, host: &str, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Connects as soon as somebody listens.
pub(crate) fn connect_tcp(address: SocketAddr, child: &mut Child) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended"),
        }
        std::thread::yield_now();
    }
}

/// Sends this request by several clients, stops the server meanwhile, and asserts that it has
/// answered each request that it accepted. Connections that are refused are the end: nothing was
/// sent on them.
pub(crate) fn assert_no_request_is_lost(
    address: &str,
    request: &str,
    stop: impl FnOnce() -> (Option<i32>, String),
) {
    let (served, is_stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                while let Ok(mut stream) = TcpStream::connect(address) {
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
        let (code, log) = stop();
        is_stopped.store(true, Ordering::SeqCst);
        assert_eq!(code, Some(0), "{log}");
    });
}
