//! Key pairs on a token.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use symbolon_binding::device_key;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;

use crate::error::{OperationContext, Pkcs11Error, environment_error};

/// Default label of a key.
pub(crate) const DEFAULT_LABEL: &str = "symbolon";
/// Named curve `prime256v1` (RFC 5480 §2.1.1.1): value of `CKA_EC_PARAMS`.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Length of an uncompressed point.
const POINT_LENGTH: usize = 65;
/// Header of the OCTET STRING around the point in `CKA_EC_POINT` (PKCS#11 v3.0 §2.3.3). Some
/// modules omit it.
const OCTET_STRING_OF_POINT: [u8; 2] = [0x04, 0x41];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPairAlgorithm {
    Rsa2048,
    P256,
}

/// Specification of the key to find or create.
#[derive(Clone, Debug)]
pub(crate) struct KeySpec {
    pub(crate) algorithm: KeyPairAlgorithm,
    /// Any label, if it is missing.
    pub(crate) label: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
}

/// Private key on the token, with its attributes.
#[derive(Debug)]
pub(crate) struct KeyPair {
    pub(crate) private: ObjectHandle,
    pub(crate) id: Vec<u8>,
    pub(crate) public_key: SubjectPublicKeyInfoDer<'static>,
    /// True if the token reports that the key was created there, was always sensitive and was never
    /// extractable.
    pub(crate) never_extractable: bool,
}

impl KeySpec {
    /// Finds the key. Two processes may have created keys at the same time: of several keys, the
    /// one with the smallest id is used, so that all processes agree.
    pub(crate) fn find(&self, session: &Session) -> Result<Option<KeyPair>, Pkcs11Error> {
        let mut template = self.algorithm.private_key_template();
        template.extend(self.label.clone().map(|label| Attribute::Label(label.into_bytes())));
        template.extend(self.id.clone().map(Attribute::Id));
        let mut found = Vec::new();
        for handle in session.find_objects(&template).context("find the key")? {
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

    /// Creates the key, in a session with write access.
    pub(crate) fn create(&self, session: &Session) -> Result<(), Pkcs11Error> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL).to_owned();
        let common = [Attribute::Token(true), Attribute::Label(label.into_bytes()), Attribute::Id(id)];
        let (mechanism, parameters, disabled_uses) = match self.algorithm {
            KeyPairAlgorithm::Rsa2048 => (
                Mechanism::RsaPkcsKeyPairGen,
                vec![Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])],
                vec![Attribute::Decrypt(false), Attribute::Unwrap(false)],
            ),
            KeyPairAlgorithm::P256 => (
                Mechanism::EccKeyPairGen,
                vec![Attribute::EcParams(P256.to_vec())],
                vec![Attribute::Derive(false)],
            ),
        };
        let public =
            [&common[..], &[Attribute::Private(false), Attribute::Verify(true)], &parameters].concat();
        let protection = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let private = [&common[..], &protection, &disabled_uses].concat();
        match session.generate_key_pair(&mechanism, &public, &private) {
            Ok(_) => Ok(()),
            Err(error) => Err(Pkcs11Error::Token(
                environment_error("key_creation_failed", "could not create a key on the PKCS#11 token")
                    .with_advice(
                        "check that the token is writable, has free space, and supports keys of this kind",
                    )
                    .with_source(error),
            )),
        }
    }
}

impl KeyPairAlgorithm {
    fn private_key_template(self) -> Vec<Attribute> {
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

    /// Returns the handle of the private key with this id, if it still has this public key.
    pub(crate) fn find_again(
        self,
        session: &Session,
        id: &[u8],
        public_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Result<ObjectHandle, Pkcs11Error> {
        let mut template = self.private_key_template();
        template.push(Attribute::Id(id.to_vec()));
        for handle in session.find_objects(&template).context("find the key")? {
            let found = self.read(session, handle, id.to_vec())?;
            if found.public_key == *public_key {
                return Ok(handle);
            }
        }
        Err(Pkcs11Error::KeyGone)
    }

    fn read(self, session: &Session, private: ObjectHandle, id: Vec<u8>) -> Result<KeyPair, Pkcs11Error> {
        // The public key is another object; some modules store its attributes in the private one
        // too.
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(self.key_type()),
            Attribute::Id(id.clone()),
        ];
        let mut objects = session.find_objects(&template).context("find the public key")?;
        objects.push(private);
        for object in objects {
            if let Some(public_key) = self.public_key(session, object)? {
                return Ok(KeyPair {
                    private,
                    id,
                    public_key,
                    never_extractable: never_extractable(session, private)?,
                });
            }
        }
        Err(Pkcs11Error::Token(
            environment_error(
                "key_not_supported",
                "the PKCS#11 token has the private key, but not its public key",
            )
            .with_advice(
                "import the public key with the same CKA_ID, or set another label to create a new key",
            ),
        ))
    }

    fn public_key(
        self,
        session: &Session,
        object: ObjectHandle,
    ) -> Result<Option<SubjectPublicKeyInfoDer<'static>>, Pkcs11Error> {
        let types = match self {
            Self::Rsa2048 => [AttributeType::Modulus, AttributeType::PublicExponent],
            Self::P256 => [AttributeType::EcParams, AttributeType::EcPoint],
        };
        let attributes = session.get_attributes(object, &types).context("read the public key")?;
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
        read.map(Some).map_err(Pkcs11Error::Token)
    }
}

fn id_of(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, Pkcs11Error> {
    let attributes = session.get_attributes(object, &[AttributeType::Id]).context("read the key's id")?;
    Ok(match attributes.into_iter().next() {
        Some(Attribute::Id(id)) => id,
        _ => Vec::new(),
    })
}

fn never_extractable(session: &Session, private: ObjectHandle) -> Result<bool, Pkcs11Error> {
    let expected = [
        Attribute::Local(true),
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
    ];
    let types = expected.each_ref().map(Attribute::attribute_type);
    Ok(session.get_attributes(private, &types).context("read the protection of the key")? == expected)
}

fn random_id() -> Result<Vec<u8>, Pkcs11Error> {
    let mut id = vec![0; 16];
    getrandom::fill(&mut id).map_err(|error| {
        Pkcs11Error::Token(
            environment_error("key_creation_failed", "could not create an id for a new key")
                .with_advice("check the random number source of this machine")
                .with_source(error),
        )
    })?;
    Ok(id)
}
