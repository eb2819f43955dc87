//! Builder of a key provider.

use std::path::PathBuf;

use symbolon_types::Secret;

use crate::Pkcs11Keys;
use crate::key_pair::{DEFAULT_LABEL, KeyPairAlgorithm, KeySpec};
use crate::token::{Pkcs11Token, TokenSelector};

/// Builder of a [`Pkcs11Keys`]; see [`Pkcs11Keys::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Pkcs11KeysBuilder {
    module: PathBuf,
    selector: TokenSelector,
    pin: Option<Secret>,
    spec: KeySpec,
    in_hardware: bool,
}

impl Pkcs11Keys {
    /// Returns a builder. `module` is the path of the shared library of the token's vendor.
    pub fn builder(module: impl Into<PathBuf>) -> Pkcs11KeysBuilder {
        let spec =
            KeySpec { algorithm: KeyPairAlgorithm::Rsa2048, label: Some(DEFAULT_LABEL.into()), id: None };
        Pkcs11KeysBuilder {
            module: module.into(),
            selector: TokenSelector::default(),
            pin: None,
            spec,
            in_hardware: false,
        }
    }
}

impl Pkcs11KeysBuilder {
    /// Selects the token with this label. Default: the only initialized token.
    pub fn token_label(mut self, label: impl Into<String>) -> Self {
        self.selector.label = Some(label.into());
        self
    }

    /// Selects the token with this serial number. A label must match as well, if one is set.
    pub fn token_serial(mut self, serial: impl Into<String>) -> Self {
        self.selector.serial = Some(serial.into());
        self
    }

    pub(crate) fn token_manufacturer(mut self, manufacturer: String) -> Self {
        self.selector.manufacturer = Some(manufacturer);
        self
    }

    pub(crate) fn token_model(mut self, model: String) -> Self {
        self.selector.model = Some(model);
        self
    }

    pub(crate) fn module(mut self, module: String) -> Self {
        self.module = module.into();
        self
    }

    /// Finds the key by its id alone.
    pub(crate) fn any_key_label(mut self) -> Self {
        self.spec.label = None;
        self
    }

    /// Sets the PIN of the user. Without a PIN, a token with a PIN pad requests it there; any other
    /// token must not require a login.
    pub fn pin(mut self, pin: Secret) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Sets the label (`CKA_LABEL`) of the key to find or create. Default: `symbolon`.
    pub fn key_label(mut self, label: impl Into<String>) -> Self {
        self.spec.label = Some(label.into());
        self
    }

    /// Sets the id (`CKA_ID`) of the key to find or create. Default: any id is found, and a new key
    /// gets 16 random bytes.
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.spec.id = Some(id.into());
        self
    }

    /// Uses an RSA key of 2048 bits, the kind that `IMDSv2` certifies. This is the default.
    pub fn rsa_2048(mut self) -> Self {
        self.spec.algorithm = KeyPairAlgorithm::Rsa2048;
        self
    }

    /// Uses an ECDSA key on P-256. No released client of `IMDSv2` is known to use such a key.
    pub fn p256(mut self) -> Self {
        self.spec.algorithm = KeyPairAlgorithm::P256;
        self
    }

    /// Declares that this token is hardware, which PKCS#11 cannot prove. A key that was created on
    /// the token, was always sensitive and was never extractable then has
    /// [`Strength::Hardware`](symbolon_types::Strength::Hardware). Any other key still counts as
    /// software. Default: false.
    pub fn in_hardware(mut self, in_hardware: bool) -> Self {
        self.in_hardware = in_hardware;
        self
    }

    /// Builds the provider. The module is loaded when the first key is requested.
    #[must_use]
    pub fn build(self) -> Pkcs11Keys {
        let token = Pkcs11Token::new(self.module, self.selector, self.pin);
        Pkcs11Keys::new(token, self.spec, self.in_hardware)
    }
}
