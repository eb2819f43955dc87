//! What a client says about itself, signed: `private_key_jwt` (RFC 7523 §2.2, OIDC Core §9).

mod algorithm;
mod ecdsa;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value, json};
use symbolon_types::{ClientIdentity, CorrelationId, Error, ErrorKind, Secret, SigningKey};

use algorithm::{AlgorithmChoice, JwsAlgorithm};

/// The parameter that carries an assertion (RFC 7521 §4.2).
pub(crate) const ASSERTION: &str = "client_assertion";
/// The parameter that names the kind of assertion (RFC 7521 §4.2).
pub(crate) const ASSERTION_TYPE: &str = "client_assertion_type";
/// The kind of a signed JWT (RFC 7523 §2.2).
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion is good for (MSAL.NET `JsonWebToken`).
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The most bytes of header and payload together, as they are signed (MSAL.NET `JsonWebToken`).
const LONGEST_SIGNING_INPUT: usize = 65_536;
/// The claims that are ours to set (RFC 7523 §3).
const RESERVED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

/// Signs assertions with the key of a client's certificate.
///
/// An RSA key signs with PS256, or with RS256 where the key or the authority cannot do better; an
/// ECDSA key signs with ES256 or ES384, as its curve says. The header names the certificate by
/// `x5t#S256`, under RS256 by `x5t`: the two forms that Entra ID and AD FS know.
#[derive(Clone)]
pub(crate) struct AssertionSigner {
    identity: ClientIdentity,
    choice: AlgorithmChoice,
    with_chain: bool,
    claims: Map<String, Value>,
}

impl AssertionSigner {
    /// Assertions of the client whose certificate this is.
    ///
    /// # Errors
    /// `key_unusable` if the key offers no algorithm for assertions.
    pub(crate) fn new(identity: ClientIdentity) -> Result<Self, Error> {
        let choice = AlgorithmChoice::for_key(identity.key()).ok_or_else(|| {
            unusable("the certificate's key offers no signature that a client assertion can have")
                .with_advice("use an RSA key of at least 2048 bits, or an ECDSA key on P-256 or P-384")
        })?;
        Ok(Self { identity, choice, with_chain: false, claims: Map::new() })
    }

    /// The same, signed with RS256 and naming the certificate by its SHA-1 digest: for AD FS, and
    /// for issuers whose support of PS256 is not known.
    ///
    /// # Errors
    /// `key_unusable` if the key does not offer RSASSA-PKCS1-v1_5.
    pub(crate) fn rs256(self) -> Result<Self, Error> {
        let choice = AlgorithmChoice::rs256(self.identity.key()).ok_or_else(|| {
            unusable("the authority needs RS256, which the certificate's key does not offer")
                .with_advice("use a certificate with an RSA key")
        })?;
        Ok(Self { choice, ..self })
    }

    /// The same, with the whole chain in `x5c`: for an issuer that knows the client by the subject
    /// and issuer of its certificate.
    pub(crate) fn with_chain(self) -> Self {
        Self { with_chain: true, ..self }
    }

    /// The same, with the members of this JSON object among the claims.
    ///
    /// # Errors
    /// `invalid_client_assertion` if it is not a JSON object, or sets a claim that is ours to set;
    /// its text is not in the error.
    pub(crate) fn with_claims(self, object: &str) -> Result<Self, Error> {
        // The parser's own message would quote the claims, so it is not kept.
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

    /// An assertion for one request to this audience, with a `jti` of its own. A request that is
    /// repeated needs another one: an issuer may refuse a `jti` that it has seen.
    ///
    /// # Errors
    /// `key_unusable` if the key fails; `invalid_client_assertion` if the extra claims or the chain
    /// make the assertion too long.
    pub(crate) fn sign(&self, audience: &str, client_id: &str, now: SystemTime) -> Result<Secret, Error> {
        let payload = encode(self.payload(audience, client_id, now)?);
        let AlgorithmChoice { preferred, fallback } = self.choice;
        match (self.sign_with(preferred, &payload), fallback) {
            // There are devices that offer RSASSA-PSS and then refuse it (MSAL.NET `JsonWebToken`).
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
                .with_advice("send fewer extra claims, or a shorter certificate chain"));
        }
        let signature = self.signature(algorithm, assertion.as_bytes())?;
        assertion.push('.');
        assertion.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Ok(Secret::new(assertion))
    }

    fn signature(&self, algorithm: JwsAlgorithm, input: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.identity.key().sign(algorithm.scheme(), input).map_err(|cause| {
            unusable("the certificate's key could not sign the client assertion")
                .with_advice("check the device or file that holds the key")
                .with_source(cause)
        })?;
        algorithm.jws_form(signature).ok_or_else(|| {
            unusable("the certificate's key made a signature that a client assertion cannot have")
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
            // An array, and standard base64 where everything else is base64url (RFC 7515 §4.1.6).
            let chain = self.identity.chain().iter().map(|certificate| Base64::encode_string(certificate));
            header.insert("x5c".into(), chain.collect());
        }
        header
    }

    /// The times are numbers, as RFC 7519 §2 has it; MSAL.NET sends texts.
    fn payload(&self, audience: &str, client_id: &str, now: SystemTime) -> Result<Map<String, Value>, Error> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| {
            Error::new(
                ErrorKind::Environment,
                "invalid_client_assertion",
                "a client assertion cannot be dated: the clock of this machine is before 1970",
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

/// Shows which certificate signs how, and no claim.
impl fmt::Debug for AssertionSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionSigner")
            .field("identity", &self.identity)
            .field("algorithm", &self.choice.preferred)
            .field("with_chain", &self.with_chain)
            .finish_non_exhaustive()
    }
}

fn encode(object: Map<String, Value>) -> String {
    Base64UrlUnpadded::encode_string(Value::Object(object).to_string().as_bytes())
}

fn invalid(summary: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Request, "invalid_client_assertion", summary)
}

fn unusable(summary: &'static str) -> Error {
    Error::new(ErrorKind::Credential, "key_unusable", summary)
}
