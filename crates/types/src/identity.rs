//! Client identities.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::{ClockReading, SharedSigningKey, SigningKey, Strength, Thumbprint};

/// A client certificate chain, the key of its leaf, and the thumbprint that tokens are bound to.
///
/// A credential, its TLS connections, its cache keys and the resulting tokens share one value of
/// this type, so that they cannot disagree. It is immutable and cheap to clone. Two identities are
/// equal if their leaf certificates are.
#[derive(Clone)]
pub struct ClientIdentity(Arc<ClientIdentityParts>);

struct ClientIdentityParts {
    chain: Vec<CertificateDer<'static>>,
    key: SharedSigningKey,
    thumbprint: Thumbprint,
    not_before: SystemTime,
    not_after: SystemTime,
    usable_until: SystemTime,
    issued_at: Option<ClockReading>,
}

/// The error of combining a chain and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The chain is empty.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// A certificate of the chain is not exactly one X.509 certificate in DER.
    #[error("certificate {position} of the chain is not an X.509 certificate in DER")]
    MalformedCertificate {
        /// The position in the chain, 0 for the leaf.
        position: usize,
    },
    /// The public key of the signing key is not a SubjectPublicKeyInfo in DER.
    #[error("the public key of the signing key is not a SubjectPublicKeyInfo in DER")]
    MalformedPublicKey,
    /// The leaf certificate is for another key.
    #[error("the leaf certificate is for another key")]
    KeyMismatch,
}

impl ClientIdentity {
    /// Creates an identity from a chain, leaf first, and the key of its leaf.
    ///
    /// # Errors
    /// [`IdentityError`] if the chain is empty or malformed, or its leaf is for another key.
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
        Ok(Self(Arc::new(ClientIdentityParts {
            thumbprint: Thumbprint::of(leaf_der),
            not_before: validity.not_before.to_system_time(),
            not_after,
            usable_until: not_after,
            issued_at: None,
            chain,
            key,
        })))
    }

    /// Shortens the time in which tokens can be requested to `limit`: an issuer may limit it to
    /// less than the certificate's validity. A later `limit` changes nothing.
    #[must_use]
    pub fn usable_until_at_most(self, limit: SystemTime) -> Self {
        if limit >= self.0.usable_until {
            return self;
        }
        Self(Arc::new(ClientIdentityParts {
            chain: self.0.chain.clone(),
            key: self.0.key.clone(),
            usable_until: limit,
            ..*self.0
        }))
    }

    /// Sets the moment at which the certificate was issued, on the clock of its issuer, so that
    /// [`time_until`](Self::time_until) does not depend on the clock of this machine.
    #[must_use]
    pub fn issued_at(self, reading: ClockReading) -> Self {
        Self(Arc::new(ClientIdentityParts {
            chain: self.0.chain.clone(),
            key: self.0.key.clone(),
            issued_at: Some(reading),
            ..*self.0
        }))
    }

    /// Returns the time until a date of this certificate, such as [`not_after`](Self::not_after);
    /// zero if it has passed. It is counted from the moment of issue, if that is known.
    #[must_use]
    pub fn time_until(&self, date: SystemTime, now: ClockReading) -> Duration {
        match &self.0.issued_at {
            Some(issued_at) => issued_at.steady_at(date).since(now.steady),
            None => now.until(date),
        }
    }

    /// Returns the certificates in DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// Returns the key of the leaf.
    #[must_use]
    pub fn key(&self) -> &SharedSigningKey {
        &self.0.key
    }

    /// Returns the `x5t#S256` of the leaf, which the `cnf` claim of a bound token contains
    /// (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint
    }

    /// Returns the beginning of the leaf's validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// Returns the end of the leaf's validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// Returns the time until which tokens can be requested: `not_after`, or an earlier limit of
    /// the issuer.
    #[must_use]
    pub fn usable_until(&self) -> SystemTime {
        self.0.usable_until
    }

    /// Returns the protection of the private key.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.0.key.strength()
    }

    /// Returns a reference that does not keep the identity alive, for resources such as connections
    /// that should be dropped with it.
    #[must_use]
    pub fn downgrade(&self) -> WeakClientIdentity {
        WeakClientIdentity(Arc::downgrade(&self.0))
    }
}

/// Compares the parts, not the DER: an RSA key may have NULL parameters or none (RFC 3279 §2.3.1).
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

/// Borrows the thumbprint of the leaf.
impl AsRef<Thumbprint> for ClientIdentity {
    fn as_ref(&self) -> &Thumbprint {
        &self.0.thumbprint
    }
}

crate::debug_fields!(
    ClientIdentity |this|
    thumbprint: this.0.thumbprint, not_after: this.0.not_after, usable_until: this.0.usable_until,
    strength: this.strength()
);

/// A reference to a [`ClientIdentity`] that does not keep it alive. The default refers to none.
#[derive(Clone, Default)]
pub struct WeakClientIdentity(Weak<ClientIdentityParts>);

impl WeakClientIdentity {
    /// Returns the identity, if it still has an owner.
    #[must_use]
    pub fn upgrade(&self) -> Option<ClientIdentity> {
        self.0.upgrade().map(ClientIdentity)
    }
}

crate::debug_fields!(WeakClientIdentity);
