//! The identity endpoints of hosts other than virtual machines: their paths, their variables, and
//! those that are protected by a secret. A host with another protocol has a file of its own.

mod azure_arc;
mod cloud_shell;
mod common;
mod secret_endpoint;

use http::StatusCode;
use symbolon_types::Source;

use self::common::{flat_error, nested_error};
use self::secret_endpoint::SecretEndpoint;
use crate::faults::FaultEffect;
use crate::protocol::{ExpiryFormat, ParsedRequest, Reply, Step, address};
use crate::state::{EmulatorState, IdField};

const APP_SERVICE_PATH: &str = "/msi/token";
const MACHINE_LEARNING_PATH: &str = "/machine-learning/msi/token";
const CLOUD_SHELL_PATH: &str = "/cloud-shell/oauth2/token";
const AZURE_ARC_PATH: &str = "/azure-arc/metadata/identity/oauth2/token";
/// The path on a server of its own, as on a cluster.
const SERVICE_FABRIC_PATH: &str = "/metadata/identity/oauth2/token";

/// docs/protocol/sources.md#app-service
const APP_SERVICE: SecretEndpoint = SecretEndpoint {
    source: Source::AppService,
    header: "x-identity-header",
    // The version documented for App Service, Functions and Container Apps.
    versions: &["2019-08-01"],
    ids: &[
        ("client_id", IdField::Client),
        ("object_id", IdField::Object),
        ("principal_id", IdField::Object),
        ("mi_res_id", IdField::Resource),
    ],
    expiry: ExpiryFormat::UnixText,
    with_client_id: true,
    error: flat_error,
};

/// docs/protocol/sources.md#azure-machine-learning
const MACHINE_LEARNING: SecretEndpoint = SecretEndpoint {
    source: Source::MachineLearning,
    header: "secret",
    versions: &["2017-09-01"],
    ids: &[("clientid", IdField::Client)],
    expiry: ExpiryFormat::UnixText,
    with_client_id: false,
    error: flat_error,
};

/// docs/protocol/sources.md#service-fabric
const SERVICE_FABRIC: SecretEndpoint = SecretEndpoint {
    source: Source::ServiceFabric,
    header: "secret",
    // The version of MSAL.NET, and that of the other libraries.
    versions: &["2020-05-01", "2019-07-01-preview"],
    // The endpoint ignores other parameters for identities.
    ids: &[("principalId", IdField::Object)],
    expiry: ExpiryFormat::UnixNumber,
    with_client_id: false,
    error: |status, reason| {
        let code = match reason {
            "secret" => "SecretHeaderNotFound",
            "identity" | "identities" => "ManagedIdentityNotFound",
            "resource" | "resource_unknown" => "ArgumentNullOrEmpty",
            "api_version" => "InvalidApiVersion",
            _ => "InternalError",
        };
        nested_error(status, reason, code)
    },
};

/// Returns the step of a path.
pub(crate) fn step(path: &str) -> Step {
    match path {
        APP_SERVICE_PATH => Step::AppService,
        MACHINE_LEARNING_PATH => Step::MachineLearning,
        CLOUD_SHELL_PATH => Step::CloudShell,
        AZURE_ARC_PATH => Step::AzureArc,
        _ => Step::Unknown,
    }
}

/// Returns the step of a path on the server of Service Fabric.
pub(crate) fn fabric_step(path: &str) -> Step {
    if path == SERVICE_FABRIC_PATH { Step::ServiceFabric } else { Step::Unknown }
}

pub(crate) async fn reply(
    step: Step,
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Reply {
    match step {
        Step::AppService => APP_SERVICE.reply(request, effect, state).await,
        Step::ServiceFabric => SERVICE_FABRIC.reply(request, effect, state).await,
        Step::MachineLearning => MACHINE_LEARNING.reply(request, effect, state).await,
        Step::CloudShell => cloud_shell::reply(request, effect, state).await,
        Step::AzureArc => azure_arc::reply(request, effect, state).await,
        _ => flat_error(StatusCode::NOT_FOUND, "unknown_path"),
    }
}

/// Returns the variables that a host of this kind gives its processes
/// (docs/protocol/sources.md#detection).
pub(crate) fn environment(source: Source, state: &EmulatorState) -> Vec<(&'static str, String)> {
    let at = |path: &str| format!("{}{path}", state.urls.hosts);
    let secret = state.host_secret(source);
    match source {
        Source::Imds if address::is_default(&state.urls.imds) => vec![],
        Source::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", state.urls.imds.clone())],
        Source::AppService => {
            vec![("IDENTITY_ENDPOINT", at(APP_SERVICE_PATH)), ("IDENTITY_HEADER", secret)]
        }
        Source::ServiceFabric => vec![
            ("IDENTITY_ENDPOINT", format!("{}{SERVICE_FABRIC_PATH}", state.urls.fabric)),
            ("IDENTITY_HEADER", secret),
            ("IDENTITY_SERVER_THUMBPRINT", state.fabric.thumbprint()),
        ],
        Source::MachineLearning => vec![
            ("MSI_ENDPOINT", at(MACHINE_LEARNING_PATH)),
            ("MSI_SECRET", secret),
            ("DEFAULT_IDENTITY_CLIENT_ID", state.machine.client_id.clone()),
        ],
        Source::CloudShell => vec![("MSI_ENDPOINT", at(CLOUD_SHELL_PATH))],
        Source::AzureArc => {
            vec![("IDENTITY_ENDPOINT", at(AZURE_ARC_PATH)), ("IMDS_ENDPOINT", state.urls.imds.clone())]
        }
        _ => vec![],
    }
}
