//! Programs of seven independent libraries that verify a certificate request.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64ct::{Base64, Encoding as _};
use symbolon_test_programs::find_program;
use tempfile::TempDir;

use crate::keys::{Algorithm, CLIENT, TENANT, VM};
use crate::python::interpreter;

/// A program, its arguments, and its output for a valid request.
pub(crate) struct Verifier {
    pub(crate) name: &'static str,
    pub(crate) prints: fn(Algorithm) -> Vec<String>,
    /// The program, or the name of the package to install.
    run: fn(&Path) -> Result<Run, String>,
}

/// Runs it on `csr.der` and `csr.pem` in its working directory. The request is valid if the program
/// succeeds and prints this text.
struct Run {
    command: Vec<String>,
    valid: &'static str,
}

pub(crate) struct Prepared {
    folder: TempDir,
    run: Run,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Valid(String),
    Refused(String),
}

pub(crate) const VERIFIERS: [Verifier; 7] = [
    Verifier { name: "OpenSSL", prints: openssl_prints, run: openssl },
    Verifier { name: "GnuTLS", prints: gnutls_prints, run: gnutls },
    Verifier { name: "NSS", prints: nothing, run: nss },
    Verifier { name: "Java", prints: java_prints, run: java },
    Verifier { name: "Go", prints: go_prints, run: go },
    Verifier { name: "Botan", prints: nothing, run: botan },
    Verifier { name: "Python's cryptography", prints: python_prints, run: python },
];

impl Verifier {
    pub(crate) fn prepare(&self) -> Result<Prepared, String> {
        let folder = tempfile::tempdir().unwrap();
        let run = (self.run)(folder.path())?;
        Ok(Prepared { folder, run })
    }
}

impl Prepared {
    pub(crate) fn ask(&self, csr: &[u8]) -> Verdict {
        fs::write(self.folder.path().join("csr.der"), csr).unwrap();
        let base64 = Base64::encode_string(csr);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let body = lines.join("\n");
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        fs::write(self.folder.path().join("csr.pem"), pem).unwrap();
        let output = run(self.folder.path(), &self.run.command);
        let printed = printed(&output);
        if output.status.success() && printed.contains(self.run.valid) {
            Verdict::Valid(printed)
        } else {
            Verdict::Refused(printed)
        }
    }
}

fn run(folder: &Path, command: &[String]) -> Output {
    let (program, arguments) = command.split_first().unwrap();
    Command::new(program).args(arguments).current_dir(folder).output().unwrap()
}

fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// The program with arguments separated by spaces.
fn command(program: &str, package: &str, arguments: &str) -> Result<Vec<String>, String> {
    let path = find_program(program).ok_or_else(|| format!("{program} (`apt-get install {package}`)"))?;
    Ok([path].into_iter().chain(arguments.split(' ').map(str::to_owned)).collect())
}

/// Runs a preparation.
fn once(folder: &Path, command: &[String]) {
    let output = run(folder, command);
    assert!(output.status.success(), "{command:?}: {}", printed(&output));
}

fn nothing(_: Algorithm) -> Vec<String> {
    Vec::new()
}

fn openssl(_: &Path) -> Result<Run, String> {
    let arguments = "req -inform DER -in csr.der -noout -verify -text -nameopt RFC2253";
    Ok(Run { command: command("openssl", "openssl", arguments)?, valid: "verify OK" })
}

fn openssl_prints(algorithm: Algorithm) -> Vec<String> {
    let mut facts = vec![
        format!("Subject: CN={CLIENT},DC={TENANT}"),
        "1.3.6.1.4.1.311.90.2.10".into(),
        format!("{{\"vmId\":\"{VM}\"}}"),
    ];
    facts.extend(
        match algorithm {
            Algorithm::Rsa2048 => ["Public-Key: (2048 bit)", "rsassaPss", "Salt Length: 0x20"],
            Algorithm::P256 => ["Public-Key: (256 bit)", "NIST CURVE: P-256", "ecdsa-with-SHA256"],
        }
        .map(String::from),
    );
    facts
}

/// It prints the result and always succeeds.
fn gnutls(_: &Path) -> Result<Run, String> {
    let command = command("certtool", "gnutls-bin", "--crq-info --inder --infile csr.der")?;
    Ok(Run { command, valid: "Self signature: verified" })
}

