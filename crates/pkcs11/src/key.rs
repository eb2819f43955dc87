//! Signing key on a token.

use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use symbolon_binding::device_key::{RSA_SCHEMES, digest, digest_info, ecdsa_signature};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use crate::error::{OperationContext, Pkcs11Error};
use crate::key_pair::{KeyPair, KeyPairAlgorithm};
use crate::token::{Pkcs11Token, SessionAccess};

/// Signing key with one session, which clones share.
#[derive(Clone)]
pub(crate) struct Pkcs11Key(Arc<Pkcs11KeyParts>);

struct Pkcs11KeyParts {
    token: Arc<Pkcs11Token>,
    algorithm: KeyPairAlgorithm,
    id: Vec<u8>,
    public_key: SubjectPublicKeyInfoDer<'static>,
    schemes: Vec<SignatureScheme>,
    strength: Strength,
    uri: String,
    session: Mutex<Option<KeySession>>,
}

/// Session, with the handle of the key in it.
struct KeySession {
    session: Session,
    private: ObjectHandle,
}

impl Pkcs11Key {
    pub(crate) fn new(
        token: Arc<Pkcs11Token>,
        algorithm: KeyPairAlgorithm,
        session: Session,
        pair: KeyPair,
        in_hardware: bool,
    ) -> Result<Self, Pkcs11Error> {
        let KeyPair { private, id, public_key, never_extractable } = pair;
        let is_protected = in_hardware && never_extractable;
        if in_hardware && !is_protected {
            tracing::warn!(
                "the key was not created on its token, or can be extracted; its strength is `software`"
            );
        }
        let strength = if is_protected { Strength::Hardware } else { Strength::Software };
        let mut schemes = Vec::new();
        match algorithm {
            KeyPairAlgorithm::P256 => schemes.push(SignatureScheme::EcdsaP256Sha256),
            KeyPairAlgorithm::Rsa2048 => {
                for (mechanism, schemes_of_mechanism) in [
                    (MechanismType::RSA_PKCS_PSS, &RSA_SCHEMES[..3]),
                    (MechanismType::RSA_PKCS, &RSA_SCHEMES[3..]),
                ] {
                    if token.supports(mechanism)? {
                        schemes.extend_from_slice(schemes_of_mechanism);
                    }
                }
            }
        }
        let uri = token.key_uri(&id)?;
        let session = Mutex::new(Some(KeySession { session, private }));
        Ok(Self(Arc::new(Pkcs11KeyParts {
            token,
            algorithm,
            id,
            public_key,
            schemes,
            strength,
            uri,
            session,
        })))
    }

    /// Checks that the token still has the key.
    pub(crate) fn check_exists(&self) -> Result<(), Pkcs11Error> {
        self.0.in_session(|key| {
            let attributes = key.session.get_attributes(key.private, &[AttributeType::Id]);
            attributes.context("read the key").map(drop)
        })
    }
}

impl Pkcs11KeyParts {
    /// Runs `work` in the current session. If the session is lost, runs it once more in a new one.
    fn in_session<T>(&self, work: impl Fn(&KeySession) -> Result<T, Pkcs11Error>) -> Result<T, Pkcs11Error> {
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = current.as_ref() {
            match work(session) {
                Err(error) if error.is_session_lost() => {
                    tracing::debug!(code = ?error.code(), "the session with the token is lost; opening another");
                    *current = None;
                }
                result => return result,
            }
        }
        let session = self.token.open(SessionAccess::Read)?;
        let private = self.algorithm.find_again(&session, &self.id, &self.public_key)?;
        let result = work(current.insert(KeySession { session, private }));
        if result.as_ref().is_err_and(Pkcs11Error::is_session_lost) {
            *current = None;
        }
        result
    }
}

impl SigningKey for Pkcs11Key {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.0.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if !self.0.schemes.contains(&scheme) {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        let pss = |hash_alg, mgf, length: u64| {
            Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: length.into() })
        };
        // Not every token can hash, and a digest is shorter than the message.
        let (mechanism, input) = match scheme {
            SignatureScheme::RsaPssSha256 => {
                (pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32), digest(scheme, message)?)
            }
            SignatureScheme::RsaPssSha384 => {
                (pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48), digest(scheme, message)?)
            }
            SignatureScheme::RsaPssSha512 => {
                (pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64), digest(scheme, message)?)
            }
            SignatureScheme::EcdsaP256Sha256 => (Mechanism::Ecdsa, digest(scheme, message)?),
            _ => (Mechanism::RsaPkcs, digest_info(scheme, message)?),
        };
        let signature =
            self.0.in_session(|key| key.session.sign(&mechanism, key.private, &input).context("sign"))?;
        match self.0.algorithm {
            KeyPairAlgorithm::Rsa2048 => Ok(signature),
            KeyPairAlgorithm::P256 => ecdsa_signature(&signature),
        }
    }

    fn strength(&self) -> Strength {
        self.0.strength
    }

    fn location(&self) -> Option<&str> {
        Some(&self.0.uri)
    }
}

symbolon_types::debug_fields!(Pkcs11Key);
