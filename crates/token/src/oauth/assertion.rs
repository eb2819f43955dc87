//! Client assertions: `private_key_jwt` (RFC 7523 §2.2, OIDC Core §9).

mod algorithm;
mod ecdsa;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value, json};
use symbolon_types::{ClientIdentity, CorrelationId, Error, ErrorKind, Secret, SigningKey};

use algorithm::{AlgorithmChoice, JwsAlgorithm};

/// The parameter for a client assertion (RFC 7521 §4.2).
pub(crate) const ASSERTION: &str = "client_assertion";
/// The parameter for the type of a client assertion (RFC 7521 §4.2).
pub(crate) const ASSERTION_TYPE: &str = "client_assertion_type";
/// The type of a signed JWT (RFC 7523 §2.2).
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The lifetime of an assertion (`docs/protocol/token-request.md#client-assertion`).
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The maximum length of encoded header and payload together.
const LONGEST_SIGNING_INPUT: usize = 65_536;
/// The claims that an application cannot set (RFC 7523 §3).
const RESERVED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

/// Signs client assertions with the key of a client's certificate.
///
/// An RSA key signs with PS256, or with RS256 if the key or the authority does not support PS256;
/// an ECDSA key signs with ES256 or ES384, according to its curve. The header identifies the
/// certificate by `x5t#S256`, under RS256 by `x5t`, as Entra ID and AD FS expect.
#[derive(Clone)]
pub(crate) struct AssertionSigner {
    identity: ClientIdentity,
    choice: AlgorithmChoice,
    /// An RSA key signs with RS256.
    prefers_rs256: bool,
    with_chain: bool,
    claims: Map<String, Value>,
}

impl AssertionSigner {
    /// Creates the signer for the client with this certificate.
    ///
    /// # Errors
    /// `key_unusable` if the key offers no algorithm for assertions.
    pub(crate) fn new(identity: ClientIdentity) -> Result<Self, Error> {
        let choice = AlgorithmChoice::for_key(identity.key()).ok_or_else(|| {
            unusable("the certificate's key has no signature algorithm for client assertions")
                .with_advice("use an RSA key of at least 2048 bits, or an ECDSA key on P-256 or P-384")
        })?;
        Ok(Self { identity, choice, prefers_rs256: false, with_chain: false, claims: Map::new() })
    }

    /// Returns a signer with the same settings for another certificate.
    ///
    /// # Errors
    /// `key_unusable` if the key offers no algorithm for assertions.
    pub(crate) fn for_identity(&self, identity: ClientIdentity) -> Result<Self, Error> {
        if identity == self.identity {
            return Ok(self.clone());
        }
        let signer =
            Self { with_chain: self.with_chain, claims: self.claims.clone(), ..Self::new(identity)? };
        Ok(match self.prefers_rs256 {
            // An EC key has one algorithm.
            true => signer.clone().rs256().unwrap_or(signer),
            false => signer,
        })
    }

    /// Signs with RS256 and identifies the certificate by its SHA-1 digest: for AD FS, and for
    /// issuers that may not support PS256.
    ///
    /// # Errors
    /// `key_unusable` if the key does not support RSASSA-PKCS1-v1_5.
    pub(crate) fn rs256(self) -> Result<Self, Error> {
        let choice = AlgorithmChoice::rs256(self.identity.key()).ok_or_else(|| {
            unusable("the authority requires RS256, which the certificate's key does not support")
                .with_advice("use a certificate with an RSA key")
        })?;
        Ok(Self { choice, prefers_rs256: true, ..self })
    }

    /// Adds the certificate chain in `x5c`, for an issuer that identifies the client by the subject
    /// and issuer of its certificate.
    pub(crate) fn with_chain(self) -> Self {
        Self { with_chain: true, ..self }
    }

