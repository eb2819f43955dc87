//! Why a client identity cannot be loaded.

use std::error::Error;
use std::sync::Arc;

/// Why a client identity cannot be loaded. Says what is wrong and where, never what was read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A block of the PEM text has no end, or what it holds is not base64.
    #[error("block {position} of the PEM text is malformed; copy the whole text again, unchanged")]
    MalformedBlock {
        /// Its place among the blocks, counted from 1.
        position: usize,
    },
    /// What should be PKCS#12 is not.
    #[error(
        "the file is not PKCS#12 in DER; export it again, decode it first if it is base64, or load it as PEM if it is that"
    )]
    MalformedPkcs12,
    /// There is no certificate.
    #[error("there is no certificate; add the one that is for the private key")]
    NoCertificate,
    /// A certificate is not one X.509 certificate in DER.
    #[error("certificate {position} is not an X.509 certificate; export it again")]
    MalformedCertificate {
        /// Its place among the certificates, counted from 1.
        position: usize,
    },
    /// There is no private key.
    #[error("there is no private key; add the one that the certificate is for")]
    NoPrivateKey,
    /// There is more than one private key.
    #[error("there are several private keys; leave only the one that the certificate is for")]
    SeveralPrivateKeys,
    /// The private key is malformed, or of a kind that cannot be used; the source says more.
    #[error(
        "the private key cannot be used; give RSA of at least 2048 bits or ECDSA on P-256 or P-384, in PKCS#8, PKCS#1 or SEC1"
    )]
    UnusableKey(#[source] Arc<dyn Error + Send + Sync>),
    /// None of the certificates is for the private key.
    #[error("none of the certificates is for the private key; give the two that belong together")]
    KeyMismatch,
    /// The private key is encrypted, and no passphrase was given.
    #[error(
        "the private key is encrypted; give its passphrase (feature `encrypted-keys`) or decrypt it first"
    )]
    PassphraseRequired,
    /// The passphrase is not the one that the key or the file was encrypted with.
    #[error("the passphrase is wrong; give the one that was used for encryption")]
    WrongPassphrase,
    /// The encryption or the MAC is of another kind, or asks for too much work.
    #[error("the encryption is not supported; encrypt again with PBES2, as OpenSSL 3 does by default")]
    UnsupportedEncryption,
}

impl LoadError {
    pub(super) fn unusable_key(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::UnusableKey(Arc::from(cause.into()))
    }
}
