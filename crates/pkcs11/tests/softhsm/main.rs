//! Keys on a token of SoftHSM.
// Clippy requires `cfg(test)` to allow `unwrap` here.
#![cfg(test)]
#![cfg(unix)]

mod keys;
mod losses;
mod pins;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use symbolon_binding::{Error, KeyProvider};
use symbolon_pkcs11::{Pkcs11Keys, Pkcs11KeysBuilder};
use symbolon_test_programs::SoftHsm;
use symbolon_types::SharedSigningKey;

pub(crate) const KINDS: [fn(Pkcs11KeysBuilder) -> Pkcs11KeysBuilder; 2] =
    [Pkcs11KeysBuilder::rsa_2048, Pkcs11KeysBuilder::p256];

pub(crate) fn builder() -> Pkcs11KeysBuilder {
    Pkcs11Keys::builder(SoftHsm::module()).token_label(SoftHsm::TOKEN).pin(SoftHsm::pin())
}

pub(crate) fn try_key(keys: &Pkcs11Keys) -> Result<SharedSigningKey, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(keys.key())
}

pub(crate) fn key(keys: &Pkcs11Keys) -> SharedSigningKey {
    try_key(keys).unwrap()
}

/// Another user of the module in this process.
pub(crate) struct OtherClient {
    pub(crate) module: Pkcs11,
    pub(crate) slot: Slot,
}

impl OtherClient {
    pub(crate) fn new() -> Self {
        let module = Self::module();
        let slots = module.get_slots_with_initialized_token().unwrap();
        Self { module, slot: slots[0] }
    }

    pub(crate) fn module() -> Pkcs11 {
        let module = Pkcs11::new(SoftHsm::module()).unwrap();
        // It may be initialized already.
        let _initialized = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        module
    }

    /// Opens a session and logs the user in.
    pub(crate) fn session(&self) -> Session {
        let session = self.module.open_rw_session(self.slot).unwrap();
        let _logged_in = session.login(UserType::User, Some(&AuthPin::from(SoftHsm::pin().expose())));
        session
    }
}
