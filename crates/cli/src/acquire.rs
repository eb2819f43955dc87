//! From options to a token.

use std::path::Path;

use symbolon::{Env, Error, HyperTransport, ManagedIdentity, SoftwareKeys, Token};

use crate::args::{Acquire, KeyKind};
use crate::failure;

/// Multiplies every retry delay; for tests.
const RETRY_SCALE: &str = "SYMBOLON_RETRY_SCALE";

/// The transport that the options describe.
pub(crate) fn transport(ca_file: Option<&Path>, env: &Env) -> Result<HyperTransport, Error> {
    let mut transport = HyperTransport::builder().env(env.clone());
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| {
            failure::request("invalid_usage", format!("cannot read --ca-file {}: {error}", path.display()))
        })?;
        transport = transport.root_certificates_pem(&pem);
    }
    transport.build().map_err(|error| failure::request("invalid_configuration", error.to_string()))
}

/// The identity that the options describe.
pub(crate) fn identity(
    options: &Acquire,
    ca_file: Option<&Path>,
    env: &Env,
) -> Result<ManagedIdentity, Error> {
    let transport = transport(ca_file, env)?;
    let keys = match options.key {
        KeyKind::Rsa2048 => SoftwareKeys::rsa_2048(),
        KeyKind::P256 => SoftwareKeys::p256(),
    };
    let identity = ManagedIdentity::builder()
        .identity(options.identity.clone())
        .env(env.clone())
        .transport(transport)
        .key_provider(keys)
        .minimum_strength(options.min_strength.strength())
        .capabilities(options.claims.capabilities.iter().cloned())
        .retry_scale(retry_scale(env)?)
        .build()?;
    Ok(identity)
}

/// One token as the options ask for it.
pub(crate) async fn token(
    identity: &ManagedIdentity,
    options: &Acquire,
    force_refresh: bool,
) -> Result<Token, Error> {
    let mut request = identity.token(&options.resource);
    if options.pop {
        request = request.proof_of_possession();
    }
    if let Some(claims) = &options.claims.claims {
        request = request.claims(claims);
    }
    if let Some(claims) = &options.claims.client_claims {
        request = request.claims_from_client(claims);
    }
    if force_refresh {
        request = request.force_refresh();
    }
    request.await
}

pub(crate) fn retry_scale(env: &Env) -> Result<f64, Error> {
    let Some(text) = env.var(RETRY_SCALE) else { return Ok(1.0) };
    match text.parse::<f64>() {
        Ok(scale) if scale.is_finite() && scale >= 0.0 => Ok(scale),
        _ => Err(failure::request("invalid_usage", format!("{RETRY_SCALE} is not a number of 0 or more"))),
    }
}
