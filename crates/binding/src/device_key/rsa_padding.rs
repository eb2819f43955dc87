//! Padding of RSA signatures (RFC 8017 §9).

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use symbolon_types::{SignatureScheme, SigningError};

use super::{algorithm, digest_info};

/// Pads the digest of a message with EMSA-PKCS1-v1_5 (RFC 8017 §9.2).
///
/// # Errors
/// [`SigningError::UnsupportedScheme`] for a scheme with another padding; `Failed` for a modulus
/// that is too short.
pub fn emsa_pkcs1_v1_5(
    scheme: SignatureScheme,
    message: &[u8],
    modulus_bytes: usize,
) -> Result<Vec<u8>, SigningError> {
    let info = digest_info(scheme, message)?;
    // At least eight bytes of padding.
    let padding = modulus_bytes.checked_sub(info.len() + 3).filter(|length| *length >= 8);
    let padding = padding.ok_or_else(|| SigningError::failed("the key is too short for this scheme"))?;
    Ok([&[0, 1][..], &vec![0xff; padding], &[0], &info].concat())
}

/// Pads the digest of a message with EMSA-PSS (RFC 8017 §9.1.1) and MGF1, both with the digest of
/// the scheme and a salt of the same length, as TLS 1.3 requires (RFC 8446 §4.2.3). The highest bit
/// of the modulus must be set.
///
/// # Errors
/// [`SigningError::UnsupportedScheme`] for a scheme with another padding; `Failed` for a modulus
/// that is too short, or when the random number source fails.
pub fn emsa_pss(
    scheme: SignatureScheme,
    message: &[u8],
    modulus_bytes: usize,
) -> Result<Vec<u8>, SigningError> {
    if !matches!(
        scheme,
        SignatureScheme::RsaPssSha256 | SignatureScheme::RsaPssSha384 | SignatureScheme::RsaPssSha512
    ) {
        return Err(SigningError::UnsupportedScheme(scheme));
    }
    let algorithm = algorithm(scheme)?;
    let hash_length = algorithm.output_len();
    let padding = modulus_bytes.checked_sub(2 * hash_length + 2);
    let padding = padding.ok_or_else(|| SigningError::failed("the key is too short for this scheme"))?;
    let mut salt = vec![0; hash_length];
    SystemRandom::new().fill(&mut salt).map_err(SigningError::failed)?;

    let hash = |parts: &[&[u8]]| digest::digest(algorithm, &parts.concat());
    let message_hash = hash(&[message]);
    let hashed = hash(&[&[0; 8], message_hash.as_ref(), &salt]);
    let mut masked = [&vec![0; padding][..], &[1], &salt].concat();
    // MGF1 (RFC 8017 §B.2.1).
    let mask = (0_u32..).flat_map(|counter| {
        let block = hash(&[hashed.as_ref(), &counter.to_be_bytes()]);
        block.as_ref().to_vec()
    });
    for (byte, mask) in masked.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    // The result has one bit less than the modulus.
    if let Some(first) = masked.first_mut() {
        *first &= 0x7f;
    }
    Ok([&masked[..], hashed.as_ref(), &[0xbc]].concat())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    const SCHEMES: [(SignatureScheme, &dyn VerificationAlgorithm); 6] = [
        (SignatureScheme::RsaPssSha256, &signature::RSA_PSS_2048_8192_SHA256),
        (SignatureScheme::RsaPssSha384, &signature::RSA_PSS_2048_8192_SHA384),
        (SignatureScheme::RsaPssSha512, &signature::RSA_PSS_2048_8192_SHA512),
        (SignatureScheme::RsaPkcs1Sha256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (SignatureScheme::RsaPkcs1Sha384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (SignatureScheme::RsaPkcs1Sha512, &signature::RSA_PKCS1_2048_8192_SHA512),
    ];

    fn pad(scheme: SignatureScheme, message: &[u8], modulus_bytes: usize) -> Result<Vec<u8>, SigningError> {
        emsa_pss(scheme, message, modulus_bytes).or_else(|_| emsa_pkcs1_v1_5(scheme, message, modulus_bytes))
    }

    #[test]
    fn padded_messages_verify() {
        for (size, bytes) in [(KeySize::Rsa2048, 256), (KeySize::Rsa3072, 384)] {
            let pair = KeyPair::generate(size).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            std::fs::write(folder.path().join("key"), pkcs8.as_ref()).unwrap();
            for (scheme, verifier) in SCHEMES {
                std::fs::write(folder.path().join("padded"), pad(scheme, b"message", bytes).unwrap())
                    .unwrap();
                let mut openssl = Command::new("openssl");
                openssl.current_dir(folder.path()).args(["pkeyutl", "-decrypt", "-in", "padded"]);
                openssl.args(["-inkey", "key", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:none"]);
                let Ok(output) = openssl.output() else {
                    println!("skipped: openssl is not installed");
                    return;
                };
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let public = UnparsedPublicKey::new(verifier, pair.public_key().as_ref());
                assert!(public.verify(b"message", &output.stdout).is_ok(), "{scheme:?} {bytes}");
            }
        }
    }

    #[test]
    fn short_modulus_is_refused() {
        for (scheme, shortest) in [
            (SignatureScheme::RsaPssSha256, 2 * 32 + 2),
            (SignatureScheme::RsaPssSha512, 2 * 64 + 2),
            (SignatureScheme::RsaPkcs1Sha256, 19 + 32 + 11),
            (SignatureScheme::RsaPkcs1Sha512, 19 + 64 + 11),
        ] {
            assert_eq!(pad(scheme, b"", shortest).unwrap().len(), shortest);
            assert!(pad(scheme, b"", shortest - 1).is_err(), "{scheme:?}");
        }
        let foreign = SignatureScheme::EcdsaP256Sha256;
        for refused in [emsa_pss(foreign, b"", 256), emsa_pkcs1_v1_5(foreign, b"", 256)] {
            assert!(matches!(refused, Err(SigningError::UnsupportedScheme(scheme)) if scheme == foreign));
        }
    }
}
