//! Endpoints of the metadata service.

use std::fmt;

/// Endpoint of the metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImdsEndpoint {
    /// `getplatformmetadata`: the identity and the machine. The first request of a mint.
    PlatformMetadata,
    /// `issuecredential`: a certificate. The second request of a mint.
    IssueCredential,
    /// `oauth2/token`: a bearer token, in one request (`IMDSv1`).
    BearerToken,
}

impl ImdsEndpoint {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::PlatformMetadata => "/metadata/identity/getplatformmetadata",
            Self::IssueCredential => "/metadata/identity/issuecredential",
            Self::BearerToken => "/metadata/identity/oauth2/token",
        }
    }

    /// Returns the name and the value of the version parameter
    /// (docs/protocol/imdsv2.md#certificate-request,
    /// docs/protocol/sources.md#instance-metadata-v1).
    pub(super) fn api_version(self) -> (&'static str, &'static str) {
        match self {
            Self::PlatformMetadata | Self::IssueCredential => ("cred-api-version", "2.0"),
            Self::BearerToken => ("api-version", "2018-02-01"),
        }
    }
}

/// Writes the name that logs show.
impl fmt::Display for ImdsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlatformMetadata => "getplatformmetadata",
            Self::IssueCredential => "issuecredential",
            Self::BearerToken => "oauth2/token",
        })
    }
}
