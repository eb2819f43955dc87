//! Certificates and a private key in DER, one after the other, without an armour.

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{self, Decode, Encode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use super::LoadError;
use super::pem::{KeyMaterial, PrivateKey};

/// The version of a PKCS#12 file (RFC 7292 §4), which no private key has.
const PKCS12_VERSION: u8 = 3;

/// Returns true if the file begins like PKCS#12.
pub(super) fn is_pkcs12(file: &[u8]) -> bool {
    let Ok(mut reader) = SliceReader::new(file) else { return false };
    let is_pfx = AnyRef::decode(&mut reader).and_then(|pfx| {
        pfx.sequence(|reader| {
            let version: AnyRef<'_> = reader.decode()?;
            let is_pfx = version.tag() == Tag::Integer && version.value() == [PKCS12_VERSION];
            reader.drain(reader.remaining_len())?;
            Ok::<_, der::Error>(is_pfx)
        })
    });
    is_pfx.unwrap_or(false)
}

/// Parses all objects of a file.
pub(super) fn parse(file: &[u8]) -> Result<KeyMaterial, LoadError> {
    let malformed = |_: der::Error| LoadError::UnknownFormat;
    let mut material = KeyMaterial::default();
    let mut reader = SliceReader::new(file).map_err(malformed)?;
    while !reader.is_finished() {
        let object = AnyRef::decode(&mut reader).map_err(malformed)?;
        // Allocated in full: growing would leave copies of the key behind.
        let length = object.encoded_len().and_then(usize::try_from).map_err(malformed)?;
        let mut der = Zeroizing::new(vec![0; length]);
        object.encode_to_slice(&mut der).map_err(malformed)?;
        let mut take = || std::mem::take(&mut *der);
        match Kind::of(object).map_err(malformed)? {
            Kind::Certificate => material.certificates.push(take().into()),
            Kind::Pkcs8 => material.add_key(plain(PrivatePkcs8KeyDer::from(take())))?,
            Kind::Pkcs1 => material.add_key(plain(PrivatePkcs1KeyDer::from(take())))?,
            Kind::Sec1 => material.add_key(plain(PrivateSec1KeyDer::from(take())))?,
            Kind::Encrypted => material.add_key(PrivateKey::Encrypted(take()))?,
        }
    }
    Ok(material)
}

fn plain(key: impl Into<PrivateKeyDer<'static>>) -> PrivateKey {
    PrivateKey::Plain(Zeroizing::new(key.into()))
}

enum Kind {
    /// An X.509 certificate (RFC 5280 §4.1).
    Certificate,
    /// A PrivateKeyInfo (RFC 5958 §2).
    Pkcs8,
    /// An RSAPrivateKey (RFC 8017 §A.1.2).
    Pkcs1,
    /// An ECPrivateKey (RFC 5915 §3).
    Sec1,
    /// An EncryptedPrivateKeyInfo (RFC 5958 §3).
    Encrypted,
}

impl Kind {
    /// Returns the kind of an object, by the types of its first two members.
    fn of(object: AnyRef<'_>) -> der::Result<Self> {
        object.sequence(|reader| {
            let first: AnyRef<'_> = reader.decode()?;
            let second: AnyRef<'_> = reader.decode()?;
            reader.drain(reader.remaining_len())?;
            match (first.tag(), second.tag()) {
                (Tag::Sequence, Tag::Sequence) => Ok(Self::Certificate),
                (Tag::Sequence, Tag::OctetString) => Ok(Self::Encrypted),
                (Tag::Integer, Tag::Sequence) => Ok(Self::Pkcs8),
                (Tag::Integer, Tag::Integer) => Ok(Self::Pkcs1),
                (Tag::Integer, Tag::OctetString) => Ok(Self::Sec1),
                _ => Err(Tag::Sequence.value_error().into()),
            }
        })
    }
}
