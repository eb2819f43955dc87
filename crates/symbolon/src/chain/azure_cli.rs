//! The Azure CLI.

use std::time::Duration;

use symbolon_token::Error;

use super::link::ChainLink;
use super::tool_spec::{ToolSettings, ToolSpec, validated_argument};

const AZ: ToolSpec = ToolSpec {
    link: ChainLink::AzureCli,
    // The Windows installer installs only a script.
    programs: if cfg!(windows) { &["az.cmd", "az.exe"] } else { &["az"] },
    command: &["account", "get-access-token", "--output", "json"],
    audience: "--resource",
    audience_suffix: "",
    log_in: "az login",
    logged_out: &["please run 'az login' to setup account", "please run 'az login' to set up"],
    quiet: &[("AZURE_CORE_NO_COLOR", "true"), ("AZURE_CORE_ONLY_SHOW_ERRORS", "true"), ("NO_COLOR", "1")],
    unavailable: "azure_cli_unavailable",
    failed: "azure_cli_failed",
};

/// Tokens of the user who is logged in to the Azure CLI (`az account get-access-token`).
#[derive(Clone, Debug)]
#[must_use]
pub struct AzureCli(pub(super) ToolSettings);

impl AzureCli {
    /// Uses the tenant of the subscription that is selected in the Azure CLI.
    pub fn new() -> Self {
        Self(ToolSettings::new(AZ))
    }

    /// Selects a tenant by its id or domain.
    ///
    /// # Errors
    /// `invalid_configuration` if the value has characters other than letters, digits, `-` and `.`.
    pub fn tenant(mut self, tenant: &str) -> Result<Self, Error> {
        let tenant = validated_argument("the tenant", tenant, |c| matches!(c, '-' | '.'))?;
        self.0.selection = Some(("--tenant", tenant));
        Ok(self)
    }

    /// Selects the tenant of a subscription by the subscription's id or name. Replaces a selected
    /// tenant, because the Azure CLI takes only one of the two.
    ///
    /// # Errors
    /// `invalid_configuration` if the value has characters other than letters, digits, spaces, `-`,
    /// `_` and `.`.
    pub fn subscription(mut self, subscription: &str) -> Result<Self, Error> {
        let subscription =
            validated_argument("the subscription", subscription, |c| matches!(c, '-' | '_' | '.' | ' '))?;
        self.0.selection = Some(("--subscription", subscription));
        Ok(self)
    }

    /// Sets the timeout, after which the tool is killed. Default: 13 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }
}

impl Default for AzureCli {
    fn default() -> Self {
        Self::new()
    }
}
