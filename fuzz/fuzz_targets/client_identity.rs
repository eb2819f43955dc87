//! Reading arbitrary certificates does not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{ClientIdentity, SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};

#[derive(Debug)]
struct Key(SubjectPublicKeyInfoDer<'static>);

impl SigningKey for Key {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[]
    }

    fn sign(&self, scheme: SignatureScheme, _message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::UnsupportedScheme(scheme))
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

fuzz_target!(|inputs: (Vec<Vec<u8>>, Vec<u8>)| {
    let (chain, public_key) = inputs;
    let key = SharedSigningKey::new(Key(public_key.into()));
    let chain = chain.into_iter().map(Into::into).collect();
    if let Ok(identity) = ClientIdentity::new(chain, key) {
        assert!(identity.usable_until() <= identity.not_after());
    }
});
