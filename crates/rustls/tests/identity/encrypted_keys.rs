//! Encrypted private keys in PEM.

use symbolon_rustls::{ClientIdentityLoader, client_identity_from_pem};
use symbolon_types::Secret;

use crate::openssl::{KINDS, OpenSsl};
use crate::refusal;

fn with(passphrase: &str) -> ClientIdentityLoader {
    ClientIdentityLoader::new().passphrase(Secret::new(passphrase))
}

#[test]
fn encrypted_keys_load_with_passphrase() {
    let Some(openssl) = OpenSsl::new() else { return };
    let [rsa, p256, p384] = KINDS.map(|(generate, _)| generate);
    for (generate, cipher) in [
        (rsa, "-v2 aes-256-cbc"),
        (p256, "-v2 aes-256-cbc"),
        (p384, "-v2 aes-256-cbc"),
        (p256, "-v2 aes-128-cbc -v2prf hmacWithSHA512"),
        (p256, "-v2 des3"),
        (p256, "-v2 des3 -v2prf hmacWithSHA1"),
        (p256, "-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 1"),
    ] {
        let client = openssl.client(generate);
        let plain = client_identity_from_pem(&[client.certificate.clone(), client.key].concat()).unwrap();
        let key = openssl.run(&format!("pkcs8 -topk8 -in client.key -passout pass:s3cr3t-é {cipher}"));
        assert!(String::from_utf8_lossy(&key).contains("BEGIN ENCRYPTED PRIVATE KEY"));
        let pem = [client.certificate, key].concat();
        assert_eq!(with("s3cr3t-é").load_pem(&pem).unwrap(), plain, "{cipher}");
        assert_eq!(refusal(with("s3cr3t").load_pem(&pem)), "WrongPassphrase", "{cipher}");
        assert_eq!(refusal(client_identity_from_pem(&pem)), "PassphraseRequired", "{cipher}");
    }
}

#[test]
fn plain_key_ignores_the_passphrase() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(KINDS[1].0);
    with("s3cr3t").load_pem(&[client.certificate, client.key].concat()).unwrap();
}

#[test]
fn wrong_passphrase_is_detected() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(KINDS[1].0);
    let key = openssl.run("pkcs8 -topk8 -in client.key -passout pass:s3cr3t -v2 aes-256-cbc -iter 1");
    let pem = [client.certificate, key].concat();
    // The padding of garbage is well-formed once in 256 times.
    for number in 0..2000 {
        assert_eq!(refusal(with(&number.to_string()).load_pem(&pem)), "WrongPassphrase", "{number}");
    }
}

#[test]
fn unsupported_encryption_is_reported() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(KINDS[1].0);
    let older = openssl.run("pkcs8 -topk8 -in client.key -passout pass:s3cr3t -v1 PBE-SHA1-3DES");
    let no_key = String::from_utf8(client.key).unwrap().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (key, expected) in [(older, "UnsupportedEncryption"), (no_key.into_bytes(), "UnusableKey")] {
        let loaded = with("s3cr3t").load_pem(&[client.certificate.clone(), key].concat());
        assert_eq!(refusal(loaded), expected);
    }
}

#[test]
fn excessive_work_is_refused() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(KINDS[1].0);
    for kdf in [
        "-v2 aes-256-cbc -iter 4200000",
        "-v2 aes-256-cbc -v2prf hmacWithSHA1 -iter 2100000",
        "-scrypt -scrypt_N 16384 -scrypt_r 8 -scrypt_p 17",
    ] {
        let key = openssl.run(&format!("pkcs8 -topk8 -in client.key -passout pass:s3cr3t {kdf}"));
        let loaded = with("s3cr3t").load_pem(&[client.certificate.clone(), key].concat());
        assert_eq!(refusal(loaded), "ExcessiveWork", "{kdf}");
    }
}

#[test]
fn debug_hides_the_passphrase() {
    let shown = format!("{:?}", with("s3cr3t"));
    assert!(shown.contains("Secret(redacted)") && !shown.contains("s3cr3t"), "{shown}");
}
