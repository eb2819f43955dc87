//! From options to a token.

use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use symbolon::PersistedKeys;
use symbolon::parts::hyper::BuildError;
use symbolon::{
    Context, Env, Error, HyperTransport, ManagedIdentity, ManagedIdentityBuilder, SoftwareKeys, Token,
};

use crate::args::{Acquire, KeyKind, Keys};
use crate::failure;

/// Where persisted bindings live.
#[cfg(unix)]
const STATE_DIR: &str = "SYMBOLON_STATE_DIR";
/// Multiplies every retry delay; for tests.
const RETRY_SCALE: &str = "SYMBOLON_RETRY_SCALE";

/// The transport that the options describe.
pub(crate) fn transport(ca_file: Option<&Path>, env: &Env) -> Result<HyperTransport, Error> {
    let mut transport = HyperTransport::builder().context(Context::default().with_env(env.clone()));
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| {
            failure::request("invalid_usage", format!("cannot read --ca-file {}: {error}", path.display()))
        })?;
        transport = transport.root_certificates_pem(&pem);
    }
    transport.build().map_err(|error| {
        let what = match (&error, ca_file) {
            (BuildError::MalformedRoot { .. } | BuildError::NoRoot, Some(path)) => {
                format!("--ca-file {}: {error}", path.display())
            }
            _ => error.to_string(),
        };
        failure::request("invalid_configuration", what)
    })
}

/// The identity that the options describe.
pub(crate) fn identity(
    options: &Acquire,
    ca_file: Option<&Path>,
    env: &Env,
) -> Result<ManagedIdentity, Error> {
    options.claims.check()?;
    builder(&options.keys, ca_file, env)?
        .identity(options.identity.clone())
        .capabilities(options.claims.capabilities.iter().cloned())
        .build()
}

/// An identity of this machine, its own unless another is named.
pub(crate) fn builder(
    keys: &Keys,
    ca_file: Option<&Path>,
    env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    let builder = ManagedIdentity::builder()
        .context(context(env)?)
        .transport(transport(ca_file, env)?)
        .minimum_strength(keys.min_strength.strength());
    with_keys(builder, keys, env)
}

#[cfg(unix)]
fn with_keys(
    builder: ManagedIdentityBuilder,
    options: &Keys,
    env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    if !options.persist_binding {
        return Ok(builder.key_provider(software_keys(options)));
    }
    let folder = state_folder(env)?;
    let keys = match options.key {
        KeyKind::Rsa2048 => PersistedKeys::rsa_2048(&folder),
        KeyKind::P256 => PersistedKeys::p256(&folder),
    };
    Ok(builder.persist_bindings(folder).key_provider(keys))
}

#[cfg(not(unix))]
fn with_keys(
    builder: ManagedIdentityBuilder,
    options: &Keys,
    _env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    if options.persist_binding {
        return Err(failure::request("invalid_usage", "--persist-binding works on Unix only".to_owned()));
    }
    Ok(builder.key_provider(software_keys(options)))
}

fn software_keys(options: &Keys) -> SoftwareKeys {
    match options.key {
        KeyKind::Rsa2048 => SoftwareKeys::rsa_2048(),
        KeyKind::P256 => SoftwareKeys::p256(),
    }
}

/// Where persisted bindings live (XDG Base Directory Specification, `$XDG_STATE_HOME`).
#[cfg(unix)]
fn state_folder(env: &Env) -> Result<PathBuf, Error> {
    let absolute = |name| env.var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = env.var(STATE_DIR) {
        return Ok(PathBuf::from(folder));
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("symbolon")).ok_or_else(|| {
        failure::request("invalid_usage", format!("there is no home directory: set {STATE_DIR} to a folder"))
    })
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
    if options.over_mtls {
        request = request.over_mtls();
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

/// Returns the context with these variables, and the retry scale that they set.
pub(crate) fn context(env: &Env) -> Result<Context, Error> {
    let context = Context::default().with_env(env.clone());
    let Some(text) = env.var(RETRY_SCALE) else { return Ok(context) };
    match text.parse::<f64>() {
        Ok(scale) if scale.is_finite() && scale >= 0.0 => Ok(context.with_retry_scale(scale)),
        _ => Err(failure::request("invalid_usage", format!("{RETRY_SCALE} is not a number of 0 or more"))),
    }
}
