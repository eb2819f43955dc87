//! Which key, in which TPM, and where it is kept.

use std::path::PathBuf;

use symbolon_types::{Context, Error, Secret, SharedClock};

use crate::TpmKeys;
use crate::key::Tpm;
use crate::public::Algorithm;
use crate::tcti::Tcti;

/// Makes a [`TpmKeys`]; see [`TpmKeys::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TpmKeysBuilder {
    tcti: Tcti,
    folder: PathBuf,
    algorithm: Algorithm,
    parent: Option<u32>,
    owner: Option<Secret>,
    clock: SharedClock,
}

impl TpmKeysBuilder {
    pub(crate) fn new(tcti: Tcti, folder: PathBuf) -> Self {
        let algorithm = Algorithm::Rsa2048;
        Self { tcti, folder, algorithm, parent: None, owner: None, clock: SharedClock::system() }
    }

    /// An RSA key of 2048 bits. This is the default, and what `IMDSv2` certifies.
    pub fn rsa_2048(mut self) -> Self {
        self.algorithm = Algorithm::Rsa2048;
        self
    }

    /// An ECDSA key on P-256. No released client of `IMDSv2` has asked for a certificate for one.
    pub fn p256(mut self) -> Self {
        self.algorithm = Algorithm::P256;
        self
    }

    /// The persistent handle of a storage key (for example `0x8100_0001`), which must need no
    /// authorization value. Default: the storage key of the owner hierarchy after the TCG's template
    /// for P-256, which the TPM derives anew each time.
    pub fn parent(mut self, handle: u32) -> Self {
        self.parent = Some(handle);
        self
    }

    /// The authorization value of the owner, if one was set: deriving the storage key needs it.
    pub fn owner_authorization(mut self, value: Secret) -> Self {
        self.owner = Some(value);
        self
    }

    /// Sets the clock that measures the wait for another process that creates the key. Default: the
    /// process's own.
    pub fn context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// The provider. Nothing is opened before the first key is asked for.
    ///
    /// # Errors
    /// `invalid_configuration` for a parent that is no persistent handle.
    pub fn build(self) -> Result<TpmKeys, Error> {
        if self.parent.is_some_and(|handle| handle >> 24 != 0x81) {
            let summary = "the parent of the key in the TPM is no persistent handle";
            return Err(Error::new(symbolon_types::ErrorKind::Request, "invalid_configuration", summary)
                .with_advice(
                    "persistent handles begin with 0x81; `tpm2_getcap handles-persistent` lists them",
                ));
        }
        let tpm = Tpm { tcti: self.tcti, parent: self.parent, owner: self.owner };
        Ok(TpmKeys::new(tpm, self.algorithm, self.folder, self.clock))
    }
}
