//! Web servers that present a certificate of `symbolon binding renew`.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::Step;
use symbolon_test_programs::{find_program, start_nginx};

use crate::binding::HandoverEnv;
use crate::binding_daemon::Daemon;
use crate::run::{signal, skip_without};
use crate::running::{RESOURCE, RunningCommand};

const NGINX: &str = "
server {
    listen 127.0.0.1:{listen};
    location / {
        proxy_pass {resource};
        proxy_ssl_certificate tls/cert.pem;
        proxy_ssl_certificate_key tls/key.pem;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
    }
}
";

#[test]
fn bnd_15_nginx_presents_the_new_certificate() {
    let Some(nginx) = find_program("nginx") else { return skip_without("nginx") };
    let env = HandoverEnv::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = env.path("").display().to_string();
    let reload = format!("{nginx} -p {folder} -c {folder}/nginx.conf -s reload");
    // nginx starts after the first certificate, so that the first reload fails.
    let mut daemon = Daemon::start(&env, &["--exec", &reload]);
    let first = daemon.next();
    daemon.wait_for("the program was not notified");
    let http = NGINX.replace("{resource}", env.env.emulator.resource_url());
    let _nginx = start_nginx(&nginx, &env.folder, listener, &http);
    daemon.wait_for("notified the program");
    call_through(&env, port, &first);
    signal(&daemon.child, Signal::HUP);
    let second = daemon.next();
    assert_ne!(second["x5t#S256"], first["x5t#S256"]);
    daemon.wait_for("notified the program");
    call_through(&env, port, &second);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}

const HAPROXY: &str = "
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
listen front
    bind 127.0.0.1:{port}
    server resource {resource} ssl verify none crt tls/both.pem
";

#[test]
fn bnd_15_haproxy_presents_the_new_certificate() {
    let Some(haproxy) = find_program("haproxy") else {
        return skip_without("haproxy");
    };
    let env = HandoverEnv::new();
    // It does not support port 0.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let resource = env.env.emulator.resource_url().trim_start_matches("https://").trim_end_matches('/');
    let conf = HAPROXY.replace("{port}", &port.to_string()).replace("{resource}", resource);
    fs::write(env.path("haproxy.cfg"), conf).unwrap();
    let files = ["--combined", "tls/both.pem", "--pid-file", "pid", "--signal", "USR2"];
    let mut daemon = Daemon::start(&env, &files);
    let first = daemon.next();
    daemon.wait_for("the program was not notified");
    let mut server = Command::new(&haproxy);
    server.args(["-W", "-f", "haproxy.cfg"]).current_dir(env.path("")).stdin(Stdio::null());
    let server = RunningCommand(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // A signal would end it before it listens.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    call_through(&env, port, &first);
    let worker = children(&server.0);
    fs::write(env.path("pid"), server.0.id().to_string()).unwrap();
    daemon.wait_for("notified the program");
    // HAProxy loses a signal that arrives while it reloads.
    while children(&server.0) == worker || children(&server.0).split_whitespace().count() != 1 {
        std::thread::yield_now();
    }
    signal(&daemon.child, Signal::HUP);
    let second = daemon.next();
    daemon.wait_for("notified the program");
    call_through(&env, port, &second);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    signal(&server.0, Signal::TERM);
}

/// Returns the ids of the child processes.
fn children(process: &Child) -> String {
    let id = process.id();
    fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap()
}

/// Calls the resource through a server with a bound token, until the server presents the
/// certificate of the record.
fn call_through(env: &HandoverEnv, port: u16, record: &Value) {
    let token = ["token", "--resource", RESOURCE, "--pop", "--persist-binding", "--key", "p-256"];
    let token = env.run(&token).json().swap_remove(0);
    let expected = &record["x5t#S256"];
    assert_eq!(token["binding"]["x5t#S256"], *expected);
    let token = format!("mtls_pop {}", token["access_token"].as_str().unwrap());
    // Old processes end after the reload, and may accept a connection until then.
    for _ in 0..1000 {
        let response = get(port, &token);
        let journal = env.env.emulator.journal();
        let seen = journal.last(Step::Resource).and_then(|entry| entry.certificate());
        if seen.is_some_and(|seen| expected == &seen.to_string()) {
            assert!(response.contains("\"bound\":true"), "{response}");
            return;
        }
    }
    panic!("the resource does not get the certificate {expected}");
}

fn get(port: u16, authorization: &str) -> String {
    use std::io::Write;

    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: vault\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n"
    );
    let _sent = stream.write_all(request.as_bytes());
    let mut response = String::new();
    let _closed = stream.read_to_string(&mut response);
    response
}
