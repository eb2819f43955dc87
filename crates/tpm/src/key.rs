//! Signing key in a TPM.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_binding::device_key::{RSA_SCHEMES, digest, ecdsa_signature, emsa_pkcs1_v1_5, emsa_pss};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{Secret, SignatureScheme, SigningError, SigningKey, Strength};

use crate::commands::{self, WrappedKey};
use crate::error::{TpmError, environment_error};
use crate::key_file;
use crate::public::{self, TpmAlgorithm};
use crate::tcti::{Tcti, TpmConnection};

/// Address of a TPM, and the storage key that is the parent of its keys.
#[derive(Debug)]
pub(crate) struct Tpm {
    pub(crate) tcti: Tcti,
    pub(crate) parent: Option<u32>,
    pub(crate) owner: Option<Secret>,
}

/// Loaded key, with the connection that it is loaded on.
pub(crate) struct LoadedKey {
    connection: TpmConnection,
    handle: u32,
}

/// Signing key with one connection, which clones share.
#[derive(Clone)]
pub(crate) struct TpmKey(Arc<TpmKeyParts>);

struct TpmKeyParts {
    tpm: Arc<Tpm>,
    algorithm: TpmAlgorithm,
    wrapped: WrappedKey,
    public_key: SubjectPublicKeyInfoDer<'static>,
    uri: String,
    loaded: Mutex<Option<LoadedKey>>,
}

impl Tpm {
    /// Creates a key.
    pub(crate) fn create(&self, algorithm: TpmAlgorithm) -> Result<WrappedKey, TpmError> {
        self.under_parent(|connection, parent| commands::create(connection, parent, &algorithm.template()))
            .map(|(_, wrapped)| wrapped)
    }

    /// Loads a key. Fails with `KeyGone` if the key belongs to another TPM, or the TPM was cleared
    /// and has another storage key now.
    pub(crate) fn load(&self, wrapped: &WrappedKey) -> Result<LoadedKey, TpmError> {
        let loaded = self.under_parent(|connection, parent| {
            commands::load(connection, parent, wrapped)
                .map_err(|error| if error.is_parameter_error() { TpmError::KeyGone } else { error })
        });
        loaded.map(|(connection, handle)| LoadedKey { connection, handle })
    }

    /// Runs `work` with the handle of the storage key, on a new connection.
    fn under_parent<T>(
        &self,
        work: impl FnOnce(&mut TpmConnection, u32) -> Result<T, TpmError>,
    ) -> Result<(TpmConnection, T), TpmError> {
        self.try_under_parent(work).map_err(|error| error.at(&self.tcti))
    }

    fn try_under_parent<T>(
        &self,
        work: impl FnOnce(&mut TpmConnection, u32) -> Result<T, TpmError>,
    ) -> Result<(TpmConnection, T), TpmError> {
        let mut connection = self.tcti.connect()?;
        if let Some(parent) = self.parent {
            let result = work(&mut connection, parent)?;
            return Ok((connection, result));
        }
        let owner = self.owner.as_ref().map_or("", Secret::expose);
        let parent = commands::create_primary(&mut connection, &public::storage_template(), owner);
        let parent = parent.map_err(|error| match error {
            TpmError::Refused { code, .. } if code.is_authorization_error() => TpmError::Tpm(
                environment_error("owner_refused", "the TPM refused to derive a storage key for its owner")
                    .with_advice("set the authorization value of the owner, or the handle of a storage key")
                    .with_source(error),
            ),
            other => other,
        })?;
        let result = work(&mut connection, parent);
        // A TPM has space for few keys.
        commands::flush(&mut connection, parent)?;
        Ok((connection, result?))
    }
}

impl TpmKey {
    /// Returns `None` if the public area does not match the template. `file` has the wrapped key.
    pub(crate) fn new(
        tpm: Arc<Tpm>,
        algorithm: TpmAlgorithm,
        wrapped: WrappedKey,
        loaded: LoadedKey,
        file: &Path,
    ) -> Option<Self> {
        let public_key = algorithm.read(&wrapped.public)?;
        let uri = format!("tpm:{}?file={}", tpm.tcti, file.display());
        let loaded = Mutex::new(Some(loaded));
        Some(Self(Arc::new(TpmKeyParts { tpm, algorithm, wrapped, public_key, uri, loaded })))
    }

    /// Returns the key as a file for other programs. It contains no secret: the TPM encrypted it.
    pub(crate) fn key_file(&self) -> Option<String> {
        key_file::encode(&self.0.wrapped, self.0.tpm.parent)
    }

    /// Checks that the TPM still has the key.
    pub(crate) fn check_exists(&self) -> Result<(), TpmError> {
        self.0.loaded(|loaded| {
            let public = commands::read_public(&mut loaded.connection, loaded.handle)?;
            if public == self.0.wrapped.public { Ok(()) } else { Err(TpmError::KeyGone) }
        })
    }
}

impl TpmKeyParts {
    /// Runs `work` with the loaded key. If the TPM lost the key, loads it again and retries once.
    fn loaded<T>(&self, work: impl Fn(&mut LoadedKey) -> Result<T, TpmError>) -> Result<T, TpmError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = loaded.as_mut() {
            match work(key) {
                Err(error) if error.is_connection_lost() => {
                    tracing::debug!(failure = %error, "the TPM lost the key; loading it again");
                    *loaded = None;
                }
                result => return result,
            }
        }
        let result = work(loaded.insert(self.tpm.load(&self.wrapped)?));
        if result.as_ref().is_err_and(TpmError::is_connection_lost) {
            *loaded = None;
        }
        result.map_err(|error| error.at(&self.tpm.tcti))
    }
}

impl SigningKey for TpmKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        match self.0.algorithm {
            TpmAlgorithm::Rsa2048 => RSA_SCHEMES,
            TpmAlgorithm::P256 => &[SignatureScheme::EcdsaP256Sha256],
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if !self.schemes().contains(&scheme) {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        match self.0.algorithm {
            TpmAlgorithm::P256 => {
                let digest = digest(scheme, message)?;
                let numbers = self
                    .0
                    .loaded(|loaded| commands::sign_ecdsa(&mut loaded.connection, loaded.handle, &digest))?;
                ecdsa_signature(&numbers)
            }
            TpmAlgorithm::Rsa2048 => {
                let bytes = self.0.algorithm.signature_bytes();
                let padded = match scheme {
                    SignatureScheme::RsaPssSha256
                    | SignatureScheme::RsaPssSha384
                    | SignatureScheme::RsaPssSha512 => emsa_pss(scheme, message, bytes)?,
                    _ => emsa_pkcs1_v1_5(scheme, message, bytes)?,
                };
                Ok(self.0.loaded(|loaded| {
                    commands::exponentiate_rsa(&mut loaded.connection, loaded.handle, &padded)
                })?)
            }
        }
    }

    fn strength(&self) -> Strength {
        self.0.tpm.tcti.strength()
    }

    fn location(&self) -> Option<&str> {
        Some(&self.0.uri)
    }
}

symbolon_types::debug_fields!(TpmKey);

impl Drop for LoadedKey {
    /// Unloads the key; a TPM without a resource manager would keep it until it is reset.
    fn drop(&mut self) {
        if let Err(error) = commands::flush(&mut self.connection, self.handle) {
            tracing::debug!(failure = %error, "the TPM could not unload a key");
        }
    }
}
