//! Client assertions: signed with a certificate of the client, or issued by this token service.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use base64ct::{Base64, Encoding};
use serde_json::Value;
use symbolon_types::Thumbprint;

use crate::calendar::unix;
use crate::pki::{SubjectKeyAlgorithm, csr};
use crate::protocol::{CompactJws, TokenError};
use crate::state::EmulatorState;

/// The type of an unbound client assertion (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The type of a client assertion that is bound to the client certificate of the TLS connection
/// (docs/protocol/token-request.md#client-assertion).
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
/// The audience of tokens that serve as assertions for another application, by [workload identity
/// federation](https://learn.microsoft.com/entra/workload-id/workload-identity-federation).
const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Returns true if assertions of this type are bound to the client certificate.
pub(super) fn is_bound(assertion_type: Option<&str>) -> Result<bool, TokenError> {
    match assertion_type {
        Some(JWT_BEARER) => Ok(false),
        Some(JWT_POP) => Ok(true),
        _ => Err(TokenError::ASSERTION_TYPE),
    }
}

/// Checks that an assertion authenticates this client, and confirms the certificate `bound_to`.
pub(super) async fn check(
    assertion: &str,
    tenant: &str,
    client_id: &str,
    bound_to: Option<Thumbprint>,
    state: &EmulatorState,
) -> Result<(), TokenError> {
    let assertion = CompactJws::parse(assertion).ok_or(TokenError::ASSERTION_SIGNATURE)?;
    let claims = match self_signed_claims(&assertion, client_id, state) {
        Some(claims) => {
            let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", state.urls.token);
            let valid = claims["iss"] == client_id && claims["sub"] == client_id && claims["aud"] == endpoint;
            valid.then_some(claims)
        }
        None => {
            let key = state.signer.key().await.ok_or(TokenError::ASSERTION_SIGNATURE)?;
            let claims = key.verify(&assertion).ok_or(TokenError::ASSERTION_SIGNATURE)?;
            let federated = state.settings.federated.iter().any(|federated| federated == client_id);
            let trusts = federated || is_child(&claims, tenant, client_id);
            (trusts && claims["aud"] == EXCHANGE_AUDIENCE).then_some(claims)
        }
    };
    let claims = claims.filter(|claims| is_current(claims, state)).ok_or(TokenError::ASSERTION_CLAIMS)?;
    match bound_to {
        Some(certificate) if claims["cnf"]["x5t#S256"] != certificate.to_string() => {
            Err(TokenError::ASSERTION_CERTIFICATE)
        }
        _ => Ok(()),
    }
}

/// Returns the subject of a token that represents a child of a client, by its path. The form is
/// this emulator's own; that of Entra is not documented.
pub(super) fn child_subject(tenant: &str, client_id: &str, path: &str) -> String {
    format!("/eid1/c/pub/t/{tenant}/a/{client_id}/{path}")
}

/// Returns true if a token represents this client as the child of the client that requested it.
fn is_child(claims: &Value, tenant: &str, client_id: &str) -> bool {
    let parent = claims["appid"].as_str().unwrap_or_default();
    claims["sub"] == child_subject(tenant, parent, client_id)
}

/// Returns true if a token is one that this client requested for an exchange.
pub(super) fn is_exchange_token_of(claims: &Value, client_id: &str) -> bool {
    claims["aud"] == EXCHANGE_AUDIENCE && claims["appid"] == client_id
}

/// Returns the claims of an assertion that is signed with a certificate of the client.
fn self_signed_claims(assertion: &CompactJws<'_>, client_id: &str, state: &EmulatorState) -> Option<Value> {
    let certificate = state.ca.find(named_certificate(&assertion.header)?)?;
    if certificate.client_id != client_id
        || state.revoked.contains(&certificate.thumbprint)
        || !certificate.is_usable(state.clock.now())
    {
        return None;
    }
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.der).ok()?;
    let key = csr::parse_subject_key(parsed.public_key().raw).ok()?;
    let algorithm: &'static dyn VerificationAlgorithm =
        match (assertion.header["alg"].as_str()?, key.algorithm) {
            ("PS256", SubjectKeyAlgorithm::Rsa) => &RSA_PSS_2048_8192_SHA256,
            ("RS256", SubjectKeyAlgorithm::Rsa) => &RSA_PKCS1_2048_8192_SHA256,
            ("ES256", SubjectKeyAlgorithm::P256) => &ECDSA_P256_SHA256_FIXED,
            _ => return None,
        };
    assertion.verify(algorithm, &key.octets)
}

/// Returns the certificate that a header names, by `x5t#S256` or by the leaf of `x5c`
/// (RFC 7515 §4.1.6, §4.1.8).
fn named_certificate(header: &Value) -> Option<Thumbprint> {
    if let Some(named) = header["x5t#S256"].as_str() {
        // Entra accepts the padding of MSAL for Python and the plain base64 of MSAL for Go.
        return named.trim_end_matches('=').replace('+', "-").replace('/', "_").parse().ok();
    }
    // RFC 7515 requires an array; MSAL.NET sends a string.
    let chain = &header["x5c"];
    let leaf = chain.as_str().or_else(|| chain.get(0)?.as_str())?;
    Some(Thumbprint::of(&Base64::decode_vec(leaf).ok()?))
}

/// Returns true between `nbf` and `exp` (RFC 7519 §4.1.4, §4.1.5).
pub(super) fn is_current(claims: &Value, state: &EmulatorState) -> bool {
    let now = unix(state.clock.now());
    numeric_date(&claims["exp"]).is_some_and(|expires| now < expires)
        && (claims["nbf"].is_null() || numeric_date(&claims["nbf"]).is_some_and(|begins| begins <= now))
}

/// Reads whole seconds since 1970 (RFC 7519 §2): a number, with a fraction from MSAL for Python, or
/// the string that MSAL.NET sends.
fn numeric_date(claim: &Value) -> Option<u64> {
    match claim {
        Value::String(text) => text.parse().ok(),
        number => Duration::try_from_secs_f64(number.as_f64()?).ok().map(|since| since.as_secs()),
    }
}
