//! Client identities from PEM and PKCS#12.

#[cfg(feature = "pkcs12")]
mod der;
mod error;
mod files;
mod pem;
mod software_key;

#[cfg(feature = "encrypted-keys")]
mod pbes2;
#[cfg(feature = "pkcs12")]
mod pkcs12;
#[cfg(feature = "encrypted-keys")]
mod work_budget;

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
#[cfg(feature = "encrypted-keys")]
use symbolon_types::Secret;
use symbolon_types::{ClientIdentity, IdentityError, SharedSigningKey};
use zeroize::Zeroizing;

use pem::{KeyMaterial, PrivateKey};

#[cfg(feature = "pkcs12")]
use crate::pem_text::{PemBlocks, decode_base64, decode_utf16};
use software_key::SoftwareKey;

pub use error::LoadError;

/// The tag of a SEQUENCE in DER.
#[cfg(feature = "pkcs12")]
const DER_SEQUENCE: u8 = 0x30;
/// The object identifier prime-field in DER (RFC 3279 §2.3.5).
const PRIME_FIELD: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x01, 0x01];

/// Loads a client identity from PEM: its certificate, the issuers' certificates, its private key.
///
/// Equivalent to [`ClientIdentityLoader::load_pem`] with AWS-LC and no passphrase.
///
/// ```
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = symbolon_rustls::client_identity_from_pem(&std::fs::read("client.pem")?)?;
/// println!("tokens will be bound to {}", identity.thumbprint());
/// # Ok(()) }
/// ```
///
/// # Errors
/// See [`LoadError`].
pub fn client_identity_from_pem(pem: &[u8]) -> Result<ClientIdentity, LoadError> {
    ClientIdentityLoader::new().load_pem(pem)
}

/// Loads a client identity from PKCS#12 (`.pfx`, `.p12`).
///
/// Equivalent to [`ClientIdentityLoader::load_pkcs12`] with AWS-LC. An empty passphrase fits files
/// without one, such as those of Azure Key Vault.
///
/// ```
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_types::Secret;
///
/// let passphrase = Secret::new(std::fs::read_to_string("client.pfx.passphrase")?.trim_end());
/// let identity = symbolon_rustls::client_identity_from_pkcs12(&std::fs::read("client.pfx")?, &passphrase)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// See [`LoadError`].
#[cfg(feature = "pkcs12")]
pub fn client_identity_from_pkcs12(der: &[u8], passphrase: &Secret) -> Result<ClientIdentity, LoadError> {
    ClientIdentityLoader::new().passphrase(passphrase.clone()).load_pkcs12(der)
}

/// A loader of client identities, with a choice of crypto provider and passphrase.
///
/// The key of the identity signs TLS handshakes and client assertions (`private_key_jwt`, RFC 7523
/// §3). It is RSA of 2048 bits or more, or ECDSA on P-256 or P-384. Its strength is
/// [`Strength::Software`](symbolon_types::Strength::Software): the crypto provider holds it in
/// memory, and every intermediate copy is overwritten.
///
/// ```
/// use symbolon_rustls::ClientIdentityLoader;
/// use symbolon_rustls::rustls::crypto::CryptoProvider;
///
/// # fn example(your_provider: &CryptoProvider) -> Result<(), Box<dyn std::error::Error>> {
/// let loader = ClientIdentityLoader::new().crypto_provider(your_provider);
/// let identity = loader.load_pem(&std::fs::read("client.pem")?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientIdentityLoader {
    keys: &'static dyn KeyProvider,
    #[cfg(feature = "encrypted-keys")]
    passphrase: Option<Secret>,
}

impl ClientIdentityLoader {
    /// Creates a loader with AWS-LC and no passphrase.
    pub fn new() -> Self {
        Self {
            keys: aws_lc_rs::default_provider().key_provider,
            #[cfg(feature = "encrypted-keys")]
            passphrase: None,
        }
    }

