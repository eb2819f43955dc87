//! Certificates made by OpenSSL, which shares no code with either side of the wire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_hyper::client_identity_from_pem;
use symbolon_types::ClientIdentity;
use symbolon_types::pki_types::PrivatePkcs8KeyDer;
use symbolon_types::pki_types::pem::PemObject as _;

/// An authority with its files in a folder: `ca.pem`, and `NAME.pem` and `NAME.key` of each
/// certificate.
pub(super) struct Authority {
    openssl: String,
    folder: PathBuf,
}

/// The algorithm of a key.
#[derive(Clone, Copy)]
pub(super) enum KeyKind {
    P256,
    Rsa2048,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Certified {
    /// The certificate.
    pub(crate) certificate_pem: String,
    /// The private key, PKCS#8.
    pub(crate) key_pem: String,
}

/// A configuration for `openssl req`; that of the machine may add extensions.
const CONFIGURATION: &str = "[req]\ndistinguished_name = subject\n[subject]\n";

impl Authority {
    pub(super) fn new(openssl: &str, folder: &Path) -> Self {
        fs::write(folder.join("openssl.cnf"), CONFIGURATION).expect("a file");
        let authority = Self { openssl: openssl.to_owned(), folder: folder.to_owned() };
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
        authority.certify("ca", KeyKind::P256, extensions, None);
        authority
    }

    /// The authority's own certificate.
    pub(super) fn certificate_pem(&self) -> String {
        fs::read_to_string(self.folder.join("ca.pem")).expect("the authority's certificate")
    }

    /// The certificate of a server on this machine: `server.pem`, `server.key`.
    pub(super) fn issue_server(&self) {
        let extensions = ["extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost"];
        self.certify("server", KeyKind::P256, extensions, Some("ca"));
    }

    /// Issues a certificate for a client of this name.
    pub(super) fn issue(&self, name: &str, kind: KeyKind) -> Certified {
        self.certify(name, kind, ["extendedKeyUsage=clientAuth", &names(name)], Some("ca"))
    }

    /// Issues a self-signed certificate for a client of this name.
    pub(super) fn self_signed(&self, name: &str, kind: KeyKind) -> Certified {
        self.certify(name, kind, ["extendedKeyUsage=clientAuth", &names(name)], None)
    }

    fn certify(&self, name: &str, kind: KeyKind, extensions: [&str; 2], issuer: Option<&str>) -> Certified {
        let file = |name: &str, ending: &str| self.folder.join(format!("{name}.{ending}"));
        let mut request = Command::new(&self.openssl);
        request.env_clear().args(["req", "-x509", "-noenc", "-days", "2"]);
        request.arg("-config").arg(file("openssl", "cnf"));
        request.arg("-subj").arg(format!("/CN={name}"));
        request.args(match kind {
            KeyKind::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
            KeyKind::Rsa2048 => &["-newkey", "rsa:2048"],
        });
        request.arg("-keyout").arg(file(name, "key")).arg("-out").arg(file(name, "pem"));
        request.args(extensions.iter().flat_map(|extension| ["-addext", extension]));
        if let Some(issuer) = issuer {
            request.arg("-CA").arg(file(issuer, "pem")).arg("-CAkey").arg(file(issuer, "key"));
        }
        let output = request.output().expect("openssl");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        let read = |ending| fs::read_to_string(file(name, ending)).expect("what openssl wrote");
        Certified { certificate_pem: read("pem"), key_pem: read("key") }
    }
}

/// The extension that names the client.
fn names(name: &str) -> String {
    format!("subjectAltName=DNS:{name}")
}

impl Certified {
    /// The private key in DER, PKCS#8.
    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("a private key")
    }

    /// Both, to present in a handshake.
    pub(crate) fn identity(&self) -> ClientIdentity {
        let pem = format!("{}{}", self.certificate_pem, self.key_pem);
        client_identity_from_pem(pem.as_bytes()).expect("a certificate for its key")
    }
}
