//! PEM input.

use std::error::Error;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use symbolon_rustls::{ClientIdentityLoader, LoadError, client_identity_from_pem};
use symbolon_types::{ClientIdentity, Strength, Thumbprint};

use crate::openssl::{KINDS, OpenSsl};
use crate::refusal;

const P256: &str = KINDS[1].0;

fn chain(identity: &ClientIdentity) -> Vec<Vec<u8>> {
    identity.chain().iter().map(|certificate| certificate.to_vec()).collect()
}

#[test]
fn every_key_format_loads() {
    let Some(openssl) = OpenSsl::new() else { return };
    for (generate, schemes) in KINDS {
        let client = openssl.client(generate);
        let leaf = openssl.der(&client.certificate);
        let traditional = openssl.run("pkey -in client.key -traditional");
        let expected = if schemes == 1 { "BEGIN EC PRIVATE KEY" } else { "BEGIN RSA PRIVATE KEY" };
        assert!(String::from_utf8_lossy(&traditional).contains(expected));
        for key in [&client.key, &traditional] {
            let identity = client_identity_from_pem(&[&client.certificate, key.as_slice()].concat()).unwrap();
            assert_eq!(identity.thumbprint(), Thumbprint::of(&leaf));
            assert_eq!(identity.strength(), Strength::Software);
        }
    }
    assert!(CryptoProvider::get_default().is_none(), "something was installed for the process");
}

#[test]
fn leaf_is_moved_to_the_front() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(P256);
    let [intermediate, root] = openssl.authorities();
    let [leaf_der, intermediate_der, root_der] =
        [&client.certificate, &intermediate, &root].map(|pem| openssl.der(pem));
    let (key, leaf) = (&client.key, &client.certificate);
    let upwards = [&leaf_der, &intermediate_der, &root_der].map(Clone::clone);
    let downwards = [&leaf_der, &root_der, &intermediate_der].map(Clone::clone);
    for (blocks, expected) in [
        ([key, leaf, &intermediate, &root], &upwards),
        ([leaf, key, &intermediate, &root], &upwards),
        ([leaf, &intermediate, &root, key], &upwards),
        ([&intermediate, leaf, key, &root], &upwards),
        ([&intermediate, key, &root, leaf], &upwards),
        ([&root, &intermediate, leaf, key], &downwards),
    ] {
        let blocks: Vec<&[u8]> = blocks.map(Vec::as_slice).to_vec();
        assert_eq!(chain(&client_identity_from_pem(&blocks.concat()).unwrap()), *expected);
    }
}

#[test]
fn other_blocks_and_line_ends_are_skipped() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(P256);
    let whole = [client.certificate, client.key].concat();
    let expected = client_identity_from_pem(&whole).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let one_line_each = text
        .replace('\n', "")
        .replace("-----BEGIN", "\n-----BEGIN")
        .replace("-----END", "\n-----END")
        .replace("CERTIFICATE-----M", "CERTIFICATE-----\nM")
        .replace("PRIVATE KEY-----M", "PRIVATE KEY-----\nM");
    let parameters = openssl.run("ecparam -name prime256v1");
    for (what, pem) in [
        ("CRLF", text.replace('\n', "\r\n").into_bytes()),
        ("no last line end", text.trim_end().as_bytes().to_vec()),
        ("lines of any length", one_line_each.into_bytes()),
        ("indentation", text.replace('\n', "\n  ").into_bytes()),
        ("a byte order mark", format!("\u{feff}{text}").into_bytes()),
        ("text", format!("Bag Attributes\n  key: value\n{text}subject=CN = root\n").into_bytes()),
        ("curve parameters", [parameters, whole].concat()),
    ] {
        let loaded = client_identity_from_pem(&pem).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(loaded, expected, "{what}");
    }
}