    /// Sets the crypto provider that reads and signs with private keys. It is never installed for
    /// the process.
    pub fn crypto_provider(mut self, provider: &CryptoProvider) -> Self {
        self.keys = provider.key_provider;
        self
    }

    /// Sets the passphrase of an encrypted private key or of a PKCS#12 file. An unencrypted key
    /// ignores it.
    #[cfg(feature = "encrypted-keys")]
    pub fn passphrase(mut self, passphrase: Secret) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Loads PEM (RFC 7468): `CERTIFICATE` blocks and exactly one private key, in any order. Join
    /// two files with `[certificates, key].join(&b'\n')`.
    ///
    /// The key is `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1), `EC PRIVATE KEY` (SEC1) or,
    /// with the feature `encrypted-keys`, `ENCRYPTED PRIVATE KEY` (PKCS#8 by PBES2: AES or Triple
    /// DES, PBKDF2 or scrypt). The first certificate for the key becomes the leaf; the others
    /// follow in their order. Other blocks and text between blocks are skipped.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_pem(&self, pem: &[u8]) -> Result<ClientIdentity, LoadError> {
        self.load_material(KeyMaterial::parse_pem(pem)?)
    }

    fn load_material(&self, material: KeyMaterial) -> Result<ClientIdentity, LoadError> {
        let KeyMaterial { certificates, key } = material;
        if certificates.is_empty() {
            return Err(LoadError::NoCertificate);
        }
        let key = match key.ok_or(LoadError::NoPrivateKey)? {
            PrivateKey::Plain(key) => key,
            PrivateKey::Encrypted(key) => self.decrypt(&key)?,
        };
        self.join(certificates, &key)
    }

    /// Loads a file of any format: PEM as [`load_pem`](Self::load_pem), PKCS#12 as
    /// [`load_pkcs12`](Self::load_pkcs12), also in base64 as Key Vault returns it, or DER objects
    /// one after the other: certificates and one private key, which may be encrypted (PKCS#8).
    ///
    /// # Errors
    /// See [`LoadError`].
    #[cfg(feature = "pkcs12")]
    pub fn load(&self, file: &[u8]) -> Result<ClientIdentity, LoadError> {
        if PemBlocks::of(decode_utf16(file).as_deref().map_or(file, Vec::as_slice)).next().is_some() {
            return self.load_pem(file);
        }
        // All formats in DER begin with a sequence; as a character, `0` begins no base64 of one.
        let decoded = if file.first() == Some(&DER_SEQUENCE) { None } else { decode_base64(file) };
        let der = decoded.as_ref().map_or(file, |decoded| decoded.as_slice());
        if der::is_pkcs12(der) { self.load_pkcs12(der) } else { self.load_material(der::parse(der)?) }
    }

    /// Loads PKCS#12 (RFC 7292), which must contain exactly one private key. Without a
    /// [`passphrase`](Self::passphrase), the empty one is used.
    ///
    /// Certificates are ordered as by [`load_pem`](Self::load_pem). The file may be encrypted by
    /// PBES2, as OpenSSL 3 does, by the older Triple DES or 40-bit RC2, or not at all; its MAC, if
    /// it has one, is HMAC with SHA-1 or SHA-2. Key Vault returns the file in base64: decode it
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

    /// Joins decoded certificates and a decoded private key. Certificates are ordered as by
    /// [`load_pem`](Self::load_pem).
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
        if has_explicit_curve(key.secret_der()) {
            return Err(LoadError::ExplicitCurve);
        }
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

/// Returns true if an elliptic curve is given by its parameters, of which the first is its field.
fn has_explicit_curve(key: &[u8]) -> bool {
    key.windows(PRIME_FIELD.len()).any(|part| part == PRIME_FIELD)
}

/// Returns the position of the first certificate for the key. All are parsed, so that a malformed
/// one is reported by its own position.
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

/// `first` is the position of the first certificate.
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
