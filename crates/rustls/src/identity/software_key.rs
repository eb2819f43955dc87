//! Private keys in memory, held by the crypto provider.

use std::sync::Arc;

use rustls::SignatureScheme as Wire;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use super::LoadError;
use crate::scheme::{SCHEMES, on_the_wire};

/// A key that the crypto provider loaded.
pub(super) struct SoftwareKey {
    key: Arc<dyn sign::SigningKey>,
    public_key: SubjectPublicKeyInfoDer<'static>,
    schemes: Vec<SignatureScheme>,
}

impl SoftwareKey {
    pub(super) fn new(key: Arc<dyn sign::SigningKey>) -> Result<Self, LoadError> {
        let public_key = key.public_key().map(SubjectPublicKeyInfoDer::into_owned);
        let public_key = public_key
            .ok_or_else(|| LoadError::unusable_key("the crypto provider does not tell its public half"))?;
        let offers = |(_, wire): &&(_, Wire)| key.choose_scheme(&[*wire]).is_some();
        let schemes: Vec<_> = SCHEMES.iter().filter(offers).map(|(scheme, _)| *scheme).collect();
        if schemes.is_empty() {
            return Err(LoadError::unusable_key("it is neither for RSA nor for ECDSA on P-256 or P-384"));
        }
        Ok(Self { key, public_key, schemes })
    }
}

impl SigningKey for SoftwareKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let signer = on_the_wire(scheme).and_then(|wire| self.key.choose_scheme(&[wire]));
        let signer = signer.ok_or(SigningError::UnsupportedScheme(scheme))?;
        signer.sign(message).map_err(SigningError::failed)
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

symbolon_types::debug_fields!(SoftwareKey: schemes);
