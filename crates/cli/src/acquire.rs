//! Transport, identity and token, configured by options.

use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use symbolon::PersistedKeys;
use symbolon::parts::hyper::{BuildError, ConfigError, HyperTransportBuilder};
use symbolon::parts::types::printable;
use symbolon::{
    Connections, Context, Env, Error, HyperTransport, ManagedIdentity, ManagedIdentityBuilder,
    ManagedIdentityId, SoftwareKeys, Token,
};
use zeroize::Zeroizing;

use crate::args::GlobalOptions;
use crate::args::request::{AcquireOptions, KeyOptions, KeyType};
use crate::failure;
use crate::server_log::ServerLog;

/// The variable with the client id of an application or a user-assigned identity, for SDKs.
pub(crate) const CLIENT_ID: &str = "AZURE_CLIENT_ID";
/// The variable with the folder of persisted bindings.
#[cfg(unix)]
const STATE_DIR: &str = "SYMBOLON_STATE_DIR";
/// The variable with a factor for every retry delay, for tests.
const RETRY_SCALE: &str = "SYMBOLON_RETRY_SCALE";

/// Returns the HTTP transport.
pub(crate) fn transport(ca_file: Option<&Path>, env: &Env) -> Result<HyperTransport, Error> {
    built(transport_builder(ca_file, env)?, ca_file)
}

pub(crate) fn transport_builder(ca_file: Option<&Path>, env: &Env) -> Result<HyperTransportBuilder, Error> {
    let mut transport = HyperTransport::builder().context(Context::default().with_env(env.clone()));
    if let Some(pem) = read_ca_file(ca_file)? {
        transport = transport.root_certificates_pem(&pem);
    }
    Ok(transport)
}

pub(crate) fn built(
    transport: HyperTransportBuilder,
    ca_file: Option<&Path>,
) -> Result<HyperTransport, Error> {
    transport.build().map_err(|error| unusable(&error, ca_file))
}

/// Returns connections for streaming calls.
pub(crate) fn connections(ca_file: Option<&Path>, env: &Env, http2: bool) -> Result<Connections, Error> {
    let mut connections = Connections::builder().context(context(env)?).http2(http2);
    if let Some(pem) = read_ca_file(ca_file)? {
        connections = connections.root_certificates_pem(&pem);
    }
    connections.build().map_err(|error| unusable(&error, ca_file))
}

fn read_ca_file(ca_file: Option<&Path>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some(path) = ca_file else { return Ok(None) };
    crate::input_file::read(path).map(Some).map_err(|error| {
        failure::request("invalid_usage", format!("cannot read --ca-file {}: {error}", path.display()))
    })
}

fn unusable(error: &BuildError, ca_file: Option<&Path>) -> Error {
    let what = match (error, ca_file) {
        (BuildError::Tls(ConfigError::MalformedRoot { .. } | ConfigError::NoRoot), Some(path)) => {
            format!("--ca-file {}: {error}", path.display())
        }
        _ => error.to_string(),
    };
    failure::request("invalid_configuration", what)
}

/// Returns the managed identity of a token request.
pub(crate) fn identity(
    options: &AcquireOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ManagedIdentity, Error> {
    if options.identity.is_none() {
        note_ignored_client_id(ServerLog::text(global.quiet), env);
    }
    let ca_file = global.ca_file.as_deref();
    options.claims.validate()?;
    builder(&options.keys, ca_file, env)?
        .identity(options.identity.clone().unwrap_or_else(ManagedIdentityId::system_assigned))
        .capabilities(options.claims.capabilities.iter().cloned())
        .build()
}

/// Tells that `AZURE_CLIENT_ID`, which SDKs take for the id of a user-assigned identity, selects
/// none here.
pub(crate) fn note_ignored_client_id(log: ServerLog, env: &Env) {
    if let Some(id) = env.var(CLIENT_ID) {
        let text = format!(
            "{CLIENT_ID} is not used: this is the system-assigned identity, or that of the host; add --identity \
             client-id:{} for the one that it names",
            printable(id)
        );
        log.note("client_id_ignored", &text);
    }
}

/// Returns a builder for one of this machine's identities.
pub(crate) fn builder(
    keys: &KeyOptions,
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
    options: &KeyOptions,
    env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    if !options.persist_binding {
        return Ok(builder.key_provider(software_keys(options)));
    }
    let folder = state_folder(env)?;
    let keys = match options.key {
        KeyType::Rsa2048 => PersistedKeys::rsa_2048(&folder),
        KeyType::P256 => PersistedKeys::p256(&folder),
    };
    Ok(builder.persist_bindings(folder).key_provider(keys))
}

#[cfg(not(unix))]
fn with_keys(
    builder: ManagedIdentityBuilder,
    options: &KeyOptions,
    _env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    if options.persist_binding {
        return Err(failure::request("invalid_usage", "--persist-binding is supported on Unix only"));
    }
    Ok(builder.key_provider(software_keys(options)))
}

fn software_keys(options: &KeyOptions) -> SoftwareKeys {
    match options.key {
        KeyType::Rsa2048 => SoftwareKeys::rsa_2048(),
        KeyType::P256 => SoftwareKeys::p256(),
    }
}

/// Returns the folder of persisted bindings (XDG Base Directory Specification, `$XDG_STATE_HOME`).
#[cfg(unix)]
fn state_folder(env: &Env) -> Result<PathBuf, Error> {
    let absolute = |name| env.var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = env.var(STATE_DIR) {
        return Ok(PathBuf::from(folder));
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("symbolon")).ok_or_else(|| {
        failure::request(
            "invalid_usage",
            format!("HOME is not set, so there is no state folder: set {STATE_DIR} to one"),
        )
    })
}

/// Requests a token.
pub(crate) async fn token(
    identity: &ManagedIdentity,
    options: &AcquireOptions,
    force_refresh: bool,
) -> Result<Token, Error> {
    let claims = options.claims.options().with_force_refresh(force_refresh);
    let mut request = identity.token(&options.resource).options(claims);
    if options.pop {
        request = request.proof_of_possession();
    }
    if options.over_mtls {
        request = request.over_mtls();
    }
    request.await
}

/// Returns the context with this environment and its retry scale.
pub(crate) fn context(env: &Env) -> Result<Context, Error> {
    let context = Context::default().with_env(env.clone());
    let Some(text) = env.var(RETRY_SCALE) else { return Ok(context) };
    match text.parse::<f64>() {
        Ok(scale) if scale.is_finite() && scale >= 0.0 => Ok(context.with_retry_scale(scale)),
        _ => Err(failure::request(
            "invalid_usage",
            format!("{RETRY_SCALE} is not a number; set it to 0 or more"),
        )),
    }
}
