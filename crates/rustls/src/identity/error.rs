//! Errors of loading a client identity.

use std::error::Error;
use std::sync::Arc;

/// The error of loading a client identity. It names the problem and its position, never the
/// content.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("the file {path} cannot be read; check its path, and that the process may read it")]
    Unreadable {
        /// The path, with invisible characters escaped.
        path: String,
        /// The cause.
        source: Arc<std::io::Error>,
    },
    /// A PEM block has no end, or its content is not base64.
    #[error("block {position} of the PEM text is malformed; copy the whole text again, unchanged")]
    MalformedBlock {
        /// The position among the blocks, counted from 1.
        position: usize,
    },
    /// The input is not PKCS#12.
    #[error(
        "the file is not PKCS#12 in DER; export it again, decode it first if it is base64, or load it as PEM if it is that"
    )]
    MalformedPkcs12,
    /// The file has none of the supported formats.
    #[error(
        "there is no certificate: the file is neither PEM, nor PKCS#12, nor certificate and private key in DER; export it again"
    )]
    UnknownFormat,
    /// No certificate was given.
    #[error("there is no certificate; add the one that is for the private key")]
    NoCertificate,
    /// A certificate is not one X.509 certificate in DER.
    #[error("certificate {position} is not an X.509 certificate; export it again")]
    MalformedCertificate {
        /// The position among the certificates, counted from 1.
        position: usize,
    },
    /// No private key was given.
    #[error("there is no private key; add the one that the certificate is for")]
    NoPrivateKey,
    /// More than one private key was given.
    #[error("there are several private keys; leave only the one that the certificate is for")]
    SeveralPrivateKeys,
    /// The private key is malformed or its type is not supported; see the source.
    #[error(
        "the private key cannot be used; give RSA of at least 2048 bits or ECDSA on P-256 or P-384, in PKCS#8, PKCS#1 or SEC1"
    )]
    UnusableKey(#[source] Arc<dyn Error + Send + Sync>),
    /// The curve of the private key is given by its parameters, which RFC 5480 §2.1.1 forbids.
    #[error(
        "the curve of the private key is given by its parameters in place of its name; convert the key with `openssl ec -param_enc named_curve`, and create its certificate from the result"
    )]
    ExplicitCurve,
    /// No certificate belongs to the private key.
    #[error("none of the certificates is for the private key; give the two that belong together")]
    KeyMismatch,
    /// The private key is encrypted and no passphrase was given.
    #[error(
        "the private key is encrypted; give its passphrase (feature `encrypted-keys`) or decrypt it first"
    )]
    PassphraseRequired,
    /// The passphrase is wrong.
    #[error("the passphrase is wrong; give the one that was used for encryption")]
    WrongPassphrase,
    /// The encryption or the MAC is not supported.
    #[error("the encryption is not supported; encrypt again with PBES2, as OpenSSL 3 does by default")]
    UnsupportedEncryption,
    /// MAC and decryption of the file require too much work, or scrypt too much memory.
    #[error(
        "decryption requires more than 8,388,608 digests, or more than 64 MiB of memory; encrypt again with fewer iterations, such as the defaults of OpenSSL 3"
    )]
    ExcessiveWork,
    /// The file has too many parts.
    #[error("the PKCS#12 file has more than 8 safes; export the key and its certificates alone")]
    TooManySafes,
}

impl LoadError {
    pub(super) fn unusable_key(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::UnusableKey(Arc::from(cause.into()))
    }
}
