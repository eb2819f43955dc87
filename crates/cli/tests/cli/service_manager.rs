//! `serve` and `proxy` under a service manager: notifications and sockets of systemd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::run::{TestEnv, signal, skip_without};
use crate::running::{
    RESOURCE, RunningCommand, RunningServer, connect_tcp, exchange, free_address, get, proxy, serve,
};

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
        signal(&server.command.0, Signal::HUP);
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
    let server =
        RunningServer { command: RunningCommand(child), variables: serde_json::from_str(&printed).unwrap() };
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

/// Runs `serve` after these commands of a shell, with the socket as descriptor 3, and asserts that
/// it ends. Returns its exit code and its log.
fn refused(env: &TestEnv, shell: &str, socket: std::os::fd::OwnedFd) -> (Option<i32>, String) {
    let server = serve(env, &[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{shell}; exec \"$@\" 3<&0"), "sh"]);
    command.arg(server.get_program()).args(server.get_args()).env_clear();
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines().next();
    if printed.is_some() {
        child.kill().unwrap();
    }
    let ran = child.wait_with_output().unwrap();
    assert!(printed.is_none(), "it serves after {shell}: {printed:?}");
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

// Without Accept=no, a service manager passes connections.
#[test]
fn srv_08_sockets_that_do_not_listen() {
    let env = TestEnv::new();
    let (passed, _client) = UnixStream::pair().unwrap();
    let (code, log) = refused(&env, "export LISTEN_PID=$$ LISTEN_FDS=1", passed.into());
    assert!(code == Some(1) && log.contains("the socket does not listen"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn srv_08_variables_that_are_no_numbers() {
    let env = TestEnv::new();
    for (variables, named) in [
        ("LISTEN_PID=$$ LISTEN_FDS=one", "LISTEN_FDS=one "),
        ("LISTEN_PID=$$ LISTEN_FDS=1x", "LISTEN_FDS=1x "),
        ("LISTEN_PID=$$ LISTEN_FDS=0", "LISTEN_FDS=0 "),
        ("LISTEN_PID=$$ LISTEN_FDS=-1", "LISTEN_FDS=-1 "),
        ("LISTEN_PID=$$ LISTEN_FDS=3", "LISTEN_FDS=3 "),
        ("LISTEN_PID=$$ LISTEN_FDS=2147483647", "LISTEN_FDS=2147483647 "),
        ("LISTEN_PID=$$ LISTEN_FDS=99999999999999999999", "LISTEN_FDS=99999999999999999999 "),
        ("LISTEN_PID=self LISTEN_FDS=1", "LISTEN_PID=self "),
        ("LISTEN_PID=-1 LISTEN_FDS=1", "LISTEN_PID=-1 "),
        ("LISTEN_PID=0 LISTEN_FDS=1", "LISTEN_PID=0 "),
        ("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=main:status", "LISTEN_FDNAMES has 2 names"),
        ("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=status", "LISTEN_FDNAMES has 1 names"),
        // The extension of other launchers.
        ("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDS_FIRST_FD=x", "LISTEN_FDS_FIRST_FD=x "),
        ("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDS_FIRST_FD=2147483647", "LISTEN_FDS_FIRST_FD=2147483647 "),
        ("WATCHDOG_USEC=30s", "WATCHDOG_USEC=30s "),
        ("WATCHDOG_USEC=0", "WATCHDOG_USEC=0 "),
        ("WATCHDOG_USEC=18446744073709551615", "WATCHDOG_USEC=18446744073709551615 "),
        ("WATCHDOG_USEC=30000000 WATCHDOG_PID=self", "WATCHDOG_PID=self "),
    ] {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (code, log) = refused(&env, &format!("export {variables}"), socket.into());
        assert!(code == Some(2) && log.contains(named), "{variables}: {log}");
    }
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
