//! Interoperability with `openssl s_server`.

use std::process::Stdio;

use symbolon_transport::TransportErrorKind;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::authority::{Authority, NAMES};
use crate::keys::{ALGORITHMS, Algorithm};
use crate::{get, outcome, trusting};

struct OpenSsl {
    url: String,
    _files: tempfile::TempDir,
    /// Killed on drop; it exits if its output is not read.
    _child: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl OpenSsl {
    /// Starts a server that requires a certificate of the authority. Returns `None` if openssl is
    /// not installed.
    async fn start(authority: &Authority, arguments: &[&str]) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.server(&NAMES);
        for (name, content) in [
            ("ca.pem", authority.pem().into_bytes()),
            ("server.der", certificate.to_vec()),
            ("key.der", key.secret_der().to_vec()),
        ] {
            std::fs::write(files.path().join(name), content).unwrap();
        }
        let spawned = Command::new("openssl")
            .current_dir(files.path())
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", "server.der", "-certform", "DER", "-key", "key.der", "-keyform", "DER"])
            .args(["-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = spawned else {
            println!("skipped: there is no openssl on this machine");
            return None;
        };
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = output.next_line().await.unwrap().expect("openssl ended");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.rsplit_once(':').unwrap().1.to_owned();
            }
        };
        let url = format!("https://localhost:{port}/");
        Some(Self { url, _files: files, _child: child, _output: output })
    }
}

#[tokio::test]
async fn openssl_accepts_the_handshake() {
    let authority = Authority::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for algorithm in ALGORITHMS {
            let Some(server) = OpenSsl::start(&authority, &[version]).await else { return };
            let transport = trusting(&authority).build().unwrap();
            let identity = authority.identity(algorithm);
            let page = outcome(&transport, get(&server.url, Some(&identity))).await.unwrap();
            assert!(page.contains("Client certificate"), "{page}");
            assert!(page.contains("test client"), "{page}");
            // The second round resumes the session.
            let page = outcome(&transport, get(&server.url, Some(&identity))).await.unwrap();
            assert!(page.contains("Reused, TLS"), "{version} {algorithm:?} {page}");
        }
    }
}

#[tokio::test]
async fn openssl_gets_its_signature_scheme() {
    let authority = Authority::new();
    for (version, schemes, algorithm, expected) in [
        ("-tls1_2", "RSA+SHA256", Algorithm::Rsa2048, Ok(())),
        ("-tls1_2", "RSA+SHA384", Algorithm::Rsa2048, Ok(())),
        ("-tls1_2", "rsa_pss_rsae_sha256", Algorithm::Rsa2048, Ok(())),
        ("-tls1_3", "rsa_pss_rsae_sha384", Algorithm::Rsa2048, Ok(())),
        ("-tls1_3", "ECDSA+SHA256", Algorithm::P256, Ok(())),
        ("-tls1_3", "ECDSA+SHA256", Algorithm::Rsa2048, Err(TransportErrorKind::IdentityUnusable)),
    ] {
        let arguments = [version, "-client_sigalgs", schemes];
        let Some(server) = OpenSsl::start(&authority, &arguments).await else { return };
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(algorithm);
        let sent = outcome(&transport, get(&server.url, Some(&identity))).await;
        let recognized = sent.map(|page| assert!(page.contains("test client"), "{page}"));
        assert_eq!(recognized, expected, "{version} {schemes}");
    }
}

#[tokio::test]
async fn openssl_rejection_is_reported() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for version in ["-tls1_2", "-tls1_3"] {
        for algorithm in ALGORITHMS {
            let Some(server) = OpenSsl::start(&authority, &[version]).await else { return };
            let transport = trusting(&authority).build().unwrap();
            let identity = stranger.identity(algorithm);
            for _ in 0..20 {
                let sent = outcome(&transport, get(&server.url, Some(&identity))).await;
                assert_eq!(sent, Err(TransportErrorKind::IdentityRejected), "{version} {algorithm:?}");
            }
        }
    }
}
