//! Signing keys as OpenSSL sees them.

use std::cell::{Cell, RefCell};

use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey};
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey as _};

/// Schemes with their code points and their names (RFC 8446 §4.2.3).
const SCHEMES: [(SignatureScheme, u16, &str); 8] = [
    (SignatureScheme::RsaPssSha256, 0x0804, "rsa_pss_rsae_sha256"),
    (SignatureScheme::RsaPssSha384, 0x0805, "rsa_pss_rsae_sha384"),
    (SignatureScheme::RsaPssSha512, 0x0806, "rsa_pss_rsae_sha512"),
    (SignatureScheme::RsaPkcs1Sha256, 0x0401, "rsa_pkcs1_sha256"),
    (SignatureScheme::RsaPkcs1Sha384, 0x0501, "rsa_pkcs1_sha384"),
    (SignatureScheme::RsaPkcs1Sha512, 0x0601, "rsa_pkcs1_sha512"),
    (SignatureScheme::EcdsaP256Sha256, 0x0403, "ecdsa_secp256r1_sha256"),
    (SignatureScheme::EcdsaP384Sha384, 0x0503, "ecdsa_secp384r1_sha384"),
];

thread_local! {
    /// The flags of the signatures on this thread. Unlike the error they have no destructor, so
    /// that reading them costs nothing.
    static FLAGS: Cell<SignatureFlags> = const { Cell::new(SignatureFlags { has_signed: false, has_failed: false }) };
    /// The error of the last signature that failed.
    static SIGNING_ERROR: RefCell<Option<SigningError>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, Debug, Default)]
struct SignatureFlags {
    has_signed: bool,
    has_failed: bool,
}

/// The signatures that an operation of OpenSSL has made.
#[derive(Debug)]
pub(crate) struct Signatures {
    pub(crate) has_signed: bool,
    pub(crate) error: Option<SigningError>,
}

/// Runs an operation of OpenSSL, and returns the signatures that it has made on this thread. It may
/// contain another one: that of the connection to a proxy.
pub(crate) fn observe_signatures<T>(operation: impl FnOnce() -> T) -> (T, Signatures) {
    let outer = FLAGS.take();
    let outer_error = outer.has_failed.then(|| SIGNING_ERROR.take()).flatten();
    let output = operation();
    let inner = FLAGS.replace(outer);
    let error = inner.has_failed.then(|| SIGNING_ERROR.take()).flatten();
    if outer.has_failed {
        SIGNING_ERROR.set(outer_error);
    }
    (output, Signatures { has_signed: inner.has_signed, error })
}

/// Records the error of a signature for [`observe_signatures`].
pub(crate) fn set_signing_error(error: SigningError) {
    FLAGS.set(SignatureFlags { has_failed: true, ..FLAGS.get() });
    SIGNING_ERROR.set(Some(error));
}

/// A signing key and its public parts.
#[derive(Debug)]
pub(crate) struct OpensslKey {
    pub(crate) key: SharedSigningKey,
    pub(crate) public: PublicParts,
    pub(crate) bits: i32,
    pub(crate) security_bits: i32,
    pub(crate) max_size: i32,
}

/// The public parts of a key, as OpenSSL compares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicParts {
    /// Modulus and exponent, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The name of the curve and the uncompressed point.
    Ec { group: String, point: Vec<u8> },
}

/// The error of a key that OpenSSL cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the public key cannot be used with OpenSSL")]
    OpenSsl(#[from] ErrorStack),
    #[error("keys other than RSA and ECDSA on P-256 or P-384 are not supported with OpenSSL")]
    Kind,
}

