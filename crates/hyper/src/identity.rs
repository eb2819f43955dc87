//! Client identities from files: a certificate together with its key.

mod error;
mod pem;
mod software_key;

#[cfg(feature = "encrypted-keys")]
mod pbes2;
#[cfg(feature = "pkcs12")]
mod pkcs12;

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
#[cfg(feature = "encrypted-keys")]
use symbolon_types::Secret;
use symbolon_types::{ClientIdentity, IdentityError, SharedSigningKey};
use zeroize::Zeroizing;

use pem::{Pem, PrivateKey};
use software_key::SoftwareKey;

pub use error::LoadError;

/// Reads a client identity from PEM: its certificate, the certificates above it, its private key.
///
/// As [`ClientIdentityLoader::load_pem`] with AWS-LC and no passphrase.
///
/// ```
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = symbolon_hyper::client_identity_from_pem(&std::fs::read("client.pem")?)?;
/// println!("tokens will be bound to {}", identity.thumbprint());
/// # Ok(()) }
/// ```
///
/// # Errors
/// See [`LoadError`].
pub fn client_identity_from_pem(pem: &[u8]) -> Result<ClientIdentity, LoadError> {
    ClientIdentityLoader::new().load_pem(pem)
}

/// Reads a client identity from a PKCS#12 file (`.pfx`, `.p12`).
///
/// As [`ClientIdentityLoader::load_pkcs12`] with AWS-LC. An empty passphrase fits files without
/// one, such as those that Azure Key Vault hands out.
///
/// ```
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_types::Secret;
///
/// let passphrase = Secret::new(std::fs::read_to_string("client.pfx.passphrase")?.trim_end());
/// let identity = symbolon_hyper::client_identity_from_pkcs12(&std::fs::read("client.pfx")?, &passphrase)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// See [`LoadError`].
#[cfg(feature = "pkcs12")]
pub fn client_identity_from_pkcs12(der: &[u8], passphrase: &Secret) -> Result<ClientIdentity, LoadError> {
    ClientIdentityLoader::new().passphrase(passphrase.clone()).load_pkcs12(der)
}

/// Reads client identities, with the crypto provider and the passphrase of your choice.
///
/// What it makes signs TLS handshakes and whatever else its
/// [`key`](ClientIdentity::key) is asked to sign, such as the assertion of `private_key_jwt`
/// (RFC 7523 §3). The keys are RSA of 2048 bits or more, or ECDSA on P-256 or P-384. They are
/// [`Strength::Software`](symbolon_types::Strength::Software); the provider holds them, and
/// every copy that is made on the way to it is overwritten.
///
/// ```
/// use symbolon_hyper::{ClientIdentityLoader, CryptoProvider};
///
/// # fn example(your_provider: &CryptoProvider) -> Result<(), Box<dyn std::error::Error>> {
/// let loader = ClientIdentityLoader::new().crypto_provider(your_provider);
/// let identity = loader.load_pem(&std::fs::read("client.pem")?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientIdentityLoader {
    keys: &'static dyn KeyProvider,
    #[cfg(feature = "encrypted-keys")]
    passphrase: Option<Secret>,
}

