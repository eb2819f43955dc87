//! The telemetry header of a token request.

use http::HeaderValue;
use symbolon_types::RefreshReason;

use super::grant::Grant;
use super::parameters::Parameters;
use super::subject::Subject;

/// The version of the format (`docs/protocol/token-request.md#telemetry-header`).
const SCHEMA: u8 = 5;
/// The maximum lengths of the calling library's name and version.
const CALLER_ID_LENGTH: usize = 10;
const CALLER_VERSION_LENGTH: usize = 20;

/// The kind of managed identity that requests a token. Only the telemetry header depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagedIdentityKind {
    /// The identity of the resource itself.
    SystemAssigned,
    /// An identity that was assigned to the resource.
    UserAssigned,
}

/// The name and version of the library that calls this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerSdk {
    pub(crate) id: String,
    pub(crate) version: String,
}

/// The values of the header `x-client-current-telemetry` of one token request.
pub(crate) struct TelemetryHeader<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) subject: &'a Subject,
    pub(crate) managed_identity: Option<ManagedIdentityKind>,
    pub(crate) is_bound: bool,
    pub(crate) reason: RefreshReason,
    /// Region, source and outcome, separated by commas.
    pub(crate) region: String,
    /// The cache has a store behind it.
    pub(crate) has_store: bool,
    pub(crate) caller: &'a CallerSdk,
    pub(crate) parameters: &'a Parameters,
}

impl TelemetryHeader<'_> {
    /// Returns `5|api,reason,region,source,outcome|store,legacy,token type,caller,version,managed`.
    pub(crate) fn value(&self) -> Option<HeaderValue> {
        let api = api_id(self.grant, self.subject, self.managed_identity);
        let reason = reason_id(self.reason);
        let region = &self.region;
        let has_store = u8::from(self.has_store);
        let token_type = if self.is_bound { 6 } else { 1 };
        let parameter = |name, default| self.parameters.for_telemetry(name).unwrap_or(default);
        let caller = sanitize(parameter(Parameters::CALLER_SDK_ID, &self.caller.id), CALLER_ID_LENGTH);
        let version =
            sanitize(parameter(Parameters::CALLER_SDK_VERSION, &self.caller.version), CALLER_VERSION_LENGTH);
        let managed = sanitize(parameter(Parameters::MANAGED_CERTIFICATE, ""), 1);
        let text = format!(
            "{SCHEMA}|{api},{reason},{region}|{has_store},0,{token_type},{caller},{version},{managed}"
        );
        HeaderValue::try_from(text).ok()
    }
}

/// Returns the number that identifies the flow.
fn api_id(grant: &Grant, subject: &Subject, managed_identity: Option<ManagedIdentityKind>) -> u16 {
    match (grant, subject, managed_identity) {
        (_, _, Some(ManagedIdentityKind::SystemAssigned)) => 1015,
        (_, _, Some(ManagedIdentityKind::UserAssigned)) => 1016,
        (Grant::ClientCredentials, ..) => 1004,
        (Grant::AuthorizationCode(_), ..) => 1000,
        (Grant::OnBehalfOf { .. }, Subject::Session(_), None) => 1017,
        (Grant::OnBehalfOf { .. }, ..) => 1006,
        (Grant::RefreshToken { .. }, ..) => 1001,
        (Grant::FederatedUser { .. }, ..) => 1019,
        (Grant::StoredRefreshToken, Subject::Session(_), None) => 1018,
        (Grant::StoredRefreshToken, ..) => 1007,
    }
}

/// Returns the number of the reason.
fn reason_id(reason: RefreshReason) -> u8 {
    match reason {
        // The header has no other number for a cache that keeps nothing.
        RefreshReason::CacheDisabled => RefreshReason::Missing as u8,
        reason => reason as u8,
    }
}

/// Returns at most `length` characters of `text`, without separators of the header.
fn sanitize(text: &str, length: usize) -> String {
    let is_allowed = |character: &char| character.is_ascii_graphic() && !matches!(character, ',' | '|');
    text.chars().filter(is_allowed).take(length).collect()
}
