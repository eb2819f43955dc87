//! The `openssl` command with a certificate authority.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Options that generate a key, and the number of schemes it signs with.
pub(crate) const KINDS: [(&str, usize); 3] = [
    ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", 6),
    ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", 1),
    ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", 1),
];

/// The configuration of `req` and `x509`.
const EXTENSIONS: &str = "
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
";

/// A folder with a root and an intermediate authority, in which commands run.
pub(crate) struct OpenSsl(TempDir);

/// A key and its certificate in PEM, also in `NAME.key` and `NAME.pem`.
pub(crate) struct Pair {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl OpenSsl {
    /// Returns `None` if openssl is not installed.
    pub(crate) fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            println!("skipped: there is no openssl on this machine");
            return None;
        }
        let openssl = Self(tempfile::tempdir().unwrap());
        openssl.write("extensions", EXTENSIONS.as_bytes());
        openssl.run(&format!("{} -out root.key", KINDS[1].0));
        openssl.run("req -x509 -config extensions -extensions authority -key root.key -subj /CN=root -days 30 -out root.pem");
        openssl.issue(KINDS[1].0, "intermediate", "authority", "root");
        Some(openssl)
    }

    /// Runs a command, given as words separated by spaces. Returns its output.
    pub(crate) fn run(&self, command: &str) -> Vec<u8> {
        let output = self.command(command).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(self.folder()).args(command.split(' '));
        openssl
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder().join(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder().join(name)).unwrap()
    }

    /// Creates a key and a certificate of the intermediate authority for it.
    pub(crate) fn client(&self, generate: &str) -> Pair {
        self.issue(generate, "client", "client", "intermediate")
    }

    /// Creates a key and a certificate for it.
    pub(crate) fn issue(&self, generate: &str, name: &str, extensions: &str, issuer: &str) -> Pair {
        self.run(&format!("{generate} -out {name}.key"));
        self.run(&format!("req -new -config extensions -key {name}.key -subj /CN={name} -out {name}.csr"));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 30 \
             -extfile extensions -extensions {extensions} -out {name}.pem"
        ));
        Pair { certificate: self.read(&format!("{name}.pem")), key: self.read(&format!("{name}.key")) }
    }

    /// Returns the certificates above the leaf: the intermediate, then the root.
    pub(crate) fn authorities(&self) -> [Vec<u8>; 2] {
        [self.read("intermediate.pem"), self.read("root.pem")]
    }

    /// Returns the certificate in DER.
    pub(crate) fn der(&self, pem: &[u8]) -> Vec<u8> {
        self.write("certificate", pem);
        self.run("x509 -in certificate -outform DER")
    }
}
