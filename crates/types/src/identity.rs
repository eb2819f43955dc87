//! A certificate together with the key it is for.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::{SharedSigningKey, SigningKey, Strength, Thumbprint};

/// A client certificate chain, the key it is for, and the thumbprint that tokens are bound to.
///
/// This is the one value in which a credential, a TLS connection, a cache key and a result meet,
/// so that they cannot disagree. It is immutable and cheap to clone. Two identities are equal when
/// their leaf certificates are.
#[derive(Clone)]
pub struct ClientIdentity(Arc<Inner>);

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    key: SharedSigningKey,
    thumbprint: Thumbprint,
    not_before: SystemTime,
    not_after: SystemTime,
    usable_until: SystemTime,
}

/// Why a chain and a key do not make a client identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no certificate in the chain.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// A certificate of the chain is not one X.509 certificate in DER, from first to last byte.
    #[error("certificate {position} of the chain is not an X.509 certificate in DER")]
    MalformedCertificate {
        /// Its place in the chain, 0 for the leaf.
        position: usize,
    },
    /// The public key that the key reports is not a SubjectPublicKeyInfo in DER.
    #[error("the public key of the signing key is not a SubjectPublicKeyInfo in DER")]
    MalformedPublicKey,
    /// The leaf certificate is for another key.
    #[error("the leaf certificate is for another key")]
    KeyMismatch,
}

impl ClientIdentity {
    /// Joins a chain, leaf first, with the key that its leaf is for.
    ///
    /// # Errors
    /// When the chain is empty or malformed, or its leaf is for another key.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: SharedSigningKey) -> Result<Self, IdentityError> {
        let mut certificates = Vec::with_capacity(chain.len());
        for (position, der) in chain.iter().enumerate() {
            let certificate = Certificate::from_der(der);
            certificates.push(certificate.map_err(|_| IdentityError::MalformedCertificate { position })?);
        }
        let (Some(leaf), Some(leaf_der)) = (certificates.first(), chain.first()) else {
            return Err(IdentityError::EmptyChain);
        };
        let leaf = leaf.tbs_certificate();
        if !is_same_key(leaf.subject_public_key_info(), key.public_key())? {
            return Err(IdentityError::KeyMismatch);
        }
        let validity = leaf.validity();
        let not_after = validity.not_after.to_system_time();
        Ok(Self(Arc::new(Inner {
            thumbprint: Thumbprint::of(leaf_der),
            not_before: validity.not_before.to_system_time(),
            not_after,
            usable_until: not_after,
            chain,
            key,
        })))
    }

    /// The same identity, known to be accepted only until `instant`: an issuer may let a
    /// certificate ask for tokens for less long than it is valid. Never extends.
    #[must_use]
    pub fn usable_until_at_most(self, instant: SystemTime) -> Self {
        if instant >= self.0.usable_until {
            return self;
        }
        Self(Arc::new(Inner {
            chain: self.0.chain.clone(),
            key: self.0.key.clone(),
            usable_until: instant,
            ..*self.0
        }))
    }

    /// The certificates, leaf first, in DER.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The key that the leaf is for.
    #[must_use]
    pub fn key(&self) -> &SharedSigningKey {
        &self.0.key
    }

    /// `x5t#S256` of the leaf: what a bound token names in its `cnf` claim (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint
    }

    /// The leaf is not valid before this moment.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// The leaf is not valid after this moment.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// The last moment at which the certificate gets tokens: `not_after`, or earlier if the
    /// issuer said so.
    #[must_use]
    pub fn usable_until(&self) -> SystemTime {
        self.0.usable_until
    }

    /// How well the private key is kept.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.0.key.strength()
    }

    /// A reference that does not keep the identity alive: for what is kept per identity and should
    /// go when the identity goes, such as connections.
    #[must_use]
    pub fn downgrade(&self) -> WeakClientIdentity {
        WeakClientIdentity(Arc::downgrade(&self.0))
    }
}

/// RFC 3279 lets an RSA key carry NULL parameters or none, so the parts are compared, not the DER.
fn is_same_key(of_leaf: &SubjectPublicKeyInfoOwned, of_key: &[u8]) -> Result<bool, IdentityError> {
    let of_key =
        SubjectPublicKeyInfoOwned::from_der(of_key).map_err(|_| IdentityError::MalformedPublicKey)?;
    let parameters =
        |info: &SubjectPublicKeyInfoOwned| info.algorithm.parameters.clone().filter(|any| !any.is_null());
    Ok(of_leaf.algorithm.oid == of_key.algorithm.oid
        && parameters(of_leaf) == parameters(&of_key)
        && of_leaf.subject_public_key == of_key.subject_public_key)
}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.chain.first() == other.0.chain.first()
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.thumbprint.hash(state);
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("thumbprint", &self.0.thumbprint)
            .field("not_after", &self.0.not_after)
            .field("usable_until", &self.0.usable_until)
            .field("strength", &self.strength())
            .finish_non_exhaustive()
    }
}

/// A reference to a [`ClientIdentity`] that does not keep it alive.
#[derive(Clone)]
pub struct WeakClientIdentity(Weak<Inner>);

impl WeakClientIdentity {
    /// The identity, if somebody still holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<ClientIdentity> {
        self.0.upgrade().map(ClientIdentity)
    }
}

impl fmt::Debug for WeakClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakClientIdentity")
    }
}
