//! The identity endpoints of hosts other than virtual machines: each with its own names, secrets and errors.

mod app_service;
mod azure_arc;
pub(crate) mod certificate;
pub(crate) mod challenge;
mod cloud_shell;
mod expiry;
mod machine_learning;
mod service_fabric;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use symbolon_types::Source;

pub use self::expiry::ExpiryFormat;
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::grant::{Grant, Subject, leave_out, mint};
use crate::identity::{IdKind, Principal};
use crate::place;
use crate::random::guid;
use crate::state::State;
use crate::step::Step;

const APP_SERVICE: &str = "/msi/token";
const MACHINE_LEARNING: &str = "/machine-learning/msi/token";
const CLOUD_SHELL: &str = "/cloud-shell/oauth2/token";
const AZURE_ARC: &str = "/azure-arc/metadata/identity/oauth2/token";
/// On a server of its own, as on a cluster.
const SERVICE_FABRIC: &str = "/metadata/identity/oauth2/token";

/// What a host shares with its processes: anyone may read the variables, so these are worth nothing outside.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    app_service: String,
    service_fabric: String,
    machine_learning: String,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        Self { app_service: guid(), service_fabric: guid(), machine_learning: guid() }
    }
}

/// Which step a path belongs to.
pub(crate) fn step(path: &str) -> Step {
    match path {
        APP_SERVICE => Step::AppService,
        MACHINE_LEARNING => Step::MachineLearning,
        CLOUD_SHELL => Step::CloudShell,
        AZURE_ARC => Step::AzureArc,
        _ => Step::Unknown,
    }
}

/// As [`step`], on the server of Service Fabric.
pub(crate) fn fabric_step(path: &str) -> Step {
    if path == SERVICE_FABRIC { Step::ServiceFabric } else { Step::Unknown }
}

pub(crate) async fn answer(step: Step, exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    match step {
        Step::AppService => app_service::answer(exchange, effect, state).await,
        Step::ServiceFabric => service_fabric::answer(exchange, effect, state).await,
        Step::MachineLearning => machine_learning::answer(exchange, effect, state).await,
        Step::CloudShell => cloud_shell::answer(exchange, effect, state).await,
        Step::AzureArc => azure_arc::answer(exchange, effect, state).await,
        _ => flat(StatusCode::NOT_FOUND, "unknown_path", "There is nothing here"),
    }
}

/// The variables that a host of this kind gives its processes.
pub(crate) fn environment(source: Source, state: &State) -> Vec<(&'static str, String)> {
    let at = |path: &str| format!("{}{path}", state.urls.hosts);
    let Secrets { app_service, service_fabric, machine_learning } = state.secrets.clone();
    match source {
        Source::Imds if place::is_default(&state.urls.imds) => vec![],
        Source::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", state.urls.imds.clone())],
        Source::AppService => {
            vec![("IDENTITY_ENDPOINT", at(APP_SERVICE)), ("IDENTITY_HEADER", app_service)]
        }
        Source::ServiceFabric => vec![
            ("IDENTITY_ENDPOINT", format!("{}{SERVICE_FABRIC}", state.urls.fabric)),
            ("IDENTITY_HEADER", service_fabric),
            ("IDENTITY_SERVER_THUMBPRINT", state.fabric.thumbprint()),
        ],
        Source::MachineLearning => vec![
            ("MSI_ENDPOINT", at(MACHINE_LEARNING)),
            ("MSI_SECRET", machine_learning),
            ("DEFAULT_IDENTITY_CLIENT_ID", state.machine.client_id.clone()),
        ],
        Source::CloudShell => vec![("MSI_ENDPOINT", at(CLOUD_SHELL))],
        Source::AzureArc => {
            vec![("IDENTITY_ENDPOINT", at(AZURE_ARC)), ("IMDS_ENDPOINT", state.urls.imds.clone())]
        }
        _ => vec![],
    }
}

