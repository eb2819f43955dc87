//! Transport, identity and token, configured by options.

use std::path::Path;

use symbolon::parts::hyper::{BuildError, ConfigError, HyperTransportBuilder};
use symbolon::parts::types::printable;
use symbolon::{
    Connections, Context, Env, Error, HyperTransport, ManagedIdentity, ManagedIdentityBuilder,
    ManagedIdentityId, Token,
};
use zeroize::Zeroizing;

use crate::args::GlobalOptions;
use crate::args::key::{KeyOptions, StrengthFloor};
use crate::args::request::AcquireOptions;
use crate::server_log::ServerLog;
use crate::{failure, keys};

/// The variable with the client id of an application or a user-assigned identity, for SDKs.
pub(crate) const CLIENT_ID: &str = "AZURE_CLIENT_ID";
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
pub(crate) fn connections(
    ca_file: Option<&Path>,
    context: &Context,
    http2: bool,
) -> Result<Connections, Error> {
    let mut connections = Connections::builder().context(context.clone()).http2(http2);
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
    builder(&options.keys, ca_file, env, &context(env)?)?
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
    context: &Context,
) -> Result<ManagedIdentityBuilder, Error> {
    with_keys(keyless_builder(keys.min_strength, ca_file, env, context)?, keys, env)
}

/// Returns a builder without a key provider.
pub(crate) fn keyless_builder(
    min_strength: StrengthFloor,
    ca_file: Option<&Path>,
    env: &Env,
    context: &Context,
) -> Result<ManagedIdentityBuilder, Error> {
    let transport = transport_builder(ca_file, env)?.context(context.clone());
    Ok(ManagedIdentity::builder()
        .context(context.clone())
        .transport(built(transport, ca_file)?)
        .minimum_strength(min_strength.strength()))
}

fn with_keys(
    builder: ManagedIdentityBuilder,
    options: &KeyOptions,
    env: &Env,
) -> Result<ManagedIdentityBuilder, Error> {
    if !options.persist_binding {
        return Ok(builder.key_provider(keys::provider(options, env, None)?));
    }
    #[cfg(unix)]
    {
        let folder = keys::state_folder(env)?;
        let keys = keys::provider(options, env, Some(&folder))?;
        Ok(builder.persist_bindings(folder).key_provider(keys))
    }
    #[cfg(not(unix))]
    Err(failure::request("invalid_usage", "--persist-binding is supported on Unix only"))
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
