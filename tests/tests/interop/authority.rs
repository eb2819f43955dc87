//! A certificate authority of OpenSSL that signs any request.

use std::fs;
use std::path::Path;
use std::process::Command;

use symbolon_types::ClientIdentity;
use symbolon_types::pki_types::CertificateDer;

use crate::keys::Requested;

/// A folder with `ca.pem`, `ca.key`, `server.pem` and `server.key`.
pub(crate) struct Authority<'f>(&'f Path);

/// The configuration of `req` and `x509`; that of the machine may add extensions.
const CONFIGURATION: &str = "
[req]
distinguished_name = name
[name]
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
";

impl<'f> Authority<'f> {
    pub(crate) fn new(folder: &'f Path) -> Self {
        fs::write(folder.join("openssl.cnf"), CONFIGURATION).unwrap();
        let authority = Self(folder);
        let new = "req -x509 -noenc -days 2 -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256";
        authority.openssl(&format!(
            "{new} -keyout ca.key -out ca.pem -subj /CN=authority -addext basicConstraints=critical,CA:TRUE"
        ));
        authority.openssl(&format!(
            "{new} -keyout server.key -out server.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost \
             -addext basicConstraints=CA:FALSE -CA ca.pem -CAkey ca.key"
        ));
        authority
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        fs::read(self.0.join("ca.pem")).unwrap()
    }

    /// The key with a certificate that OpenSSL issues from the request.
    pub(crate) fn certify(&self, requested: &Requested) -> ClientIdentity {
        fs::write(self.0.join("csr.der"), &requested.csr).unwrap();
        self.openssl(
            "x509 -req -inform DER -in csr.der -CA ca.pem -CAkey ca.key -days 2 \
             -extfile openssl.cnf -extensions client -outform DER -out issued.der",
        );
        let certificate = CertificateDer::from(fs::read(self.0.join("issued.der")).unwrap());
        ClientIdentity::new(vec![certificate], requested.key.clone()).unwrap()
    }

    /// Runs a command line without quoting.
    fn openssl(&self, command: &str) {
        let mut openssl = Command::new("openssl");
        let output = openssl.current_dir(self.0).args(command.split(' ')).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
