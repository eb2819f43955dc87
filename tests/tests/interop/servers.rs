//! TLS servers that require a certificate of the authority and print its subject.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use symbolon_test_programs::{Folder, Service, find_program, start_nginx};

/// A kind of server, started in the folder of an authority.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) start: fn(&Folder, Version) -> Result<Server, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

pub(crate) const SERVERS: [Kind; 3] =
    [Kind { name: "OpenSSL", start: openssl }, Kind { name: "GnuTLS", start: gnutls }, NGINX_SERVER];

/// With HTTP/2, for clients that offer it.
pub(crate) const NGINX_SERVER: Kind = Kind { name: "nginx", start: nginx };

/// A running server, which ends when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    _service: Service,
}

fn program(name: &str, package: &str) -> Result<String, String> {
    find_program(name).ok_or_else(|| format!("{name} (`apt-get install {package}`)"))
}

fn openssl(folder: &Folder, version: Version) -> Result<Server, String> {
    let mut server = Command::new(program("openssl", "openssl")?);
    server.args(["s_server", "-accept", "127.0.0.1:0", "-www"]);
    server.args(["-cert", "server.pem", "-key", "server.key"]);
    server.args(["-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error"]);
    server.arg(match version {
        Version::Tls12 => "-tls1_2",
        Version::Tls13 => "-tls1_3",
    });
    let mut service = Service::start(&server, folder, Stdio::piped());
    let port = service.wait_for(|line| {
        let address = line.trim().strip_prefix("ACCEPT ")?;
        Some(address.rsplit_once(':')?.1.to_owned())
    });
    let port = port.expect("the port that openssl prints");
    Ok(Server { url: format!("https://localhost:{port}/"), _service: service })
}

fn gnutls(folder: &Folder, version: Version) -> Result<Server, String> {
    let path = program("gnutls-serv", "gnutls-bin")?;
    let version = match version {
        Version::Tls12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
        Version::Tls13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
    };
    // It does not support port 0. If a free port is taken before it listens, it ends, and another
    // port is tried.
    for _ in 0..20 {
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        // It reports its port on standard error.
        let mut server = Command::new("/bin/sh");
        server.args(["-c", r#"exec "$@" 2>&1"#, "sh", &path]);
        server.args(["--http", "--require-client-cert", "--verify-client-cert"]);
        server.args(["--x509cafile=ca.pem", "--x509certfile=server.pem", "--x509keyfile=server.key"]);
        server.args([&format!("--priority={version}"), &format!("--port={port}")]);
        let mut service = Service::start(&server, folder, Stdio::piped());
        let listens = service.wait_for(|line| {
            let is_listening = line.contains("listening on IPv4") && line.contains("done");
            is_listening.then_some(())
        });
        if listens.is_some() {
            return Ok(Server { url: format!("https://localhost:{port}/"), _service: service });
        }
    }
    panic!("gnutls-serv does not listen");
}

const NGINX: &str = "
server {
    listen 127.0.0.1:{listen} ssl http2;
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    ssl_protocols {version};
    ssl_client_certificate ca.pem;
    ssl_verify_client on;
    location / {
        default_type text/plain;
        return 200 '$ssl_client_verify $server_protocol $ssl_protocol $ssl_client_s_dn';
    }
}
";

fn nginx(folder: &Folder, version: Version) -> Result<Server, String> {
    let path = program("nginx", "nginx")?;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let version = match version {
        Version::Tls12 => "TLSv1.2",
        Version::Tls13 => "TLSv1.3",
    };
    let http = NGINX.replace("{version}", version);
    let service = start_nginx(&path, folder, listener, &http);
    Ok(Server { url: format!("https://localhost:{port}/"), _service: service })
}
