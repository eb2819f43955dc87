//! Certificates and private keys in PKCS#12 (RFC 7292), protected by a passphrase.
//!
//! The published parsers rest on pre-releases, leave copies of the key in memory, or support only
//! one of the two empty passphrases, so this module parses the format itself.

mod kdf;
mod mac;
mod pbes1;

use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode, ErrorKind, Reader, SliceReader, Tag, TagNumber};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::LoadError;
use super::pbes2::{Encrypted, decrypted_key, pkcs8_key};
use super::work_budget::WorkBudget;
use kdf::Passphrase;
use mac::Mac;

/// The version of all files since 1999 (RFC 7292 §4).
const VERSION: u8 = 3;
/// The most ContentInfo of a file. OpenSSL writes two.
const MAX_SAFES: usize = 8;
/// id-data (RFC 5652 §4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// id-encryptedData (RFC 5652 §8).
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
/// keyBag (RFC 7292 §4.2.1).
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
/// pkcs8ShroudedKeyBag (RFC 7292 §4.2.2).
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
/// certBag (RFC 7292 §4.2.3).
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
/// x509Certificate (RFC 7292 §4.2.3).
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");

/// The certificates and keys of a file, in their order.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<Zeroizing<PrivateKeyDer<'static>>>,
}

/// Checks the MAC, decrypts, and extracts certificates and keys.
pub(super) fn open(der: &[u8], passphrase: &str) -> Result<Contents, LoadError> {
    let pfx = Pfx::parse(der).map_err(|_| LoadError::MalformedPkcs12)?;
    let mut budget = WorkBudget::new();
    match pfx.contents(&Passphrase::terminated(passphrase), &mut budget) {
        Err(LoadError::WrongPassphrase) if passphrase.is_empty() => {
            pfx.contents(&Passphrase::absent(), &mut budget)
        }
        done => done,
    }
}

struct Pfx<'a> {
    /// The AuthenticatedSafe: a sequence of ContentInfo.
    safes: &'a [u8],
    mac: Option<Mac<'a>>,
}

impl<'a> Pfx<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            let safes = ContentInfo::parse(reader.decode()?)?;
            if version != VERSION || safes.kind != DATA {
                return Err(Tag::Sequence.value_error().into());
            }
            let mac = if reader.is_finished() { None } else { Some(Mac::parse(reader.decode()?)?) };
            Ok(Self { safes: octets(safes.content)?, mac })
        })
    }

    fn contents(&self, passphrase: &Passphrase<'_>, budget: &mut WorkBudget) -> Result<Contents, LoadError> {
        let malformed = |_| LoadError::MalformedPkcs12;
        let safes = sequence_of(self.safes, ContentInfo::parse).map_err(malformed)?;
        if safes.len() > MAX_SAFES {
            return Err(LoadError::TooManySafes);
        }
        if let Some(mac) = &self.mac {
            mac.verify(self.safes, passphrase, budget)?;
        }
        let mut contents = Contents::default();
        for safe in safes {
            match safe.kind {
                DATA => {
                    let bags = octets(safe.content).and_then(|bags| sequence_of(bags, Bag::parse));
                    contents.add(bags.map_err(malformed)?, passphrase, budget)?;
                }
                ENCRYPTED_DATA => {
                    let encrypted = encrypted_data(safe.content).map_err(malformed)?;
                    let bags = decrypt(passphrase, &encrypted, budget)?;
                    let bags = sequence_of(&bags, Bag::parse).map_err(|_| self.not_bags())?;
                    contents.add(bags, passphrase, budget)?;
                }
                _ => return Err(LoadError::UnsupportedEncryption),
            }
        }
        Ok(contents)
    }

    /// The decrypted content is garbage. Only a MAC can tell that the passphrase was right.
    fn not_bags(&self) -> LoadError {
        if self.mac.is_some() { LoadError::MalformedPkcs12 } else { LoadError::WrongPassphrase }
    }
}

impl Contents {
    fn add(
        &mut self,
        bags: Vec<Bag<'_>>,
        passphrase: &Passphrase<'_>,
        budget: &mut WorkBudget,
    ) -> Result<(), LoadError> {
        for bag in bags {
            match bag {
                Bag::Certificate(der) => self.certificates.push(der.to_vec().into()),
                Bag::Key(der) => self.keys.push(pkcs8_key(der)),
                Bag::ShroudedKey(key) => self.keys.push(decrypted_key(&decrypt(passphrase, &key, budget)?)?),
                Bag::Other => {}
            }
        }
        Ok(())
    }
}

