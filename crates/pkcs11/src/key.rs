//! A key on a token, as a signing key.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use symbolon_binding::device_key::{RSA_SCHEMES, digest, digest_info, ecdsa_signature};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SignatureScheme, SigningError, SigningKey, Strength};

use crate::failure::{Doing, Outcome};
use crate::key_pair::{Algorithm, KeyPair};
use crate::token::{Access, Token};

/// Clones are one key with one session.
#[derive(Clone)]
pub(crate) struct Pkcs11Key(Arc<Inner>);

struct Inner {
    token: Arc<Token>,
    algorithm: Algorithm,
    id: Vec<u8>,
    public_key: SubjectPublicKeyInfoDer<'static>,
    schemes: Vec<SignatureScheme>,
    strength: Strength,
    open: Mutex<Option<Open>>,
}

/// A session, and the key's handle in it.
struct Open {
    session: Session,
    private: ObjectHandle,
}

impl Pkcs11Key {
    pub(crate) fn new(
        token: Arc<Token>,
        algorithm: Algorithm,
        session: Session,
        pair: KeyPair,
        in_hardware: bool,
    ) -> Outcome<Self> {
        let KeyPair { private, id, public_key, never_left } = pair;
        let strength = match (never_left, in_hardware) {
            (true, true) => Strength::Hardware,
            (false, true) => {
                tracing::warn!(
                    "the key was not made on its token, or may leave it; it counts as a key in software"
                );
                Strength::Software
            }
            _ => Strength::Software,
        };
        let mut schemes = Vec::new();
        match algorithm {
            Algorithm::P256 => schemes.push(SignatureScheme::EcdsaP256Sha256),
            Algorithm::Rsa2048 => {
                for (mechanism, half) in [
                    (MechanismType::RSA_PKCS_PSS, &RSA_SCHEMES[..3]),
                    (MechanismType::RSA_PKCS, &RSA_SCHEMES[3..]),
                ] {
                    if token.knows(mechanism)? {
                        schemes.extend_from_slice(half);
                    }
                }
            }
        }
        let open = Mutex::new(Some(Open { session, private }));
        Ok(Self(Arc::new(Inner { token, algorithm, id, public_key, schemes, strength, open })))
    }

    /// Whether the token still has the key.
    pub(crate) fn is_there(&self) -> Outcome<()> {
        self.0.in_session(|open| {
            let seen = open.session.get_attributes(open.private, &[AttributeType::Id]);
            seen.doing("look at the key").map(drop)
        })
    }
}

impl Inner {
    /// Works in the session there is; if that is dead, in a new one, once.
    fn in_session<T>(&self, work: impl Fn(&Open) -> Outcome<T>) -> Outcome<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = open.as_ref() {
            match work(there) {
                Err(failure) if failure.is_of_session() => {
                    tracing::debug!(code = ?failure.code(), "the session with the token was lost; another is opened");
                    *open = None;
                }
                outcome => return outcome,
            }
        }
        let session = self.token.open(Access::Read)?;
        let private = self.algorithm.find_again(&session, &self.id, &self.public_key)?;
        let outcome = work(open.insert(Open { session, private }));
        if outcome.as_ref().is_err_and(|failure| failure.is_of_session()) {
            *open = None;
        }
        outcome
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
        // The digest is made here: not every token hashes, and none has to be sent whole messages.
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
            self.0.in_session(|open| open.session.sign(&mechanism, open.private, &input).doing("sign"))?;
        match self.0.algorithm {
            Algorithm::Rsa2048 => Ok(signature),
            Algorithm::P256 => ecdsa_signature(&signature),
        }
    }

    fn strength(&self) -> Strength {
        self.0.strength
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Key").finish_non_exhaustive()
    }
}