impl ClientIdentityLoader {
    /// Keys by AWS-LC, and no passphrase.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: aws_lc_rs::default_provider().key_provider,
            #[cfg(feature = "encrypted-keys")]
            passphrase: None,
        }
    }

    /// Reads private keys, and signs, with this provider. It is asked, never installed for the
    /// process.
    #[must_use]
    pub fn crypto_provider(mut self, provider: &CryptoProvider) -> Self {
        self.keys = provider.key_provider;
        self
    }

    /// What the private key, or the PKCS#12 file, is encrypted with. Not used for a key that is
    /// not encrypted.
    #[cfg(feature = "encrypted-keys")]
    #[must_use]
    pub fn passphrase(mut self, passphrase: Secret) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Reads PEM (RFC 7468): `CERTIFICATE` blocks and exactly one private key, in any order. For
    /// two files, give one after the other: `[certificates, key].join(&b'\n')`.
    ///
    /// The key is `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1), `EC PRIVATE KEY` (SEC1) or,
    /// with the feature `encrypted-keys`, `ENCRYPTED PRIVATE KEY` (PKCS#8 by PBES2: AES or Triple
    /// DES, PBKDF2 or scrypt). The first certificate that is for the key becomes the leaf; the
    /// others follow in the order they have. Other blocks and text between blocks are skipped.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_pem(&self, pem: &[u8]) -> Result<ClientIdentity, LoadError> {
        let Pem { certificates, key } = Pem::parse(pem)?;
        if certificates.is_empty() {
            return Err(LoadError::NoCertificate);
        }
        let key = match key.ok_or(LoadError::NoPrivateKey)? {
            PrivateKey::Plain(key) => key,
            PrivateKey::Encrypted(key) => self.decrypt(&key)?,
        };
        self.join(certificates, &key)
    }

    /// Reads PKCS#12 (RFC 7292), which must hold exactly one private key. Without a
    /// [`passphrase`](Self::passphrase), the empty one is tried.
    ///
    /// Certificates are arranged as by [`load_pem`](Self::load_pem). The file is encrypted by
    /// PBES2, as OpenSSL 3 does, by the older Triple DES or 40-bit RC2, or not at all; its MAC,
    /// if it has one, is HMAC with SHA-1 or SHA-2. Key Vault gives the file in base64: decode it
    /// first.
    ///
    /// # Errors
    /// See [`LoadError`].
    #[cfg(feature = "pkcs12")]
    pub fn load_pkcs12(&self, der: &[u8]) -> Result<ClientIdentity, LoadError> {
        let passphrase = self.passphrase.as_ref().map_or("", Secret::expose);
        let pkcs12::Contents { certificates, mut keys } = pkcs12::open(der, passphrase)?;
        let key = match (keys.pop(), keys.is_empty()) {
            (None, _) => return Err(LoadError::NoPrivateKey),
            (Some(_), false) => return Err(LoadError::SeveralPrivateKeys),
            (Some(key), true) => key,
        };
        self.join(certificates, &key)
    }

    /// Joins certificates and a private key that are decoded already. The certificates are
    /// arranged as by [`load_pem`](Self::load_pem).
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_der(
        &self,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ClientIdentity, LoadError> {
        self.join(certificates, &Zeroizing::new(key))
    }

    fn join(
        &self,
        mut certificates: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<ClientIdentity, LoadError> {
        let key = self.keys.load_private_key(key.clone_key()).map_err(LoadError::unusable_key)?;
        let key = SharedSigningKey::new(SoftwareKey::new(key)?);
        let leaf = leaf_among(&certificates, &key)?;
        if let Some(up_to_leaf) = certificates.get_mut(..=leaf) {
            up_to_leaf.rotate_right(1);
        }
        ClientIdentity::new(certificates, key).map_err(|error| refused(error, 0))
    }

    #[cfg(feature = "encrypted-keys")]
    fn decrypt(&self, key: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
        let passphrase = self.passphrase.as_ref().ok_or(LoadError::PassphraseRequired)?;
        pbes2::decrypt_key(key, passphrase)
    }

    #[cfg(not(feature = "encrypted-keys"))]
    fn decrypt(&self, _key: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
        Err(LoadError::PassphraseRequired)
    }
}

impl Default for ClientIdentityLoader {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of the first certificate that is for the key. All of them are looked at, so that a
/// malformed one is named by its own place.
fn leaf_among(certificates: &[CertificateDer<'static>], key: &SharedSigningKey) -> Result<usize, LoadError> {
    let mut leaf = None;
    for (place, certificate) in certificates.iter().enumerate() {
        match ClientIdentity::new(vec![certificate.clone()], key.clone()) {
            Ok(_) => leaf = leaf.or(Some(place)),
            Err(IdentityError::KeyMismatch) => {}
            Err(error) => return Err(refused(error, place)),
        }
    }
    match leaf {
        Some(place) => Ok(place),
        None if certificates.is_empty() => Err(LoadError::NoCertificate),
        None => Err(LoadError::KeyMismatch),
    }
}

/// `first` is the place of the first certificate that was looked at.
fn refused(error: IdentityError, first: usize) -> LoadError {
    match error {
        IdentityError::EmptyChain => LoadError::NoCertificate,
        IdentityError::MalformedCertificate { position } => {
            LoadError::MalformedCertificate { position: first + position + 1 }
        }
        IdentityError::KeyMismatch => LoadError::KeyMismatch,
        other => LoadError::unusable_key(other),
    }
}
