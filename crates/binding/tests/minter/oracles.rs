//! The certificate request as programs see it that nobody here wrote.

use std::io::Write;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use symbolon_binding::SoftwareKeys;

use crate::issuer::{CLIENT, House, TENANT, VM};

/// What a program says to an input; `None` when it is not on this machine.
fn ask(program: &str, arguments: &[&str], input: &[u8]) -> Option<(bool, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("SKIPPED: {program} is not on this machine");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Some((output.status.success(), text.concat()))
}

async fn csr_for(keys: SoftwareKeys) -> Vec<u8> {
    let house = House::with(|builder| builder.key_provider(keys)).await;
    house.minter.binding(&house.id, symbolon_types::CorrelationId::random()).await.unwrap();
    house.issuer.csrs().remove(0)
}

/// The same request with one bit of its last byte changed: of the signature.
fn forged(csr: &[u8]) -> Vec<u8> {
    let mut forged = csr.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    forged
}

#[tokio::test]
async fn openssl_reads_the_request_and_verifies_it() {
    for (keys, algorithms) in [
        (SoftwareKeys::rsa_2048(), &["Public-Key: (2048 bit)", "rsassaPss", "Salt Length: 0x20"][..]),
        (SoftwareKeys::p256(), &["NIST CURVE: P-256", "ecdsa-with-SHA256"]),
    ] {
        let csr = csr_for(keys).await;
        let arguments = ["req", "-inform", "DER", "-noout", "-verify", "-text", "-nameopt", "RFC2253"];
        let Some((_, text)) = ask("openssl", &arguments, &csr) else { return };
        assert!(text.contains("verify OK"), "{text}");
        let subject = format!("Subject: CN={CLIENT},DC={TENANT}");
        let compute_unit = format!("{{\"vmId\":\"{VM}\"}}");
        for said in algorithms.iter().copied().chain([&*subject, "1.3.6.1.4.1.311.90.2.10", &*compute_unit]) {
            assert!(text.contains(said), "openssl does not say `{said}`:\n{text}");
        }
        let (_, text) = ask("openssl", &arguments, &forged(&csr)).unwrap();
        assert!(!text.contains("verify OK"), "{text}");
    }
}

/// Raises unless the signature holds.
const PYTHON: &str = "
import sys
from cryptography import x509
csr = x509.load_der_x509_csr(sys.stdin.buffer.read())
assert csr.is_signature_valid
print(csr.subject.rfc4514_string())
print(csr.signature_hash_algorithm.name, csr.signature_algorithm_oid.dotted_string)
print(csr.signature_algorithm_parameters.__class__.__name__)
";

#[tokio::test]
async fn pythons_cryptography_reads_the_request_and_verifies_it() {
    let there = ask("python3", &["-c", "import cryptography"], b"");
    if !there.is_some_and(|(there, _)| there) {
        println!("SKIPPED: Python's cryptography is not on this machine");
        return;
    }
    for (keys, algorithm) in [
        (SoftwareKeys::rsa_2048(), "sha256 1.2.840.113549.1.1.10\nPSS"),
        (SoftwareKeys::p256(), "sha256 1.2.840.10045.4.3.2\nECDSA"),
    ] {
        let csr = csr_for(keys).await;
        let (holds, text) = ask("python3", &["-c", PYTHON], &csr).unwrap();
        assert!(holds, "{text}");
        assert_eq!(text.trim(), format!("CN={CLIENT},DC={TENANT}\n{algorithm}"));
        assert!(!ask("python3", &["-c", PYTHON], &forged(&csr)).unwrap().0);
    }
}

#[tokio::test]
async fn javas_keytool_reads_the_request() {
    for (keys, algorithm) in
        [(SoftwareKeys::rsa_2048(), "2048-bit RSA"), (SoftwareKeys::p256(), "256-bit EC")]
    {
        let csr = csr_for(keys).await;
        // It wants armour. It verifies the signature when it reads.
        let pem = |der: &[u8]| {
            let base64 = Base64::encode_string(der);
            let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            let body = lines.join("\n");
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
        };
        let Some((read, text)) = ask("keytool", &["-printcertreq", "-v"], pem(&csr).as_bytes()) else {
            return;
        };
        assert!(read, "{text}");
        for said in [format!("CN={CLIENT}, DC={TENANT}"), algorithm.into()] {
            assert!(text.contains(&said), "keytool does not say `{said}`:\n{text}");
        }
        assert!(!ask("keytool", &["-printcertreq"], pem(&forged(&csr)).as_bytes()).unwrap().0);
    }
}
