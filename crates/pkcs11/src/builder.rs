//! Which key, on which token, behind which module.

use std::path::PathBuf;

use symbolon_types::Secret;

use crate::Pkcs11Keys;
use crate::key_pair::{Algorithm, Wanted};
use crate::token::{Choice, Token};

/// The label of a key that nobody gave another.
const LABEL: &str = "symbolon";

/// Makes a [`Pkcs11Keys`]; see [`Pkcs11Keys::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Pkcs11KeysBuilder {
    module: PathBuf,
    choice: Choice,
    pin: Option<Secret>,
    wanted: Wanted,
    in_hardware: bool,
}

impl Pkcs11KeysBuilder {
    pub(crate) fn new(module: PathBuf) -> Self {
        let wanted = Wanted { algorithm: Algorithm::Rsa2048, label: LABEL.into(), id: None };
        Self { module, choice: Choice::Only, pin: None, wanted, in_hardware: false }
    }

    /// The token with this label. Default: the one token there is.
    pub fn token_label(mut self, label: impl Into<String>) -> Self {
        self.choice = Choice::Label(label.into());
        self
    }

    /// The token with this serial number, instead of a label.
    pub fn token_serial(mut self, serial: impl Into<String>) -> Self {
        self.choice = Choice::Serial(serial.into());
        self
    }

    /// The PIN of the user. Without one, a token with a PIN pad asks for it there, and any other must
    /// not require a log-in.
    pub fn pin(mut self, pin: Secret) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The key with this label (`CKA_LABEL`), and the label of the key that is made when there is none.
    /// Default: `symbolon`.
    pub fn key_label(mut self, label: impl Into<String>) -> Self {
        self.wanted.label = label.into();
        self
    }

    /// Only the key with this id (`CKA_ID`), too, and the id of the key that is made when there is
    /// none. Default: any; a key that is made gets sixteen random bytes.
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.wanted.id = Some(id.into());
        self
    }

    /// An RSA key of 2048 bits. This is the default, and what `IMDSv2` certifies.
    pub fn rsa_2048(mut self) -> Self {
        self.wanted.algorithm = Algorithm::Rsa2048;
        self
    }

    /// An ECDSA key on P-256. No released client of `IMDSv2` has asked for a certificate for one.
    pub fn p256(mut self) -> Self {
        self.wanted.algorithm = Algorithm::P256;
        self
    }

    /// States that this token is hardware, which PKCS#11 cannot prove: a key that was made there, always
    /// was sensitive and never was extractable then counts as
    /// [`Strength::Hardware`](symbolon_types::Strength::Hardware). Any other key counts as software
    /// all the same. Default: no.
    pub fn in_hardware(mut self, in_hardware: bool) -> Self {
        self.in_hardware = in_hardware;
        self
    }

    /// The provider. Nothing is loaded and nothing is asked before the first key is.
    #[must_use]
    pub fn build(self) -> Pkcs11Keys {
        let token = Token::new(self.module, self.choice, self.pin);
        Pkcs11Keys::new(token, self.wanted, self.in_hardware)
    }
}
