//! The Azure Developer CLI.

use std::time::Duration;

use symbolon_token::Error;

use super::link::ChainLink;
use super::tool_spec::{ToolSettings, ToolSpec, validated_argument};

const AZD: ToolSpec = ToolSpec {
    link: ChainLink::AzureDeveloperCli,
    programs: if cfg!(windows) { &["azd.exe"] } else { &["azd"] },
    command: &["auth", "token", "--output", "json", "--no-prompt"],
    audience: "--scope",
    audience_suffix: "/.default",
    log_in: "azd auth login",
    logged_out: &["not logged in, run 'azd auth login'", "not logged in, run 'azd login'"],
    quiet: &[("NO_COLOR", "1"), ("AZD_SKIP_UPDATE_CHECK", "true")],
    unavailable: "azure_developer_cli_unavailable",
    failed: "azure_developer_cli_failed",
};

/// Tokens of the user who is logged in to the Azure Developer CLI (`azd auth token`).
#[derive(Clone, Debug)]
#[must_use]
pub struct AzureDeveloperCli(pub(super) ToolSettings);

impl AzureDeveloperCli {
    /// Uses the default tenant of the Azure Developer CLI.
    pub fn new() -> Self {
        Self(ToolSettings::new(AZD))
    }

    /// Selects a tenant by its id or domain.
    ///
    /// # Errors
    /// `invalid_configuration` if the value has characters other than letters, digits, `-` and `.`.
    pub fn tenant(mut self, tenant: &str) -> Result<Self, Error> {
        let tenant = validated_argument("the tenant", tenant, |c| matches!(c, '-' | '.'))?;
        self.0.selection = Some(("--tenant-id", tenant));
        Ok(self)
    }

    /// Sets the timeout, after which the tool is killed. Default: 13 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }
}

impl Default for AzureDeveloperCli {
    fn default() -> Self {
        Self::new()
    }
}