#[test]
fn unusable_input_is_reported() {
    let Some(openssl) = OpenSsl::new() else { return };
    let other = openssl.issue(P256, "other", "client", "intermediate");
    let ed25519 = openssl.issue("genpkey -algorithm ED25519", "ed25519", "client", "intermediate");
    let small = openssl.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    let client = openssl.client(P256);
    let (certificate, key) = (&client.certificate, &client.key);
    let text = |pem: &[u8]| String::from_utf8(pem.to_vec()).unwrap();
    let encrypted = openssl.run("pkcs8 -topk8 -in client.key -passout pass:s3cr3t -v2 aes-256-cbc");
    let by_older_openssl = openssl.run("pkey -in client.key -traditional -aes-128-cbc -passout pass:s3cr3t");
    let openssh = text(key).replace("PRIVATE KEY", "OPENSSH PRIVATE KEY").into_bytes();
    let not_x509 = text(key).replace("PRIVATE KEY", "CERTIFICATE").into_bytes();
    let not_a_key = text(certificate).replace("CERTIFICATE", "PRIVATE KEY").into_bytes();
    let unfinished = text(key).replace("-----END", "----END").into_bytes();
    let not_base64 = text(key).replace("\nM", "\n*").into_bytes();
    let mislabelled = text(key).replace("END PRIVATE", "END EC PRIVATE").into_bytes();

    for (blocks, expected) in [
        (vec![], "NoCertificate"),
        (vec![key], "NoCertificate"),
        (vec![certificate], "NoPrivateKey"),
        (vec![certificate, key, key], "SeveralPrivateKeys"),
        (vec![key, certificate, &other.key], "SeveralPrivateKeys"),
        (vec![certificate, key, &encrypted], "SeveralPrivateKeys"),
        (vec![certificate, &other.key], "KeyMismatch"),
        (vec![certificate, &small], "UnusableKey"),
        (vec![&ed25519.certificate, &ed25519.key], "UnusableKey"),
        (vec![certificate, &openssh], "UnusableKey"),
        (vec![certificate, &not_a_key], "UnusableKey"),
        (vec![certificate, &encrypted], "PassphraseRequired"),
        (vec![certificate, &by_older_openssl], "UnsupportedEncryption"),
        (vec![certificate, &not_x509, key], "MalformedCertificate"),
        (vec![certificate, &unfinished], "MalformedBlock"),
        (vec![certificate, &unfinished, certificate], "MalformedBlock"),
        (vec![certificate, &not_base64], "MalformedBlock"),
        (vec![certificate, &mislabelled], "MalformedBlock"),
    ] {
        let loaded = client_identity_from_pem(&blocks.into_iter().flatten().copied().collect::<Vec<_>>());
        if let Err(LoadError::MalformedBlock { position } | LoadError::MalformedCertificate { position }) =
            loaded
        {
            assert_eq!(position, 2, "{expected}");
        }
        assert_eq!(refusal(loaded), expected);
    }
}

#[test]
fn errors_hide_the_input() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(P256);
    let other = openssl.issue(P256, "other", "client", "intermediate");
    let secret = String::from_utf8(client.key.clone()).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let key = String::from_utf8(client.key.clone()).unwrap();
    let broken = key.replace("-----END", &format!("{secret}=\n-----END")).into_bytes();
    let unknown = key.replace("PRIVATE KEY", "DSA PRIVATE KEY").into_bytes();
    for key in [client.key, broken, unknown] {
        let error = client_identity_from_pem(&[other.certificate.clone(), key].concat()).unwrap_err();
        let source = error.source().map(ToString::to_string);
        let shown = format!("{error} {error:?} {source:?}");
        for part in secret.as_bytes().chunks(8) {
            assert!(!shown.contains(str::from_utf8(part).unwrap()), "{shown}");
        }
    }
}

#[derive(Debug)]
struct Refusing;

impl KeyProvider for Refusing {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("not on this machine".to_owned()))
    }
}

#[test]
fn given_crypto_provider_loads_the_key() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(P256);
    let provider = CryptoProvider { key_provider: &Refusing, ..aws_lc_rs::default_provider() };
    let loader = ClientIdentityLoader::new().crypto_provider(&provider);
    let error = loader.load_pem(&[client.certificate, client.key].concat()).unwrap_err();
    let LoadError::UnusableKey(cause) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("not on this machine"), "{cause}");
}

#[test]
fn decoded_parts_are_ordered_alike() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(P256);
    let [intermediate, _] = openssl.authorities();
    let certificates = [&intermediate, &client.certificate].map(|pem| openssl.der(pem).into()).to_vec();
    let key = || PrivateKeyDer::from_pem_slice(&client.key).unwrap();
    let loader = ClientIdentityLoader::new();
    let identity = loader.load_der(certificates, key()).unwrap();
    assert_eq!(chain(&identity), [openssl.der(&client.certificate), openssl.der(&intermediate)]);
    assert_eq!(refusal(loader.load_der(Vec::new(), key())), "NoCertificate");
}
