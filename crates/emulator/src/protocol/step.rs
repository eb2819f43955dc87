//! The endpoints by which requests are classified.

use std::fmt;
use std::str::FromStr;

/// The step of the protocol that a request belongs to, by its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `getplatformmetadata`, and the IMDSv2 probe, which differs only by a missing header.
    PlatformMetadata,
    /// `issuecredential`.
    IssueCredential,
    /// The bearer token of IMDS v1, and its probe.
    ImdsToken,
    /// `metadata/instance/compute`.
    ComputeMetadata,
    /// The identity endpoint of App Service.
    AppService,
    /// The identity endpoint of Service Fabric.
    ServiceFabric,
    /// The identity endpoint of Azure Machine Learning.
    MachineLearning,
    /// The identity endpoint of Cloud Shell.
    CloudShell,
    /// The identity endpoint of the Azure Arc agent: the challenge, and the request with the key.
    AzureArc,
    /// The token endpoint.
    Token,
    /// The OpenID configuration and the keys of the token service.
    Discovery,
    /// Every path of the resource.
    Resource,
    /// A TLS handshake with any server; the journal contains the failed ones. Delays, resets,
    /// stalls and [alerts](crate::Fault::tls_alert) take effect here, other faults do not.
    Handshake,
    /// An unknown path.
    Unknown,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 14] = [
        Self::PlatformMetadata,
        Self::IssueCredential,
        Self::ImdsToken,
        Self::ComputeMetadata,
        Self::AppService,
        Self::ServiceFabric,
        Self::MachineLearning,
        Self::CloudShell,
        Self::AzureArc,
        Self::Token,
        Self::Discovery,
        Self::Resource,
        Self::Handshake,
        Self::Unknown,
    ];

    /// Returns the name in fault files and in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlatformMetadata => "metadata",
            Self::IssueCredential => "issue",
            Self::ImdsToken => "imds-token",
            Self::ComputeMetadata => "compute",
            Self::AppService => "app-service",
            Self::ServiceFabric => "service-fabric",
            Self::MachineLearning => "machine-learning",
            Self::CloudShell => "cloud-shell",
            Self::AzureArc => "azure-arc",
            Self::Token => "token",
            Self::Discovery => "discovery",
            Self::Resource => "resource",
            Self::Handshake => "handshake",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Parses the name of a step.
impl FromStr for Step {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| step.as_str() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|step| step.as_str()).collect();
            format!("there is no step `{name}`; the steps are {}", names.join(", "))
        })
    }
}
