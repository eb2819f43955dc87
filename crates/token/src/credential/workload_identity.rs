//! Client assertions from the federated token file of a workload.

use std::path::{Path, PathBuf};

use symbolon_types::{Env, Error, ErrorKind, Secret};

use super::application::Application;
use super::assertion_source::{AssertionRequest, AssertionSource, SignedAssertion};
use super::client_assertion::ClientAssertion;
use crate::authority::Authority;

/// Maximum size of the token file. A projected service account token has a few kilobytes.
const LONGEST_TOKEN: u64 = 64 * 1024;
/// The default of `AZURE_AUTHORITY_HOST`.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com/";

/// Assertions from a file that the platform renews, such as a projected service account token.
///
/// The file is read for each exchange, because the platform replaces it while the process runs.
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
    /// `invalid_authority` if host and tenant do not form an authority.
    pub fn from_env(env: &Env) -> Result<ClientAssertion, Error> {
        let required = |name: &'static str| {
            env.var(name).ok_or_else(|| {
                let error = format!("no workload identity is configured: {name} is not set");
                Error::new(ErrorKind::Environment, "workload_identity_unavailable", error)
                    .with_advice("check the label of the pod and the annotation of its service account")
            })
        };
        let client_id = required("AZURE_CLIENT_ID")?;
        let tenant = required("AZURE_TENANT_ID")?;
        let file = required("AZURE_FEDERATED_TOKEN_FILE")?;
        let host = env.var("AZURE_AUTHORITY_HOST").unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
        let authority = Authority::parse(&format!("{}/{tenant}", host.trim_end_matches('/')))?;
        let application = Application::new(authority, &client_id)?;
        Ok(ClientAssertion::new(application, Self::new(file)))
    }
}

impl AssertionSource for WorkloadIdentity {
    async fn assertion(&self, _request: &AssertionRequest<'_>) -> Result<SignedAssertion, Error> {
        let file = self.file.clone();
        let read = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime
                .spawn_blocking(move || read(&file))
                .await
                .map_err(|error| unreadable().with_source(error))?,
            Err(_) => read(&file),
        };
        Ok(SignedAssertion::new(read?))
    }
}

fn read(file: &Path) -> Result<Secret, Error> {
    use std::io::Read;
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|file| file.take(LONGEST_TOKEN + 1).read_to_string(&mut text));
    let text = Secret::new(text);
    read.map_err(|error| unreadable().with_source(error))?;
    if text.expose().len() as u64 > LONGEST_TOKEN {
        return Err(unreadable());
    }
    Ok(Secret::new(text.expose().trim()))
}

fn unreadable() -> Error {
    let error = "the federated token file could not be read; nothing was sent";
    Error::new(ErrorKind::Credential, "invalid_client_assertion", error)
        .with_advice("check AZURE_FEDERATED_TOKEN_FILE and that the process may read the file")
}
