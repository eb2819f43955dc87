//! `openssl s_server`, which requests the client certificate on command.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use symbolon_test_programs::{Folder, find_program, missing};

/// A running server for one connection, which ends when this is dropped.
pub(crate) struct LateServer {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    url: String,
    certificate: String,
    _folder: Folder,
}

impl LateServer {
    /// Starts a server with a version of TLS, such as `-tls1_2`, and other options, that takes
    /// certificates of this authority (PEM). Returns `None`, with a line on standard error, if
    /// OpenSSL is missing.
    pub(crate) fn start(options: &[&str], authority: &str) -> Option<Self> {
        let Some(program) = find_program("openssl") else {
            missing("OpenSSL (`apt-get install openssl`)");
            return None;
        };
        let folder = Folder::new();
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = server.cert.pem();
        fs::write(folder.path().join("server.pem"), &certificate).unwrap();
        fs::write(folder.path().join("server.key"), server.signing_key.serialize_pem()).unwrap();
        fs::write(folder.path().join("clients.pem"), authority).unwrap();
        // Another authority, for the options.
        fs::write(folder.path().join("other.pem"), &certificate).unwrap();
        let mut openssl = Command::new(program);
        openssl.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]);
        openssl.args(["-state", "-verify_return_error"]);
        openssl.args(["-cert", "server.pem", "-key", "server.key", "-CAfile", "clients.pem"]);
        openssl.args(options);
        openssl.current_dir(folder.path()).env_clear();
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = openssl.spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        let stdin = child.stdin.take().unwrap();
        let mut server = Self { child, stdin, lines, url: String::new(), certificate, _folder: folder };
        let line = server.wait_for(|line| line.starts_with("ACCEPT "));
        server.url = format!("https://localhost:{}/late", line.rsplit(':').next().unwrap());
        Some(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the server (PEM).
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Waits for a request, then requests the certificate with a command of `s_server`, and
    /// responds once it is accepted.
    pub(crate) fn serve(&mut self, command: &str) {
        self.receive_head();
        if self.request_certificate(command) {
            self.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    }

    /// Waits for the head of a request.
    pub(crate) fn receive_head(&self) {
        self.wait_for(|line| line.starts_with("POST /late "));
        self.wait_for(str::is_empty);
    }

    /// Requests the certificate with a command of `s_server`. Returns false if one of the two ends
    /// the handshake.
    pub(crate) fn request_certificate(&mut self, command: &str) -> bool {
        self.write(&format!("{command}\n"));
        // The first handshake had no certificate.
        self.reaches("read client certificate") && self.reaches("read finished")
    }

    /// Renegotiates without a request for the certificate. Returns false if one of the two ends the
    /// handshake.
    pub(crate) fn renegotiate(&mut self) -> bool {
        self.write("r\n");
        self.reaches("read finished")
    }

    fn reaches(&self, state: &str) -> bool {
        self.wait_for(|line| line.ends_with(state) || line.contains(":fatal:")).ends_with(state)
    }

    /// Sends a text, which must not begin with a command.
    pub(crate) fn write(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }

    /// Waits for a line.
    pub(crate) fn wait_for(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv() {
            if is_wanted(&line) {
                return line;
            }
            seen.push(line);
        }
        panic!("s_server ended:\n{}", seen.join("\n"));
    }
}

impl Drop for LateServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line.trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    });
}
