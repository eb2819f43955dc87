//! An independent HTTPS server that prints its requests: Python's, with a certificate by OpenSSL.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use symbolon::Env;

use crate::run::skip_without;

/// A script that prints every request and responds like a token service.
const SERVER: &str = r#"
import http.server, json, ssl, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        sent = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": self.rfile.read(length).decode(),
        }
        print(json.dumps(sent), flush=True)
        body = b'{"token_type":"Bearer","access_token":"token","expires_in":3599}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

pub(crate) const CERTIFICATE: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = origin
[extensions]
subjectAltName = IP:127.0.0.1
basicConstraints = CA:FALSE
";

pub(crate) struct Origin {
    pub(crate) url: String,
    pub(crate) ca_file: String,
    server: Child,
    printed: RefCell<Lines<BufReader<ChildStdout>>>,
    _folder: tempfile::TempDir,
}

impl Origin {
    /// Returns `None` if a program is missing.
    pub(crate) fn start() -> Option<Self> {
        Self::with_certificate(CERTIFICATE)
    }

    /// Starts a server whose certificate is that of an authority, as OpenSSL makes it by default.
    pub(crate) fn with_authority_certificate() -> Option<Self> {
        Self::with_certificate(&CERTIFICATE.replace("CA:FALSE", "CA:TRUE"))
    }

    fn with_certificate(configuration: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = make_certificate(folder.path(), configuration)?;
        let server = program("python3")
            .args(["-c", SERVER])
            .arg(folder.path().join("server.pem"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut server) = server else {
            skip_without("python3");
            return None;
        };
        let mut printed = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = printed.next().unwrap().unwrap();
        Some(Self {
            url: format!("https://127.0.0.1:{port}"),
            ca_file,
            server,
            printed: RefCell::new(printed),
            _folder: folder,
        })
    }

    /// Returns the next request.
    pub(crate) fn request(&self) -> Value {
        serde_json::from_str(&self.printed.borrow_mut().next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// Makes `certificate.pem` for 127.0.0.1, and `server.pem` with its key, in a folder. Returns the
/// path of the first; `None` if there is no OpenSSL.
pub(crate) fn make_certificate(folder: &Path, configuration: &str) -> Option<String> {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(file("openssl.cnf"), configuration).unwrap();
    let arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-batch", "-config"];
    let made = program("openssl")
        .args(arguments)
        .args([&file("openssl.cnf"), "-keyout", &file("key.pem"), "-out", &file("certificate.pem")])
        .output();
    let Ok(made) = made else {
        skip_without("openssl");
        return None;
    };
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    std::fs::write(file("server.pem"), read("key.pem") + &read("certificate.pem")).unwrap();
    Some(file("certificate.pem"))
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().envs(Env::process().var("PATH").map(|path| ("PATH", path)));
    command
}
