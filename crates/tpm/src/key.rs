//! A key in a TPM, as a signing key.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_binding::device_key::{RSA_SCHEMES, digest, ecdsa_signature, emsa_pkcs1_v1_5, emsa_pss};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{Secret, SignatureScheme, SigningError, SigningKey, Strength};

use crate::commands::{self, Blob};
use crate::failure::{Failure, Outcome, known};
use crate::public::{self, Algorithm};
use crate::tcti::{Connection, Tcti};

/// The way to a TPM, and under which of its keys ours are.
#[derive(Debug)]
pub(crate) struct Tpm {
    pub(crate) tcti: Tcti,
    pub(crate) parent: Option<u32>,
    pub(crate) owner: Option<Secret>,
}

/// A key that is loaded, on the connection that it is loaded on.
pub(crate) struct Loaded {
    connection: Connection,
    handle: u32,
}

/// Clones are one key on one connection.
#[derive(Clone)]
pub(crate) struct TpmKey(Arc<Inner>);

struct Inner {
    tpm: Arc<Tpm>,
    algorithm: Algorithm,
    blob: Blob,
    public_key: SubjectPublicKeyInfoDer<'static>,
    loaded: Mutex<Option<Loaded>>,
}

impl Tpm {
    /// A new key.
    pub(crate) fn create(&self, algorithm: Algorithm) -> Outcome<Blob> {
        self.under_parent(|connection, parent| commands::create(connection, parent, &algorithm.template()))
            .map(|(_, blob)| blob)
    }

    /// Loads a key. `Gone` when it is not this TPM's, or not any more: a TPM that was cleared has
    /// another storage key.
    pub(crate) fn load(&self, blob: &Blob) -> Outcome<Loaded> {
        let loaded = self.under_parent(|connection, parent| {
            commands::load(connection, parent, blob)
                .map_err(|failure| if failure.is_of_input() { Failure::Gone } else { failure })
        });
        loaded.map(|(connection, handle)| Loaded { connection, handle })
    }

    /// Does what needs the storage key, on a connection of its own.
    fn under_parent<T>(
        &self,
        work: impl FnOnce(&mut Connection, u32) -> Outcome<T>,
    ) -> Outcome<(Connection, T)> {
        let mut connection = self.tcti.connect()?;
        if let Some(parent) = self.parent {
            let done = work(&mut connection, parent)?;
            return Ok((connection, done));
        }
        let owner = self.owner.as_ref().map_or("", Secret::expose);
        let parent = commands::create_primary(&mut connection, &public::storage_template(), owner);
        let parent = parent.map_err(|failure| match failure {
            Failure::Refused { code, .. } if code.is_of_authorization() => Failure::Known(
                known("owner_refused", "the TPM does not let its owner make a storage key")
                    .with_advice("give the owner's authorization value, or the handle of a storage key")
                    .with_source(failure),
            ),
            other => other,
        })?;
        let done = work(&mut connection, parent);
        // Few keys fit at the same time.
        commands::flush(&mut connection, parent)?;
        Ok((connection, done?))
    }
}

impl TpmKey {
    /// `None` if this is no key of ours.
    pub(crate) fn new(tpm: Arc<Tpm>, algorithm: Algorithm, blob: Blob, loaded: Loaded) -> Option<Self> {
        let public_key = algorithm.read(&blob.public)?;
        let loaded = Mutex::new(Some(loaded));
        Some(Self(Arc::new(Inner { tpm, algorithm, blob, public_key, loaded })))
    }

    /// Whether the TPM still has the key.
    pub(crate) fn is_there(&self) -> Outcome<()> {
        self.0.loaded(|loaded| {
            let public = commands::read_public(&mut loaded.connection, loaded.handle)?;
            if public == self.0.blob.public { Ok(()) } else { Err(Failure::Gone) }
        })
    }
}

impl Inner {
    /// Works with the key as it is loaded; if it is not any more, loaded again, once.
    fn loaded<T>(&self, work: impl Fn(&mut Loaded) -> Outcome<T>) -> Outcome<T> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = loaded.as_mut() {
            match work(there) {
                Err(failure) if failure.is_of_connection() => {
                    tracing::debug!(%failure, "the TPM has lost the key; it is loaded again");
                    *loaded = None;
                }
                outcome => return outcome,
            }
        }
        let outcome = work(loaded.insert(self.tpm.load(&self.blob)?));
        if outcome.as_ref().is_err_and(Failure::is_of_connection) {
            *loaded = None;
        }
        outcome
    }
}

impl SigningKey for TpmKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        match self.0.algorithm {
            Algorithm::Rsa2048 => RSA_SCHEMES,
            Algorithm::P256 => &[SignatureScheme::EcdsaP256Sha256],
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if !self.schemes().contains(&scheme) {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        match self.0.algorithm {
            Algorithm::P256 => {
                let digest = digest(scheme, message)?;
                let numbers = self
                    .0
                    .loaded(|loaded| commands::sign_ecdsa(&mut loaded.connection, loaded.handle, &digest))?;
                ecdsa_signature(&numbers)
            }
            Algorithm::Rsa2048 => {
                let bytes = self.0.algorithm.signature_bytes();
                let padded = match scheme {
                    SignatureScheme::RsaPssSha256
                    | SignatureScheme::RsaPssSha384
                    | SignatureScheme::RsaPssSha512 => emsa_pss(scheme, message, bytes)?,
                    _ => emsa_pkcs1_v1_5(scheme, message, bytes)?,
                };
                Ok(self
                    .0
                    .loaded(|loaded| commands::raise_rsa(&mut loaded.connection, loaded.handle, &padded))?)
            }
        }
    }

    fn strength(&self) -> Strength {
        self.0.tpm.tcti.strength()
    }
}

impl fmt::Debug for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmKey").finish_non_exhaustive()
    }
}

impl Drop for Loaded {
    /// A TPM without a resource manager keeps it until it is reset.
    fn drop(&mut self) {
        if let Err(failure) = commands::flush(&mut self.connection, self.handle) {
            tracing::debug!(%failure, "the TPM did not let go of a key");
        }
    }
}
