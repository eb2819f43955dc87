//! Verification of signatures by OpenSSL.

use std::fs;
use std::path::Path;
use std::process::Command;

use symbolon_types::{SharedSigningKey, SignatureScheme, SigningKey};

use crate::program::{find_program, missing};

/// Signs with every scheme of a key and verifies each signature with OpenSSL.
///
/// # Panics
/// If a signature is invalid.
pub fn verify_every_scheme(key: &SharedSigningKey, folder: &Path) {
    let Some(program) = find_program("openssl") else {
        missing("OpenSSL (`apt-get install openssl`)");
        return;
    };
    fs::write(folder.join("public.der"), key.public_key()).expect("a folder, a key and openssl");
    fs::write(folder.join("message"), b"a message").expect("a folder, a key and openssl");
    for &scheme in key.schemes() {
        use SignatureScheme as Scheme;
        let (digest, options): (_, &[&str]) = match scheme {
            Scheme::RsaPssSha256 => ("-sha256", &["rsa_padding_mode:pss", "rsa_pss_saltlen:32"]),
            Scheme::RsaPssSha384 => ("-sha384", &["rsa_padding_mode:pss", "rsa_pss_saltlen:48"]),
            Scheme::RsaPssSha512 => ("-sha512", &["rsa_padding_mode:pss", "rsa_pss_saltlen:64"]),
            Scheme::RsaPkcs1Sha256 | Scheme::EcdsaP256Sha256 => ("-sha256", &[]),
            Scheme::RsaPkcs1Sha384 => ("-sha384", &[]),
            Scheme::RsaPkcs1Sha512 => ("-sha512", &[]),
            other => panic!("{other:?}"),
        };
        fs::write(
            folder.join("signature"),
            key.sign(scheme, b"a message").expect("a folder, a key and openssl"),
        )
        .expect("a folder, a key and openssl");
        let mut openssl = Command::new(&program);
        openssl.current_dir(folder).args(["dgst", digest, "-keyform", "DER", "-verify", "public.der"]);
        openssl.args(options.iter().flat_map(|option| ["-sigopt", option]));
        let output = openssl
            .args(["-signature", "signature", "message"])
            .output()
            .expect("a folder, a key and openssl");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("Verified OK"), "{scheme:?}: {printed}");
    }
}
