//! The way in which a request gets its token.

use std::sync::Arc;
use std::time::Duration;

/// The origin of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenOrigin {
    /// The token was issued for this request.
    Network,
    /// The token was issued for an earlier request, whose exchange this one joined.
    Joined,
    /// The token was in the cache.
    Cache,
}

impl TokenOrigin {
    /// Returns `network`, `joined` or `cache`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Joined => "joined",
            Self::Cache => "cache",
        }
    }
}

/// The part of the cache that a token was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheLevel {
    /// The memory of this process.
    Memory,
    /// The store behind it, which other processes share.
    Store,
}

impl CacheLevel {
    /// Returns `memory` or `store`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
        }
    }
}

/// The reason for which a token is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshReason {
    /// The token was in the cache and needed no refresh, or the flow does not read the cache.
    #[default]
    NotApplicable = 0,
    /// The caller forced a refresh or answers a claims challenge.
    ForcedOrClaims = 1,
    /// The cache has no token.
    Missing = 2,
    /// The cached token has expired.
    Expired = 3,
    /// The cached token is due for refresh, and is served meanwhile.
    Due = 4,
    /// The cache keeps no tokens. For MSAL, this is a missing token.
    CacheDisabled = 5,
}

impl RefreshReason {
    /// Returns `not_applicable`, `forced_or_claims`, `missing`, `expired`, `due` or
    /// `cache_disabled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::ForcedOrClaims => "forced_or_claims",
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Due => "due",
            Self::CacheDisabled => "cache_disabled",
        }
    }
}

/// The use of a region of Entra by a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegionUse {
    /// No region was considered.
    #[default]
    None,
    /// The region of the configuration or of `MSAL_FORCE_REGION`.
    Configured(Arc<str>),
    /// The region of this machine, which was detected.
    Detected(Arc<str>),
    /// The region of this machine could not be detected; the global host served.
    Undetected,
}

/// The way in which a request got its token, or failed. MSAL.NET has the same facts as
/// `AuthenticationResultMetadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestMetadata {
    /// The part of the cache that the token was read from; `None` without a token from the cache.
    pub cache_level: Option<CacheLevel>,
    /// The reason for the fetch that the request waited for, or started in the background.
    pub refresh_reason: RefreshReason,
    /// The URL of the token endpoint that issued the token, or that the request was to be sent to.
    /// `None` for a token from the store or from a managed identity source, and for a request that
    /// failed before the endpoint was known.
    pub token_endpoint: Option<Arc<str>>,
    /// The use of a region, at the token endpoint.
    pub region: RegionUse,
    /// The duration of the request; zero for a token in memory.
    pub total_duration: Duration,
    /// The time in the store behind the cache, with the wait for its lock.
    pub cache_duration: Duration,
    /// The time of HTTP requests to the token endpoint or the source, with the delays between them.
    /// Requests that share an exchange have the same, and a token in memory has that of its issue.
    pub http_duration: Duration,
}