/// A ContentInfo (RFC 5652 §3).
struct ContentInfo<'a> {
    kind: ObjectIdentifier,
    content: &'a [u8],
}

impl<'a> ContentInfo<'a> {
    fn parse(info: AnyRef<'a>) -> der::Result<Self> {
        info.sequence(|reader| Ok(Self { kind: reader.decode()?, content: explicit(reader)? }))
    }
}

/// A SafeBag (RFC 7292 §4.2).
enum Bag<'a> {
    Certificate(&'a [u8]),
    Key(&'a [u8]),
    ShroudedKey(Encrypted<'a>),
    /// A CRL, another kind of secret, or a certificate that is not X.509.
    Other,
}

impl<'a> Bag<'a> {
    fn parse(bag: AnyRef<'a>) -> der::Result<Self> {
        bag.sequence(|reader| {
            let kind: ObjectIdentifier = reader.decode()?;
            let value = explicit(reader)?;
            let _attributes: Option<AnyRef<'_>> = reader.decode()?;
            Ok(match kind {
                KEY_BAG => Self::Key(value),
                SHROUDED_KEY_BAG => Self::ShroudedKey(Encrypted::private_key(AnyRef::from_der(value)?)?),
                CERTIFICATE_BAG => Self::certificate(AnyRef::from_der(value)?)?,
                _ => Self::Other,
            })
        })
    }

    /// A CertBag (RFC 7292 §4.2.3).
    fn certificate(bag: AnyRef<'a>) -> der::Result<Self> {
        bag.sequence(|reader| {
            let kind: ObjectIdentifier = reader.decode()?;
            let value = explicit(reader)?;
            Ok(if kind == X509_CERTIFICATE { Self::Certificate(octets(value)?) } else { Self::Other })
        })
    }
}

/// An EncryptedData (RFC 5652 §8).
fn encrypted_data(der: &[u8]) -> der::Result<Encrypted<'_>> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let _version: u8 = reader.decode()?;
        let info: AnyRef<'_> = reader.decode()?;
        let _attributes: Option<AnyRef<'_>> = reader.decode()?;
        info.sequence(|reader| {
            let _kind: ObjectIdentifier = reader.decode()?;
            let algorithm = reader.decode()?;
            let ciphertext = tagged(reader, false)?;
            Ok(Encrypted { algorithm, ciphertext })
        })
    })
}

/// Decrypts with the older encryption of PKCS#12, or else with PBES2.
fn decrypt(
    passphrase: &Passphrase<'_>,
    encrypted: &Encrypted<'_>,
    budget: &mut WorkBudget,
) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    match pbes1::Cipher::of(encrypted.algorithm.oid) {
        Some(cipher) => cipher.decrypt(encrypted, passphrase, budget),
        None => encrypted.decrypt(passphrase.text, budget),
    }
}

/// Parses the elements of a SEQUENCE OF.
fn sequence_of<'a, T>(der: &'a [u8], element: impl Fn(AnyRef<'a>) -> der::Result<T>) -> der::Result<Vec<T>> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let mut elements = Vec::new();
        while !reader.is_finished() {
            elements.push(element(reader.decode()?)?);
        }
        Ok(elements)
    })
}

fn octets(der: &[u8]) -> der::Result<&[u8]> {
    <&OctetStringRef>::from_der(der).map(OctetStringRef::as_bytes)
}

/// Returns the content of `[0] EXPLICIT`.
fn explicit<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    tagged(reader, true)
}

/// Returns the content of `[0]`: another value if `constructed`, octets if not.
fn tagged<'a>(reader: &mut SliceReader<'a>, constructed: bool) -> der::Result<&'a [u8]> {
    let field: AnyRef<'a> = reader.decode()?;
    let expected = Tag::ContextSpecific { constructed, number: TagNumber(0) };
    if field.header().tag() != expected {
        return Err(
            ErrorKind::TagUnexpected { expected: Some(expected), actual: field.header().tag() }.into()
        );
    }
    Ok(field.value())
}
