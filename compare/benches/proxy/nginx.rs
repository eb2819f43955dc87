//! nginx as the proxy: with certificate and key in files, and a fixed token.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use symbolon_test_programs::{Folder, Service, find_program, start_nginx};

use crate::{BoxError, MeasuredProxy};

/// The secret that nginx requires.
const SECRET: &str = "secret";
/// The length of a token of the emulator.
const TOKEN_LENGTH: usize = 1024;

const HTTP: &str = "\
client_max_body_size 0;
upstream resource { server {upstream}; keepalive 64; }
server {
    listen 127.0.0.1:{listen};
    keepalive_requests 1000000;
    location / {
        if ($http_x_symbolon_secret != {secret}) { return 403; }
        proxy_pass https://resource;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host localhost;
        proxy_set_header Authorization \"mtls_pop {token}\";
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_ssl_certificate client.pem;
        proxy_ssl_certificate_key client.key;
        proxy_ssl_trusted_certificate server.pem;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        proxy_ssl_protocols TLSv1.3;
    }
}
";

/// nginx with one route.
pub(crate) struct Nginx {
    pub(crate) proxy: MeasuredProxy,
    _service: Service,
    _folder: Folder,
}

impl Nginx {
    /// Starts nginx, if it is installed, for a server with this certificate (PEM). The pair is the
    /// certificate and the key of the client (PEM).
    pub(crate) fn start(
        url: &str,
        server: &str,
        (certificate, key): &(String, String),
    ) -> Result<Option<Self>, BoxError> {
        let Some(program) = find_program("nginx") else { return Ok(None) };
        let folder = Folder::new();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        let upstream = url.trim_start_matches("https://").replace("localhost", "127.0.0.1");
        let http = HTTP.replace("{upstream}", &upstream).replace("{secret}", SECRET);
        let http = http.replace("{token}", &"x".repeat(TOKEN_LENGTH));
        write("client.pem", certificate)?;
        write("client.key", key)?;
        write("server.pem", server)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let service = start_nginx(&program, &folder, listener, &http);
        let proxy = MeasuredProxy {
            id: worker(folder.path())?,
            address: format!("127.0.0.1:{port}"),
            secret: SECRET.to_owned(),
        };
        Ok(Some(Self { proxy, _service: service, _folder: folder }))
    }
}

/// Waits for the worker, and returns its process.
fn worker(folder: &Path) -> Result<u32, BoxError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let main = fs::read_to_string(folder.join("nginx.pid")).unwrap_or_default();
        let children = format!("/proc/{0}/task/{0}/children", main.trim());
        if let Some(Ok(worker)) =
            fs::read_to_string(children).ok().and_then(|list| list.split(' ').next().map(str::parse))
        {
            return Ok(worker);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(fs::read_to_string(folder.join("nginx.log"))?.into())
}
