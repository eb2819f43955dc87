//! Certificates and a private key in PEM (RFC 7468).

use std::mem;

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

use super::LoadError;
use crate::pem_text::{PemBlock, PemBlocks, decode_utf16};

/// The header of keys that older OpenSSL encrypted by itself (RFC 1421 §4.6.1.1).
const PROC_TYPE: &[u8] = b"Proc-Type:";

/// The certificates in their order, and the private key.
#[derive(Default)]
pub(super) struct KeyMaterial {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: Option<PrivateKey>,
}

pub(super) enum PrivateKey {
    Plain(Zeroizing<PrivateKeyDer<'static>>),
    /// An EncryptedPrivateKeyInfo (RFC 5958 §3).
    Encrypted(Vec<u8>),
}

impl KeyMaterial {
    pub(super) fn parse_pem(text: &[u8]) -> Result<Self, LoadError> {
        let decoded = decode_utf16(text);
        let text = decoded.as_deref().map_or(text, Vec::as_slice);
        let mut pem = Self::default();
        for block in PemBlocks::of(text) {
            let block =
                block.map_err(|unfinished| LoadError::MalformedBlock { position: unfinished.position })?;
            match block.label {
                b"CERTIFICATE" => pem.certificates.push(decode(&block)?.to_vec().into()),
                label if label.ends_with(b"PRIVATE KEY") => pem.add_key(private_key(&block)?)?,
                _ => {}
            }
        }
        Ok(pem)
    }

    pub(super) fn add_key(&mut self, key: PrivateKey) -> Result<(), LoadError> {
        match self.key.replace(key) {
            None => Ok(()),
            Some(_) => Err(LoadError::SeveralPrivateKeys),
        }
    }
}

fn private_key(block: &PemBlock<'_>) -> Result<PrivateKey, LoadError> {
    if block.body.trim_ascii_start().starts_with(PROC_TYPE) {
        return Err(LoadError::UnsupportedEncryption);
    }
    // Moved, not copied: the key overwrites this buffer from here on.
    let der = || decode(block).map(|mut der| mem::take(&mut *der));
    let key = match block.label {
        b"PRIVATE KEY" => PrivatePkcs8KeyDer::from(der()?).into(),
        b"RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der()?).into(),
        b"EC PRIVATE KEY" => PrivateSec1KeyDer::from(der()?).into(),
        b"ENCRYPTED PRIVATE KEY" => return Ok(PrivateKey::Encrypted(der()?)),
        _ => return Err(LoadError::unusable_key("it is in another form, such as that of OpenSSH")),
    };
    Ok(PrivateKey::Plain(Zeroizing::new(key)))
}

fn decode(block: &PemBlock<'_>) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    block.decode().ok_or(LoadError::MalformedBlock { position: block.position })
}
