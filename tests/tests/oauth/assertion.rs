//! Client assertions (RFC 7523 §2.2) built by hand, so that they can be wrong.

use std::time::{Duration, UNIX_EPOCH};

use crate::certificate::Certified;
use crate::clients::CertifiedClient;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::json;
use symbolon_types::{CorrelationId, SharedClock};

/// A signature algorithm (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
}

/// A client assertion to be signed.
#[derive(Clone)]
pub(crate) struct Assertion {
    client_id: &'static str,
    algorithm: Algorithm,
    key: Certified,
    audience: String,
    /// Seconds from now.
    expires_in: i64,
}

impl Assertion {
    /// The value of `client_assertion_type` (RFC 7523 §2.2).
    pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    /// The assertion of a client to an audience.
    pub(crate) fn new(client: &CertifiedClient, algorithm: Algorithm, audience: &str) -> Self {
        Self {
            client_id: client.id,
            algorithm,
            key: client.certified.clone(),
            audience: audience.to_owned(),
            expires_in: 300,
        }
    }

    /// The same, signed with another key.
    pub(crate) fn signed_with(self, key: &Certified) -> Self {
        Self { key: key.clone(), ..self }
    }

    /// The same, expired.
    pub(crate) fn expired(self) -> Self {
        Self { expires_in: -300, ..self }
    }

    /// The client that presents it.
    pub(crate) fn client_id(&self) -> &'static str {
        self.client_id
    }

    /// A signed JWT with a new `jti`.
    pub(crate) fn sign(&self) -> String {
        let now = SharedClock::system().now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = i64::try_from(now.as_secs()).unwrap();
        let header = json!({ "typ": "JWT", "alg": self.algorithm.name() });
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": CorrelationId::random().to_string(),
            "exp": now + self.expires_in,
        });
        let encode = |json: serde_json::Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.algorithm.sign(self.key.pkcs8().secret_pkcs8_der(), message.as_bytes());
        format!("{message}.{}", Base64UrlUnpadded::encode_string(&signature))
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn sign(self, pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
        let padding: &dyn RsaEncoding = match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Ps256 => &RSA_PSS_SHA256,
        };
        let pair = RsaKeyPair::from_pkcs8(pkcs8).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}