/// The body of an answer with a token: what every host has in it, and when the token expires, as this host, or
/// a fault, says it.
async fn token(
    principal: Principal<'_>,
    resource: &str,
    format: ExpiryFormat,
    effect: &Effect,
    state: &State,
) -> Option<Map<String, Value>> {
    let grant = Grant {
        tenant: &state.machine.tenant_id,
        client_id: principal.client_id,
        subject: Subject::Client(principal.object_id),
        audience: resource,
        bound_to: None,
        claims: None,
    };
    let token = mint(&grant, effect, state).await?;
    let mut body = json!({ "access_token": token, "resource": resource, "token_type": "Bearer" });
    let format = if let Effect::Expiry(format) = effect { *format } else { format };
    let (name, value) = format.member(state.clock.now(), state.settings.token_lifetime);
    body[name] = value;
    leave_out(&mut body, effect);
    match body {
        Value::Object(body) => Some(body),
        _ => None,
    }
}

/// An endpoint that knows its callers by a secret in a header: what differs between hosts of this kind.
struct SecretEndpoint<'a> {
    header: &'static str,
    secret: &'a str,
    versions: &'static [&'static str],
    /// The parameters that name an identity.
    ids: &'static [(&'static str, IdKind)],
    expiry: ExpiryFormat,
}

impl SecretEndpoint<'_> {
    /// The body of an answer with a token, and whose it is; or why there is none.
    async fn issue<'s>(
        &self,
        exchange: &Exchange,
        effect: &Effect,
        state: &'s State,
    ) -> Result<(Principal<'s>, Map<String, Value>), (StatusCode, &'static str)> {
        if exchange.method != Method::GET {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method"));
        }
        if exchange.header(self.header) != Some(self.secret) {
            return Err((StatusCode::UNAUTHORIZED, "secret"));
        }
        let bad = |reason| (StatusCode::BAD_REQUEST, reason);
        let resource = asked(exchange, self.versions).map_err(bad)?;
        let principal = principal(exchange, state, self.ids).map_err(bad)?;
        let body = token(principal, resource, self.expiry, effect, state).await;
        Ok((principal, body.ok_or((StatusCode::INTERNAL_SERVER_ERROR, "signing"))?))
    }
}

/// The identity that a query names by one of these parameters; the host's own if it names none.
fn principal<'a>(
    exchange: &Exchange,
    state: &'a State,
    names: &[(&str, IdKind)],
) -> Result<Principal<'a>, &'static str> {
    let mut ids = names.iter().filter_map(|(name, kind)| exchange.query(name).map(|value| (*kind, value)));
    match (ids.next(), ids.next()) {
        (None, _) => Ok(state.machine.system_assigned()),
        (Some((kind, value)), None) => state.machine.find(kind, value).ok_or("identity"),
        _ => Err("identities"),
    }
}

/// The resource, and a version of the endpoint that the host has.
fn asked<'a>(exchange: &'a Exchange, versions: &[&str]) -> Result<&'a str, &'static str> {
    if !exchange.query("api-version").is_some_and(|version| versions.contains(&version)) {
        return Err("api_version");
    }
    exchange.query("resource").filter(|resource| !resource.is_empty()).ok_or("resource")
}

fn is_metadata(exchange: &Exchange) -> bool {
    exchange.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// An error as App Service writes it.
fn flat(status: StatusCode, reason: &'static str, message: &str) -> Reply {
    let body = json!({ "statusCode": status.as_u16(), "message": message, "correlationId": guid() });
    Reply::json(status, &body).because(reason)
}

/// An error as Cloud Shell and Service Fabric write it.
fn nested(status: StatusCode, reason: &'static str, code: &str, message: &str) -> Reply {
    let body = json!({ "error": { "correlationId": guid(), "code": code, "message": message } });
    Reply::json(status, &body).because(reason)
}

/// What a refusal means, for people.
fn explain(reason: &str) -> &'static str {
    match reason {
        "method" => "Wrong HTTP method",
        "secret" => "The secret header is missing or wrong",
        "metadata_header" => "Required metadata header not specified",
        "api_version" => "Unsupported api-version",
        "resource" => "Parameter resource is required",
        "identity" => "No such identity is assigned to this host",
        "identities" => "At most one identity may be given",
        "content_type" => "The body is a form",
        "key_file" => "The key file could not be written: run the emulator as root, or name a directory",
        _ => "The emulator could not sign",
    }
}
