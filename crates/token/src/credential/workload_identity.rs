//! Client assertions from the federated token file of a workload.

use std::io;
use std::path::{Path, PathBuf};

use symbolon_files::spawn_blocking;
use symbolon_types::{Env, Error, ErrorKind, Secret, read_file};

use super::application::Application;
use super::assertion_source::{AssertionRequest, AssertionSource, SignedAssertion};
use super::client_assertion::ClientAssertion;
use crate::authority::Authority;

/// Maximum size of the token file. A projected service account token has a few kilobytes.
const LONGEST_TOKEN: u64 = 64 * 1024;
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// The default of `AZURE_AUTHORITY_HOST`.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com/";

/// Assertions from a file that the platform renews, such as a projected service account token.
///
/// The file is read for each exchange, because the platform replaces it while the process runs.
///
/// In a cluster with AKS identity bindings, token requests go through a
/// [`KubernetesTokenProxy`], if the program chooses it:
///
/// ```no_run
/// # use symbolon_token::{Env, KubernetesTokenProxy, WorkloadIdentity};
/// let env = Env::process();
/// let credential = WorkloadIdentity::from_env(&env)?.token_proxy(KubernetesTokenProxy::from_env(&env)?);
/// # Ok::<(), symbolon_token::Error>(())
/// ```
///
/// [`KubernetesTokenProxy`]: crate::KubernetesTokenProxy
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    file: PathBuf,
}

impl WorkloadIdentity {
    /// Reads assertions from this file.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// Creates the credential from the variables that the webhook of Azure Workload Identity sets:
    /// `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE`, and optionally
    /// `AZURE_AUTHORITY_HOST`.
    ///
    /// # Errors
    /// `workload_identity_unavailable`, kind `Environment`, if one of the first three is not set;
    /// `invalid_client_credential`, `invalid_tenant` or `invalid_authority` if the variable that
    /// the error names is not an id, a tenant or a host.
    pub fn from_env(env: &Env) -> Result<ClientAssertion, Error> {
        let required = |name: &'static str| {
            env.var(name).ok_or_else(|| {
                let error = format!("no workload identity is configured: {name} is not set");
                Error::new(ErrorKind::Environment, "workload_identity_unavailable", error)
                    .with_advice("check the label of the pod and the annotation of its service account")
            })
        };
        let client_id = required(CLIENT_ID)?;
        let tenant = required(TENANT_ID)?;
        let file = required(TOKEN_FILE)?;
        let host = env.var(AUTHORITY_HOST).unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
        let authority = Authority::on_host(&host, &tenant).map_err(|error| {
            let variable = if error.code() == "invalid_tenant" { TENANT_ID } else { AUTHORITY_HOST };
            error.with_context(variable)
        })?;
        let application =
            Application::new(authority, &client_id).map_err(|error| error.with_context(CLIENT_ID))?;
        Ok(ClientAssertion::new(application, Self::new(file)))
    }
}

impl AssertionSource for WorkloadIdentity {
    async fn assertion(&self, _request: &AssertionRequest<'_>) -> Result<SignedAssertion, Error> {
        let file = self.file.clone();
        let read = spawn_blocking(move || read(&file)).await?;
        Ok(SignedAssertion::new(read.map_err(|error| unusable(&self.file, error))?))
    }
}

/// Reads a token. White space around it, and a byte order mark, belong to the file and not to the
/// token.
fn read(file: &Path) -> io::Result<Secret> {
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let content = read_file(file, LONGEST_TOKEN)?;
    let text = str::from_utf8(&content).map_err(|_| invalid("the file is not text in UTF-8".to_owned()))?;
    let token = text.trim_start_matches('\u{feff}').trim();
    if token.is_empty() {
        return Err(invalid("the file is empty".to_owned()));
    }
    if token.contains(char::is_control) {
        return Err(invalid("the file has more than one line or control characters".to_owned()));
    }
    if token.starts_with(['"', '\'', '{']) {
        return Err(invalid("the file has a token in quotes or in JSON; write the token alone".to_owned()));
    }
    Ok(Secret::new(token))
}

fn unusable(file: &Path, cause: io::Error) -> Error {
    let error = format!("the federated token file {} could not be used; nothing was sent", file.display());
    Error::new(ErrorKind::Credential, "invalid_client_assertion", error)
        .with_advice(
            "check the file, its path in AZURE_FEDERATED_TOKEN_FILE, and that the process may read it",
        )
        .with_source(cause)
}
