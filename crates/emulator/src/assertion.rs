//! Client assertions: signed with an application's certificate, or tokens of this very service.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use base64ct::{Base64, Encoding};
use serde_json::Value;
use symbolon_types::Thumbprint;

use crate::calendar::unix;
use crate::csr;
use crate::jwt::Jws;
use crate::oauth::Refusal;
use crate::refusals;
use crate::state::State;
use crate::subject_key::Algorithm;

/// An assertion of the client about itself (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The same, bound to the certificate on TLS by its `cnf` (Entra; acceptance REQ-03).
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
/// The audience of tokens that are assertions for another application (Entra workload identity federation).
const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Whether an assertion of this type is bound to the certificate on TLS.
pub(crate) fn is_bound(assertion_type: Option<&str>) -> Result<bool, Refusal> {
    match assertion_type {
        Some(JWT_BEARER) => Ok(false),
        Some(JWT_POP) => Ok(true),
        _ => Err(refusals::ASSERTION_TYPE),
    }
}

/// Checks that an assertion authenticates this client now; with `bound_to`, over that certificate.
pub(crate) async fn check(
    assertion: &str,
    tenant: &str,
    client_id: &str,
    bound_to: Option<Thumbprint>,
    state: &State,
) -> Result<(), Refusal> {
    let assertion = Jws::parse(assertion).ok_or(refusals::ASSERTION_SIGNATURE)?;
    let claims = match self_signed(&assertion, client_id, state) {
        Some(claims) => {
            let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", state.urls.token);
            let own = claims["iss"] == client_id && claims["sub"] == client_id && claims["aud"] == endpoint;
            own.then_some(claims)
        }
        None => {
            let key = state.signer.key().await.ok_or(refusals::ASSERTION_SIGNATURE)?;
            let claims = key.verify(&assertion).ok_or(refusals::ASSERTION_SIGNATURE)?;
            let federated = state.settings.federated.iter().any(|known| known == client_id);
            (federated && claims["aud"] == EXCHANGE_AUDIENCE).then_some(claims)
        }
    };
    let claims = claims.filter(|claims| is_alive(claims, state)).ok_or(refusals::ASSERTION_CLAIMS)?;
    match bound_to {
        Some(certificate) if claims["cnf"]["x5t#S256"] != certificate.to_string() => {
            Err(refusals::ASSERTION_CERTIFICATE)
        }
        _ => Ok(()),
    }
}

/// The claims of an assertion that one of the client's certificates signed.
fn self_signed(assertion: &Jws<'_>, client_id: &str, state: &State) -> Option<Value> {
    let certificate = state.ca.find(thumbprint(&assertion.header)?)?;
    if certificate.client_id() != client_id
        || state.revoked.contains(&certificate.thumbprint())
        || !certificate.is_usable(state.clock.now())
    {
        return None;
    }
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).ok()?;
    let key = csr::subject_key_of(parsed.public_key().raw).ok()?;
    let algorithm: &'static dyn VerificationAlgorithm =
        match (assertion.header["alg"].as_str()?, key.algorithm) {
            ("PS256", Algorithm::Rsa) => &RSA_PSS_2048_8192_SHA256,
            ("RS256", Algorithm::Rsa) => &RSA_PKCS1_2048_8192_SHA256,
            ("ES256", Algorithm::P256) => &ECDSA_P256_SHA256_FIXED,
            _ => return None,
        };
    assertion.verify(algorithm, &key.octets)
}

/// Which certificate a header names: by `x5t#S256`, or by the leaf of `x5c` (RFC 7515 §4.1.6-8).
fn thumbprint(header: &Value) -> Option<Thumbprint> {
    if let Some(named) = header["x5t#S256"].as_str() {
        // MSAL for Python pads it, and MSAL for Go writes plain base64: Entra takes both.
        return named.trim_end_matches('=').replace('+', "-").replace('/', "_").parse().ok();
    }
    // The standard's array, or the bare text that MSAL.NET sends.
    let chain = &header["x5c"];
    let leaf = chain.as_str().or_else(|| chain.get(0)?.as_str())?;
    Some(Thumbprint::of(&Base64::decode_vec(leaf).ok()?))
}

/// Whether a token with these claims may be used now (RFC 7519 §4.1.4, §4.1.5).
pub(crate) fn is_alive(claims: &Value, state: &State) -> bool {
    let now = unix(state.clock.now());
    date(&claims["exp"]).is_some_and(|expires| now < expires)
        && (claims["nbf"].is_null() || date(&claims["nbf"]).is_some_and(|begins| begins <= now))
}

/// Whole seconds since 1970 (RFC 7519 §2, NumericDate): a number, with a fraction from MSAL for Python, or the text that
/// MSAL.NET sends.
fn date(claim: &Value) -> Option<u64> {
    match claim {
        Value::String(text) => text.parse().ok(),
        number => Duration::try_from_secs_f64(number.as_f64()?).ok().map(|since| since.as_secs()),
    }
}