    /// Adds the members of a JSON object to the claims.
    ///
    /// # Errors
    /// `invalid_client_assertion` if the text is not a JSON object, or has a reserved claim. The
    /// error does not quote it.
    pub(crate) fn with_claims(self, object: &str) -> Result<Self, Error> {
        // The parser's message would quote the claims.
        let claims: Map<String, Value> = serde_json::from_str(object).map_err(|_| {
            invalid("the extra claims of the client assertion are not a JSON object")
                .with_advice(r#"pass an object such as {"client_ip":"203.0.113.7"}"#)
        })?;
        if let Some(name) = RESERVED.iter().find(|name| claims.contains_key(**name)) {
            return Err(invalid(format!("the extra claims of the client assertion contain `{name}`"))
                .with_advice("leave out aud, exp, iat, iss, jti, nbf and sub: the credential sets them"));
        }
        Ok(Self { claims, ..self })
    }

    /// Returns the certificate.
    pub(crate) fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// Signs an assertion with a new `jti`. Each attempt of a request needs its own, because an
    /// issuer may refuse a `jti` that it has seen.
    ///
    /// # Errors
    /// `key_unusable` if the key fails; `invalid_client_assertion` if the extra claims or the chain
    /// make the assertion too long.
    pub(crate) fn sign(&self, audience: &str, client_id: &str, now: SystemTime) -> Result<Secret, Error> {
        let payload = encode(self.payload(audience, client_id, now)?);
        let AlgorithmChoice { preferred, fallback } = self.choice;
        match (self.sign_with(preferred, &payload), fallback) {
            // Some devices announce RSASSA-PSS and then fail to sign with it.
            (Err(error), Some(fallback)) if error.kind() == ErrorKind::Credential => {
                tracing::debug!(
                    algorithm = fallback.name(),
                    "the preferred algorithm failed; trying another"
                );
                self.sign_with(fallback, &payload).map_err(|_| error)
            }
            (outcome, _) => outcome,
        }
    }

    fn sign_with(&self, algorithm: JwsAlgorithm, payload: &str) -> Result<Secret, Error> {
        let mut assertion = format!("{}.{payload}", encode(self.header(algorithm)));
        if assertion.len() > LONGEST_SIGNING_INPUT {
            return Err(invalid("the client assertion would be longer than 65,536 bytes")
                .with_advice("use fewer extra claims, or a shorter certificate chain"));
        }
        let signature = self.signature(algorithm, assertion.as_bytes())?;
        assertion.push('.');
        assertion.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Ok(Secret::new(assertion))
    }

    fn signature(&self, algorithm: JwsAlgorithm, input: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.identity.key().sign(algorithm.scheme(), input).map_err(|cause| {
            unusable("the certificate's key could not sign the client assertion")
                .with_advice("check the device or file with the key")
                .with_source(cause)
        })?;
        algorithm.jws_form(signature).ok_or_else(|| {
            unusable("the certificate's key returned a signature that a client assertion cannot contain")
                .with_advice("use an RSA key of at least 2048 bits, or an ECDSA key on P-256 or P-384")
        })
    }

    fn header(&self, algorithm: JwsAlgorithm) -> Map<String, Value> {
        let (name, thumbprint) = algorithm.thumbprint(&self.identity);
        let mut header = Map::new();
        header.insert("typ".into(), "JWT".into());
        header.insert("alg".into(), algorithm.name().into());
        header.insert(name.into(), thumbprint.into());
        if self.with_chain {
            // Standard base64, not base64url (RFC 7515 §4.1.6).
            let chain = self.identity.chain().iter().map(|certificate| Base64::encode_string(certificate));
            header.insert("x5c".into(), chain.collect());
        }
        header
    }

    /// Returns the claims. Times are numbers (RFC 7519 §2).
    fn payload(&self, audience: &str, client_id: &str, now: SystemTime) -> Result<Map<String, Value>, Error> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| {
            Error::new(
                ErrorKind::Environment,
                "invalid_client_assertion",
                "the clock of this machine is before 1970; a client assertion cannot have a date",
            )
            .with_advice("set the clock")
        })?;
        let mut claims = self.claims.clone();
        for (name, value) in [
            ("aud", json!(audience)),
            ("iss", json!(client_id)),
            ("sub", json!(client_id)),
            ("jti", json!(CorrelationId::random().to_string())),
            ("iat", json!(now.as_secs())),
            ("nbf", json!(now.as_secs())),
            ("exp", json!(now.saturating_add(LIFETIME).as_secs())),
        ] {
            claims.insert(name.into(), value);
        }
        Ok(claims)
    }
}

// Hides the claims.
symbolon_types::debug_fields!(
    AssertionSigner |this|
    identity: this.identity, algorithm: this.choice.preferred, with_chain: this.with_chain
);

fn encode(object: Map<String, Value>) -> String {
    Base64UrlUnpadded::encode_string(Value::Object(object).to_string().as_bytes())
}

fn invalid(summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Request, "invalid_client_assertion", summary)
}

fn unusable(summary: &'static str) -> Error {
    Error::new(ErrorKind::Credential, "key_unusable", summary)
}
