//! The Azure Developer CLI.

use std::time::Duration;

use symbolon_token::Error;

use super::ChainLink;
use super::tool::{Settings, Tool, checked};

const AZD: Tool = Tool {
    link: ChainLink::AzureDeveloperCli,
    programs: if cfg!(windows) { &["azd.exe"] } else { &["azd"] },
    command: &["auth", "token", "--output", "json", "--no-prompt"],
    audience: "--scope",
    audience_suffix: "/.default",
    log_in: "azd auth login",
    unavailable: "azure_developer_cli_unavailable",
    failed: "azure_developer_cli_failed",
};

/// Tokens of whoever is logged in to the Azure Developer CLI (`azd auth token`).
#[derive(Clone, Debug)]
pub struct AzureDeveloperCli(Settings);

impl AzureDeveloperCli {
    /// Tokens in the tenant that is the default there.
    #[must_use]
    pub fn new() -> Self {
        Self(Settings::of(AZD))
    }

    /// Asks for tokens in this tenant instead, by its id or domain.
    ///
    /// # Errors
    /// `invalid_configuration` if it has other characters than letters, digits, `-` and `.`.
    pub fn tenant(self, tenant: &str) -> Result<Self, Error> {
        let tenant = checked("the tenant", tenant, |c| matches!(c, '-' | '.'))?;
        Ok(Self(self.0.selecting("--tenant-id", tenant)))
    }

    /// Gives up after this long. Default: 13 seconds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.giving_up_after(timeout))
    }

    pub(super) fn into_settings(self) -> Settings {
        self.0
    }
}

impl Default for AzureDeveloperCli {
    fn default() -> Self {
        Self::new()
    }
}
