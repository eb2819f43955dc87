//! TLS handshakes with loaded identities.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use base64ct::{Base64, Encoding};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use symbolon_rustls::{ClientAuthRecord, ClientConfigs, client_identity_from_pem};
use symbolon_types::{ClientIdentity, Context, Env, ServerAuth};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::openssl::{KINDS, OpenSsl};
use crate::server::{ClientCertificates, Handshake, ServerOptions, VERSIONS};

/// Sends a request to a port of localhost. Returns the response.
async fn get(port: u16, root: &[u8], identity: &ClientIdentity) -> String {
    let configs = ClientConfigs::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates_pem(root)
        .build()
        .unwrap();
    let client = configs.client(Some(identity), &ServerAuth::Roots).await.unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, 443, stream, &ClientAuthRecord::default()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    // The test server keeps the connection open.
    while let Ok(byte) = stream.read_u8().await {
        response.push(byte);
        if response.ends_with(b"hello") {
            break;
        }
    }
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn loaded_identity_is_presented() {
    let authority = Authority::new();
    let (certificate, key) = authority.server(&["client.example"]);
    let PrivateKeyDer::Pkcs8(key) = key else { panic!("not PKCS#8") };
    let pem = [("CERTIFICATE", certificate.as_ref()), ("PRIVATE KEY", key.secret_pkcs8_der())]
        .map(|(label, der)| block(label, der))
        .concat();
    let identity = client_identity_from_pem(pem.as_bytes()).unwrap();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let root = authority.pem();
        let response = get(server.address().port(), root.as_bytes(), &identity).await;
        assert!(response.ends_with("hello"), "{version:?} {response}");
        let expected = Handshake { certificate: Some(identity.thumbprint()), is_resumed: false };
        assert_eq!(server.journal().handshakes, [expected]);
    }
}

fn block(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(der))
}

/// An `openssl s_server` that trusts the root only, so the client must present the intermediate.
struct Server {
    port: u16,
    child: Child,
    /// The process exits if its output is not read.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(openssl: &OpenSsl, version: &str) -> Self {
        let mut child = openssl
            .command(&format!(
                "s_server -accept 127.0.0.1:0 -www {version} -cert server.pem -key server.key \
                 -CAfile root.pem -Verify 2 -verify_return_error"
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "openssl ended");
            if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
                break address.rsplit_once(':').unwrap().1.parse().unwrap();
            }
        };
        Self { port, child, _output: output }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test]
async fn openssl_accepts_loaded_identity() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.issue(KINDS[1].0, "server", "server", "root");
    let [intermediate, root] = openssl.authorities();
    for (generate, _) in KINDS {
        let client = openssl.client(generate);
        let pem = [intermediate.clone(), client.key, client.certificate].concat();
        let identity = client_identity_from_pem(&pem).unwrap();
        for version in ["-tls1_2", "-tls1_3"] {
            let server = Server::start(&openssl, version);
            let page = get(server.port, &root, &identity).await;
            assert!(
                page.contains("CN=client") || page.contains("CN = client"),
                "{version} {generate} {page}"
            );
        }
    }
}
