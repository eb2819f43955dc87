//! Key pairs on a token: found, made, read.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use symbolon_binding::device_key;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;

use crate::failure::{Doing, Failure, Outcome, known};

/// `prime256v1` by name (RFC 5480 §2.1.1.1), as `CKA_EC_PARAMS` has it.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The point, and the point in an OCTET STRING, as `CKA_EC_POINT` has it (PKCS#11 v3.0 §2.3.3); some
/// modules leave the OCTET STRING out.
const POINT_LENGTH: usize = 65;
const OCTET_STRING_OF_POINT: [u8; 2] = [0x04, 0x41];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rsa2048,
    P256,
}

/// Which key.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) algorithm: Algorithm,
    pub(crate) label: String,
    pub(crate) id: Option<Vec<u8>>,
}

/// A private key on the token, with what is known of it.
#[derive(Debug)]
pub(crate) struct KeyPair {
    pub(crate) private: ObjectHandle,
    pub(crate) id: Vec<u8>,
    pub(crate) public_key: SubjectPublicKeyInfoDer<'static>,
    /// The token says that the key was made there, always was sensitive and never was extractable.
    pub(crate) never_left: bool,
}

impl Wanted {
    /// The key there is. Of several, which two processes may have made at the same time, the one with
    /// the smallest id, so that all settle on the same one.
    pub(crate) fn find(&self, session: &Session) -> Outcome<Option<KeyPair>> {
        let mut template = self.algorithm.private_keys();
        template.push(Attribute::Label(self.label.clone().into_bytes()));
        template.extend(self.id.clone().map(Attribute::Id));
        let mut found = Vec::new();
        for handle in session.find_objects(&template).doing("look for the key")? {
            found.push((id_of(session, handle)?, handle));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        if found.len() > 1 {
            tracing::warn!(
                count = found.len(),
                "several keys on the token have this label; the one with the smallest id is used"
            );
        }
        let first = found.into_iter().next();
        first.map(|(id, private)| self.algorithm.read(session, private, id)).transpose()
    }

    /// Makes the key, in a session that may write.
    pub(crate) fn make(&self, session: &Session) -> Outcome<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let common =
            [Attribute::Token(true), Attribute::Label(self.label.clone().into_bytes()), Attribute::Id(id)];
        let (mechanism, parameters, other_uses) = match self.algorithm {
            Algorithm::Rsa2048 => (
                Mechanism::RsaPkcsKeyPairGen,
                vec![Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])],
                vec![Attribute::Decrypt(false), Attribute::Unwrap(false)],
            ),
            Algorithm::P256 => (
                Mechanism::EccKeyPairGen,
                vec![Attribute::EcParams(P256.to_vec())],
                vec![Attribute::Derive(false)],
            ),
        };
        let public =
            [&common[..], &[Attribute::Private(false), Attribute::Verify(true)], &parameters].concat();
        let kept = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let private = [&common[..], &kept, &other_uses].concat();
        match session.generate_key_pair(&mechanism, &public, &private) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Known(
                known("key_creation_failed", "could not make a key on the PKCS#11 token")
                    .with_advice(
                        "check that the token may be written to, has room, and makes keys of this kind",
                    )
                    .with_source(error),
            )),
        }
    }
}

impl Algorithm {
    fn private_keys(self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(self.key_type()),
            Attribute::Token(true),
            Attribute::Sign(true),
        ]
    }

    fn key_type(self) -> KeyType {
        match self {
            Self::Rsa2048 => KeyType::RSA,
            Self::P256 => KeyType::EC,
        }
    }

    /// The private key with this id, if its public half is still this one.
    pub(crate) fn find_again(
        self,
        session: &Session,
        id: &[u8],
        public_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Outcome<ObjectHandle> {
        let mut template = self.private_keys();
        template.push(Attribute::Id(id.to_vec()));
        for handle in session.find_objects(&template).doing("look for the key")? {
            let found = self.read(session, handle, id.to_vec())?;
            if found.public_key == *public_key {
                return Ok(handle);
            }
        }
        Err(Failure::Gone)
    }

    fn read(self, session: &Session, private: ObjectHandle, id: Vec<u8>) -> Outcome<KeyPair> {
        // The public half is an object of its own; some of it stands in the private one, too.
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(self.key_type()),
            Attribute::Id(id.clone()),
        ];
        let mut halves = session.find_objects(&template).doing("look for the public key")?;
        halves.push(private);
        for half in halves {
            if let Some(public_key) = self.public_key(session, half)? {
                return Ok(KeyPair { private, id, public_key, never_left: never_left(session, private)? });
            }
        }
        Err(Failure::Known(
            known("key_not_supported", "the PKCS#11 token has a key but not its public half").with_advice(
                "import the public key with the same CKA_ID, or name another label for a new key",
            ),
        ))
    }

    fn public_key(
        self,
        session: &Session,
        object: ObjectHandle,
    ) -> Outcome<Option<SubjectPublicKeyInfoDer<'static>>> {
        let types = match self {
            Self::Rsa2048 => [AttributeType::Modulus, AttributeType::PublicExponent],
            Self::P256 => [AttributeType::EcParams, AttributeType::EcPoint],
        };
        let attributes = session.get_attributes(object, &types).doing("read the public key")?;
        let read = match &attributes[..] {
            [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
                device_key::rsa_public_key(modulus, exponent)
            }
            [Attribute::EcParams(curve), Attribute::EcPoint(point)] if curve == &P256 => {
                let inner = point.strip_prefix(&OCTET_STRING_OF_POINT);
                let inner = inner.filter(|inner| inner.len() == POINT_LENGTH);
                device_key::p256_public_key(inner.unwrap_or(point))
            }
            _ => return Ok(None),
        };
        read.map(Some).map_err(Failure::Known)
    }
}

fn id_of(session: &Session, object: ObjectHandle) -> Outcome<Vec<u8>> {
    let attributes = session.get_attributes(object, &[AttributeType::Id]).doing("read the key's id")?;
    Ok(match attributes.into_iter().next() {
        Some(Attribute::Id(id)) => id,
        _ => Vec::new(),
    })
}

fn never_left(session: &Session, private: ObjectHandle) -> Outcome<bool> {
    let promised = [
        Attribute::Local(true),
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
    ];
    let types = promised.each_ref().map(Attribute::attribute_type);
    Ok(session.get_attributes(private, &types).doing("read how the key is kept")? == promised)
}

fn random_id() -> Outcome<Vec<u8>> {
    let mut id = vec![0; 16];
    getrandom::fill(&mut id).map_err(|error| {
        Failure::Known(
            known("key_creation_failed", "could not name a new key")
                .with_advice("check this machine's random source")
                .with_source(error),
        )
    })?;
    Ok(id)
}