impl OpensslKey {
    pub(crate) fn new(key: SharedSigningKey) -> Result<Self, KeyError> {
        let public = PKey::public_key_from_der(key.public_key())?;
        let parts = match public.id() {
            Id::RSA => {
                let rsa = public.rsa()?;
                PublicParts::Rsa { n: rsa.n().to_vec(), e: rsa.e().to_vec() }
            }
            Id::EC => {
                let ec = public.ec_key()?;
                let group = ec.group().curve_name().and_then(|name| name.short_name().ok());
                let mut context = openssl::bn::BigNumContext::new()?;
                let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
                let point = ec.public_key().to_bytes(ec.group(), form, &mut context)?;
                PublicParts::Ec { group: group.ok_or(KeyError::Kind)?.to_owned(), point }
            }
            _ => return Err(KeyError::Kind),
        };
        let int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let (bits, security_bits) = (int(public.bits()), int(public.security_bits()));
        let max_size = i32::try_from(public.size()).unwrap_or(i32::MAX);
        Ok(Self { key, public: parts, bits, security_bits, max_size })
    }

    /// Returns the schemes of the key in the form of `SSL_CTX_set1_client_sigalgs_list`.
    pub(crate) fn scheme_names(&self) -> String {
        let names = self.key.schemes().iter().filter_map(|scheme| {
            SCHEMES.iter().find(|(known, ..)| known == scheme).map(|(_, _, name)| *name)
        });
        names.collect::<Vec<_>>().join(":")
    }

    /// Returns true if the key supports a scheme among these code points. With TLS 1.3, those of
    /// PKCS#1 are for certificates only (RFC 8446 §4.2.3).
    pub(crate) fn supports_any(&self, offered: &[u16], is_tls13: bool) -> bool {
        use SignatureScheme as Scheme;
        let is_pkcs1 = |scheme: &Scheme| {
            matches!(scheme, Scheme::RsaPkcs1Sha256 | Scheme::RsaPkcs1Sha384 | Scheme::RsaPkcs1Sha512)
        };
        let is_usable =
            |scheme: &Scheme| self.key.schemes().contains(scheme) && !(is_tls13 && is_pkcs1(scheme));
        SCHEMES.iter().any(|(scheme, point, _)| offered.contains(point) && is_usable(scheme))
    }

    /// Signs a message, or records the error for [`observe_signatures`].
    pub(crate) fn sign(&self, digest: Digest, is_pss: bool, message: &[u8]) -> Option<Vec<u8>> {
        let scheme = self.scheme(digest, is_pss);
        let signed = match scheme {
            Some(scheme) => self.key.sign(scheme, message),
            None => {
                Err(SigningError::failed("OpenSSL requested a signature scheme that the key does not have"))
            }
        };
        match signed {
            Ok(signature) => {
                FLAGS.set(SignatureFlags { has_signed: true, ..FLAGS.get() });
                Some(signature)
            }
            Err(error) => {
                set_signing_error(error);
                None
            }
        }
    }

    fn scheme(&self, digest: Digest, is_pss: bool) -> Option<SignatureScheme> {
        use SignatureScheme as Scheme;
        Some(match (&self.public, is_pss, digest) {
            (PublicParts::Rsa { .. }, true, Digest::Sha256) => Scheme::RsaPssSha256,
            (PublicParts::Rsa { .. }, true, Digest::Sha384) => Scheme::RsaPssSha384,
            (PublicParts::Rsa { .. }, true, Digest::Sha512) => Scheme::RsaPssSha512,
            (PublicParts::Rsa { .. }, false, Digest::Sha256) => Scheme::RsaPkcs1Sha256,
            (PublicParts::Rsa { .. }, false, Digest::Sha384) => Scheme::RsaPkcs1Sha384,
            (PublicParts::Rsa { .. }, false, Digest::Sha512) => Scheme::RsaPkcs1Sha512,
            (PublicParts::Ec { .. }, _, Digest::Sha256) => Scheme::EcdsaP256Sha256,
            (PublicParts::Ec { .. }, _, Digest::Sha384) => Scheme::EcdsaP384Sha384,
            (PublicParts::Ec { .. }, _, Digest::Sha512) => return None,
        })
    }
}

/// A digest of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// Returns the digest that OpenSSL names, such as `SHA256` or `SHA2-256`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA256" | "SHA2-256" | "SHA-256" => Some(Self::Sha256),
            "SHA384" | "SHA2-384" | "SHA-384" => Some(Self::Sha384),
            "SHA512" | "SHA2-512" | "SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }
}
