//! The Azure CLI.

use std::time::Duration;

use symbolon_token::Error;

use super::ChainLink;
use super::tool::{Settings, Tool, checked};

const AZ: Tool = Tool {
    link: ChainLink::AzureCli,
    // The Windows installer brings a script alone.
    programs: if cfg!(windows) { &["az.cmd", "az.exe"] } else { &["az"] },
    command: &["account", "get-access-token", "--output", "json"],
    audience: "--resource",
    audience_suffix: "",
    log_in: "az login",
    unavailable: "azure_cli_unavailable",
    failed: "azure_cli_failed",
};

/// Tokens of whoever is logged in to the Azure CLI (`az account get-access-token`).
#[derive(Clone, Debug)]
pub struct AzureCli(Settings);

impl AzureCli {
    /// Tokens in the tenant of the subscription that is selected there.
    #[must_use]
    pub fn new() -> Self {
        Self(Settings::of(AZ))
    }

    /// Asks for tokens in this tenant instead, by its id or domain.
    ///
    /// # Errors
    /// `invalid_configuration` if it has other characters than letters, digits, `-` and `.`.
    pub fn tenant(self, tenant: &str) -> Result<Self, Error> {
        let tenant = checked("the tenant", tenant, |c| matches!(c, '-' | '.'))?;
        Ok(Self(self.0.selecting("--tenant", tenant)))
    }

    /// Asks for tokens in the tenant of this subscription, by its id or name, in place of one that was
    /// named by itself: the Azure CLI takes one of the two.
    ///
    /// # Errors
    /// `invalid_configuration` if it has other characters than letters, digits, spaces, `-`, `_` and `.`.
    pub fn subscription(self, subscription: &str) -> Result<Self, Error> {
        let subscription = checked("the subscription", subscription, |c| matches!(c, '-' | '_' | '.' | ' '))?;
        Ok(Self(self.0.selecting("--subscription", subscription)))
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

impl Default for AzureCli {
    fn default() -> Self {
        Self::new()
    }
}
