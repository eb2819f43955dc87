//! Where in the exchange a request stands.

use std::fmt;
use std::str::FromStr;

/// Where in the exchange a request stands, by the endpoint it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `getplatformmetadata`, and the probe for IMDSv2, which differs only by a missing header.
    PlatformMetadata,
    /// `issuecredential`.
    IssueCredential,
    /// The bearer token of IMDS v1, and the probe for it.
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
    /// The identity endpoint of the Azure Arc agent: the challenge, and the answer to it.
    AzureArc,
    /// The token endpoint.
    Token,
    /// The OpenID configuration and the keys of the token service.
    Discovery,
    /// Anything on the resource.
    Resource,
    /// A TLS handshake, with whichever server: the journal has those that failed. Delays, resets,
    /// stalls and [alerts](crate::Fault::tls_alert) happen here, other faults do nothing.
    Handshake,
    /// A path that the server does not have.
    Unknown,
}

impl Step {
    /// All of them.
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

    /// The name, as files with faults and the journal have it.
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

/// By the name; what is wrong is said with all the names there are.
impl FromStr for Step {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| step.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|step| step.as_str()).collect();
            format!("there is no step `{name}`; the steps are {}", known.join(", "))
        })
    }
}