fn gnutls_prints(algorithm: Algorithm) -> Vec<String> {
    let signature = match algorithm {
        Algorithm::Rsa2048 => "RSA-PSS-SHA256",
        Algorithm::P256 => "ECDSA-SHA256",
    };
    vec![format!("CN={CLIENT}"), format!("DC={TENANT}"), signature.into()]
}

/// `certutil` issues a certificate for the request after verifying it.
fn nss(folder: &Path) -> Result<Run, String> {
    let certutil = |arguments: &str| command("certutil", "libnss3-tools", arguments);
    let issue = certutil("-C -d sql:. -c authority -i csr.der -o issued -m 77 -v 1")?;
    fs::write(folder.join("noise"), [0x5a; 64]).unwrap();
    once(folder, &certutil("-N -d sql:. --empty-password")?);
    once(
        folder,
        &certutil("-S -d sql:. -n authority -s CN=authority -x -t C,C,C -k ec -q nistp256 -m 1 -z noise")?,
    );
    Ok(Run { command: issue, valid: "" })
}

/// It verifies the signature on reading.
fn java(_: &Path) -> Result<Run, String> {
    let command =
        command("keytool", "default-jre-headless", "-J-Duser.language=en -printcertreq -v -file csr.pem")?;
    Ok(Run { command, valid: "Certificate Request" })
}

fn java_prints(algorithm: Algorithm) -> Vec<String> {
    let key = match algorithm {
        Algorithm::Rsa2048 => "2048-bit RSA",
        Algorithm::P256 => "256-bit EC",
    };
    vec![format!("CN={CLIENT}, DC={TENANT}"), key.into()]
}

const GO: &str = r#"package main

import (
	"crypto/x509"
	"fmt"
	"os"
)

func main() {
	der, err := os.ReadFile("csr.der")
	if err != nil {
		panic(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		panic(err)
	}
	if err := request.CheckSignature(); err != nil {
		panic(err)
	}
	fmt.Println("holds", request.Subject.CommonName, request.SignatureAlgorithm)
}
"#;

fn go(folder: &Path) -> Result<Run, String> {
    let build = command("go", "golang-go", "build -o verify verify.go")?;
    fs::write(folder.join("verify.go"), GO).unwrap();
    // It requires a cache directory.
    let cache = ["env".into(), format!("GOCACHE={}", folder.join("cache").display())];
    once(folder, &[&cache[..], &build].concat());
    Ok(Run { command: vec!["./verify".into()], valid: "holds" })
}

fn go_prints(algorithm: Algorithm) -> Vec<String> {
    let signature = match algorithm {
        Algorithm::Rsa2048 => "SHA256-RSAPSS",
        Algorithm::P256 => "ECDSA-SHA256",
    };
    vec![format!("{CLIENT} {signature}")]
}

/// It issues a certificate for the request after verifying it, and succeeds even if it could not.
fn botan(folder: &Path) -> Result<Run, String> {
    let botan = |arguments: &str| command("botan", "botan", arguments);
    let issue = botan("sign_cert authority.pem authority.key csr.der")?;
    once(folder, &botan("keygen --algo=ECDSA --params=secp256r1 --output=authority.key")?);
    once(folder, &botan("gen_self_signed --ca --output=authority.pem authority.key authority")?);
    Ok(Run { command: issue, valid: "BEGIN CERTIFICATE" })
}

/// Raises unless the signature holds.
const PYTHON: &str = "
from cryptography import x509
csr = x509.load_der_x509_csr(open('csr.der', 'rb').read())
assert csr.is_signature_valid
print('holds', csr.subject.rfc4514_string())
print(csr.signature_hash_algorithm.name, csr.signature_algorithm_oid.dotted_string)
print(csr.signature_algorithm_parameters.__class__.__name__)
";

fn python(folder: &Path) -> Result<Run, String> {
    fs::write(folder.join("verify.py"), PYTHON).unwrap();
    let python = interpreter()?;
    Ok(Run { command: vec![python, "verify.py".into()], valid: "holds" })
}

fn python_prints(algorithm: Algorithm) -> Vec<String> {
    let signature = match algorithm {
        Algorithm::Rsa2048 => "sha256 1.2.840.113549.1.1.10\nPSS",
        Algorithm::P256 => "sha256 1.2.840.10045.4.3.2\nECDSA",
    };
    vec![format!("CN={CLIENT},DC={TENANT}\n{signature}")]
}
