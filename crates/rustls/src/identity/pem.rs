//! Certificates and a private key in PEM (RFC 7468).
//!
//! The reader of `rustls-pki-types` skips encrypted keys silently, and leaves copies of the others
//! in memory, so this module parses PEM itself.

use std::mem;

use base64ct::{Base64, Encoding};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

use super::LoadError;

/// The byte order mark that some editors put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// The header of keys that older OpenSSL encrypted by itself (RFC 1421 §4.6.1.1).
const PROC_TYPE: &[u8] = b"Proc-Type:";

/// The certificates in their order, and the private key.
pub(super) struct Pem {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: Option<PemPrivateKey>,
}

pub(super) enum PemPrivateKey {
    Plain(Zeroizing<PrivateKeyDer<'static>>),
    /// An EncryptedPrivateKeyInfo (RFC 5958 §3).
    Encrypted(Vec<u8>),
}

impl Pem {
    pub(super) fn parse(text: &[u8]) -> Result<Self, LoadError> {
        let mut pem = Self { certificates: Vec::new(), key: None };
        for block in Blocks::of(text) {
            let block = block?;
            match block.label {
                b"CERTIFICATE" => pem.certificates.push(block.decode()?.to_vec().into()),
                label if label.ends_with(b"PRIVATE KEY") => pem.add_key(block.private_key()?)?,
                _ => {}
            }
        }
        Ok(pem)
    }

    fn add_key(&mut self, key: PemPrivateKey) -> Result<(), LoadError> {
        match self.key.replace(key) {
            None => Ok(()),
            Some(_) => Err(LoadError::SeveralPrivateKeys),
        }
    }
}

struct Block<'a> {
    /// Counted from 1.
    position: usize,
    label: &'a [u8],
    /// The text between the first line and the last.
    body: &'a [u8],
}

impl Block<'_> {
    fn private_key(&self) -> Result<PemPrivateKey, LoadError> {
        if self.body.trim_ascii_start().starts_with(PROC_TYPE) {
            return Err(LoadError::UnsupportedEncryption);
        }
        // Moved, not copied: the key overwrites this buffer from here on.
        let der = || self.decode().map(|mut der| mem::take(&mut *der));
        let key = match self.label {
            b"PRIVATE KEY" => PrivatePkcs8KeyDer::from(der()?).into(),
            b"RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der()?).into(),
            b"EC PRIVATE KEY" => PrivateSec1KeyDer::from(der()?).into(),
            b"ENCRYPTED PRIVATE KEY" => return Ok(PemPrivateKey::Encrypted(der()?)),
            _ => return Err(LoadError::unusable_key("it is in another form, such as that of OpenSSH")),
        };
        Ok(PemPrivateKey::Plain(Zeroizing::new(key)))
    }

    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        // Allocated in full: growing would leave copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.body.len()));
        bytes.extend(self.body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let decoded = Base64::decode_in_place(&mut bytes).map(<[u8]>::len);
        bytes.truncate(decoded.map_err(|_| LoadError::MalformedBlock { position: self.position })?);
        Ok(bytes)
    }
}

struct Blocks<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Blocks<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { rest: text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text), position: 0 }
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(line)
    }

    /// Returns the text up to the line that ends a block of this label.
    fn body(&mut self, label: &[u8]) -> Option<&'a [u8]> {
        let start = self.rest;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if boundary(line, END) == Some(label) {
                return start.get(..length);
            }
            length += line.len();
        }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(label) = boundary(self.line()?, BEGIN) else { continue };
            self.position += 1;
            let position = self.position;
            let block = self.body(label).map(|body| Block { position, label, body });
            return Some(block.ok_or(LoadError::MalformedBlock { position }));
        }
    }
}

/// Returns the label of a line that begins or ends a block.
fn boundary<'a>(line: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii().strip_prefix(kind)?.strip_suffix(DASHES)
}
