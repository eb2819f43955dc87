//! Which host the emulator stands for.

use std::fmt;

/// A host whose identity endpoint the emulator serves. It serves all of them at once; a client sees the
/// one whose variables it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A virtual machine: the instance metadata service.
    Imds,
    /// App Service, Functions and Container Apps.
    AppService,
    /// Service Fabric: over TLS, with a self-signed certificate.
    ServiceFabric,
    /// Azure Machine Learning.
    MachineLearning,
    /// Cloud Shell.
    CloudShell,
    /// A machine with the Azure Arc agent.
    AzureArc,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Imds,
        Self::AppService,
        Self::ServiceFabric,
        Self::MachineLearning,
        Self::CloudShell,
        Self::AzureArc,
    ];

    /// The name: `imds`, `app_service`, `service_fabric`, `machine_learning`, `cloud_shell`,
    /// `azure_arc`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app_service",
            Self::ServiceFabric => "service_fabric",
            Self::MachineLearning => "machine_learning",
            Self::CloudShell => "cloud_shell",
            Self::AzureArc => "azure_arc",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
