//! Which managed identity source this environment has.

use std::fmt;
use std::path::Path;

use symbolon_types::Env;

/// Where the Azure Arc agent is installed on Linux (MSAL.NET `ManagedIdentityClient`).
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";

/// Where a host hands out managed identity tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Azure Service Fabric.
    ServiceFabric,
    /// Azure App Service, Functions and Container Apps.
    AppService,
    /// Azure Machine Learning.
    MachineLearning,
    /// Azure Cloud Shell.
    CloudShell,
    /// A machine outside of Azure with the Azure Arc agent.
    AzureArc,
    /// The instance metadata service of an Azure virtual machine.
    Imds,
}

impl Source {
    /// The name in JSON: `service_fabric`, `app_service`, `machine_learning`, `cloud_shell`,
    /// `azure_arc`, `imds`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceFabric => "service_fabric",
            Self::AppService => "app_service",
            Self::MachineLearning => "machine_learning",
            Self::CloudShell => "cloud_shell",
            Self::AzureArc => "azure_arc",
            Self::Imds => "imds",
        }
    }
}

/// For people.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ServiceFabric => "Service Fabric",
            Self::AppService => "App Service",
            Self::MachineLearning => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::AzureArc => "Azure Arc",
            Self::Imds => "the instance metadata service",
        })
    }
}

/// What was detected, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detection {
    /// The source.
    pub source: Source,
    /// What gave it away.
    pub reason: &'static str,
}

impl Detection {
    /// Looks at the environment, and for the Arc agent; asks nobody. The order is that of
    /// MSAL.NET and MSAL Go (managed-identity sources §1.2).
    #[must_use]
    pub fn of(env: &Env) -> Self {
        Self::with_agent(env, Path::new(ARC_AGENT).exists())
    }

    fn with_agent(env: &Env, has_arc_agent: bool) -> Self {
        let is_set = |name| env.var(name).is_some();
        let endpoint = is_set("IDENTITY_ENDPOINT");
        let header = endpoint && is_set("IDENTITY_HEADER");
        let (source, reason) = if header && is_set("IDENTITY_SERVER_THUMBPRINT") {
            (
                Source::ServiceFabric,
                "IDENTITY_ENDPOINT, IDENTITY_HEADER and IDENTITY_SERVER_THUMBPRINT are set",
            )
        } else if header {
            (Source::AppService, "IDENTITY_ENDPOINT and IDENTITY_HEADER are set")
        } else if is_set("MSI_ENDPOINT") && is_set("MSI_SECRET") {
            (Source::MachineLearning, "MSI_ENDPOINT and MSI_SECRET are set")
        } else if is_set("MSI_ENDPOINT") {
            (Source::CloudShell, "MSI_ENDPOINT is set")
        } else if endpoint && is_set("IMDS_ENDPOINT") {
            (Source::AzureArc, "IDENTITY_ENDPOINT and IMDS_ENDPOINT are set")
        } else if has_arc_agent {
            (Source::AzureArc, "the Azure Arc agent is installed")
        } else {
            (Source::Imds, "nothing names another source")
        };
        Self { source, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_detected_in_the_documented_order() {
        use Source::{AppService, AzureArc, CloudShell, Imds, MachineLearning, ServiceFabric};
        for (variables, has_agent, expected) in [
            (
                &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"][..],
                false,
                ServiceFabric,
            ),
            (&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"], true, AppService),
            (&["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "IMDS_ENDPOINT"], false, AppService),
            (&["MSI_ENDPOINT", "MSI_SECRET"], false, MachineLearning),
            (&["MSI_ENDPOINT"], true, CloudShell),
            (&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"], false, AzureArc),
            (&["IDENTITY_ENDPOINT"], false, Imds),
            (&["IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"], false, Imds),
            (&["AZURE_POD_IDENTITY_AUTHORITY_HOST"], false, Imds),
            (&[], true, AzureArc),
            (&[], false, Imds),
        ] {
            let env: Env = variables.iter().map(|name| (*name, "http://localhost:1/")).collect();
            assert_eq!(Detection::with_agent(&env, has_agent).source, expected, "{variables:?}");
        }
        let empty: Env = [("IDENTITY_ENDPOINT", ""), ("IDENTITY_HEADER", "x")].into_iter().collect();
        assert_eq!(Detection::with_agent(&empty, false).source, Imds);
    }
}
