//! Signing and verifying RS256 tokens.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// A signer of tokens. Its key is generated on a separate thread, so that only the first token
/// waits for it.
pub(crate) struct TokenSigner {
    /// The emulator's runtime: a caller of [`Self::key`] may have another one.
    runtime: Handle,
    key: OnceCell<Arc<RsaTokenKey>>,
}

impl TokenSigner {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, key: OnceCell::new() }
    }

    /// Returns the key, generated at the first call, or `None` if that failed.
    pub(crate) async fn key(&self) -> Option<Arc<RsaTokenKey>> {
        let key = self.key.get_or_try_init(|| async {
            self.runtime.spawn_blocking(RsaTokenKey::generate).await.ok().flatten().map(Arc::new).ok_or(())
        });
        key.await.ok().cloned()
    }
}

/// An RSA-2048 key with its key id.
pub(crate) struct RsaTokenKey {
    pair: KeyPair,
    modulus: String,
    exponent: String,
    id: String,
}

impl RsaTokenKey {
    fn generate() -> Option<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let (_, public) = RSAPublicKey::from_der(pair.public_key().as_ref()).ok()?;
        let modulus = Base64UrlUnpadded::encode_string(strip_zeros(public.modulus));
        let exponent = Base64UrlUnpadded::encode_string(strip_zeros(public.exponent));
        // The JWK thumbprint (RFC 7638 §3.1): the required members in this order, without spaces.
        let canonical = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
        let id = Base64UrlUnpadded::encode_string(digest(&SHA256, canonical.as_bytes()).as_ref());
        Some(Self { pair, modulus, exponent, id })
    }

    /// Returns the public key as a JWK (RFC 7517 §4, RFC 7518 §6.3).
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": self.modulus, "e": self.exponent,
        })
    }

    /// Signs the claims as a compact JWS (RFC 7515 §7.1).
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": self.id });
        let mut token = Base64UrlUnpadded::encode_string(header.to_string().as_bytes());
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).ok()?;
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Some(token)
    }

    /// Returns the claims of a token signed with this key.
    pub(crate) fn verify(&self, token: &CompactJws<'_>) -> Option<Value> {
        // The algorithm in the header is ignored: this key has only one.
        token.verify(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref())
    }
}

/// A parsed compact JWS (RFC 7515 §5.2).
pub(crate) struct CompactJws<'a> {
    pub(crate) header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> CompactJws<'a> {
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part| serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).ok()?).ok();
        let signature = Base64UrlUnpadded::decode_vec(signature).ok()?;
        Some(Self { header: json(header)?, claims: json(claims)?, signed, signature })
    }

    /// Returns the claims without verifying the signature.
    pub(crate) fn unverified_claims(&self) -> &Value {
        &self.claims
    }

    /// Returns the claims if the signature verifies with this public key.
    pub(crate) fn verify(&self, algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Option<Value> {
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok().then(|| self.claims.clone())
    }
}

/// Returns the octets of a DER integer without the sign octet (RFC 7518 §2, Base64urlUInt).
fn strip_zeros(octets: &[u8]) -> &[u8] {
    &octets[octets.iter().take_while(|octet| **octet == 0).count()..]
}
