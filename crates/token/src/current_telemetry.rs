//! What Entra is told about how its client works, with each token request.

use http::HeaderValue;

use crate::authority::{DetectedBy, RegionOutcome};
use crate::grant::Grant;
use crate::parameters::Parameters;
use crate::user::Subject;
use crate::{ClientAuth, ManagedIdentityKind, Scheme};

/// The version of the format. (MSAL.NET `HttpTelemetryManager`, as all below.)
const SCHEMA: u8 = 5;
/// How much is told of the name and the version of the library that called.
const CALLER_ID_LENGTH: usize = 10;
const CALLER_VERSION_LENGTH: usize = 20;

/// Why a token is fetched. (MSAL.NET `CacheRefreshReason`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchReason {
    /// The cache is not read by this flow.
    NotApplicable = 0,
    /// The caller does not want the cached token.
    ForcedOrClaims = 1,
    /// There was none.
    Missing = 2,
    /// There was one that has ended.
    Expired = 3,
    /// There is one, which is to be replaced before it ends.
    Due = 4,
}

/// The library that calls this one, as its token requests tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerSdk {
    pub(crate) id: String,
    pub(crate) version: String,
}

/// What is told with one request.
pub(crate) struct CurrentTelemetry<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) subject: &'a Subject,
    pub(crate) reason: FetchReason,
    pub(crate) region: &'a RegionOutcome,
    /// The cache has a store behind it.
    pub(crate) has_store: bool,
    pub(crate) caller: &'a CallerSdk,
    pub(crate) parameters: &'a Parameters,
}

impl CurrentTelemetry<'_> {
    /// `5|api,reason,region,source,outcome|store,legacy,token type,caller,version,managed`
    pub(crate) fn header(&self, auth: &ClientAuth) -> Option<HeaderValue> {
        let api = api_id(self.grant, self.subject, auth.managed_identity());
        let reason = self.reason as u8;
        let region = region_fields(self.region);
        let has_store = u8::from(self.has_store);
        let token_type = match auth.scheme() {
            Scheme::Bearer => 1,
            Scheme::MtlsPop(_) => 6,
        };
        let told = |name, otherwise| self.parameters.told(name).unwrap_or(otherwise);
        let caller = plain(told(Parameters::CALLER_SDK_ID, &self.caller.id), CALLER_ID_LENGTH);
        let version =
            plain(told(Parameters::CALLER_SDK_VERSION, &self.caller.version), CALLER_VERSION_LENGTH);
        let managed = plain(told(Parameters::MANAGED_CERTIFICATE, ""), 1);
        let text = format!(
            "{SCHEMA}|{api},{reason},{region}|{has_store},0,{token_type},{caller},{version},{managed}"
        );
        HeaderValue::try_from(text).ok()
    }
}

/// (MSAL.NET `ApiEvent.ApiIds`.)
fn api_id(grant: &Grant, subject: &Subject, managed_identity: Option<ManagedIdentityKind>) -> u16 {
    match (grant, subject, managed_identity) {
        (_, _, Some(ManagedIdentityKind::SystemAssigned)) => 1015,
        (_, _, Some(ManagedIdentityKind::UserAssigned)) => 1016,
        (Grant::ClientCredentials, ..) => 1004,
        (Grant::AuthorizationCode(_), ..) => 1000,
        (Grant::OnBehalfOf { .. }, Subject::Session(_), None) => 1017,
        (Grant::OnBehalfOf { .. }, ..) => 1006,
        (Grant::RefreshToken { .. }, ..) => 1001,
        (Grant::StoredRefreshToken, Subject::Session(_), None) => 1018,
        (Grant::StoredRefreshToken, ..) => 1007,
    }
}

/// The region, where it was found, and what came of it. (MSAL.NET `RegionAutodetectionSource`,
/// `RegionOutcome`.)
fn region_fields(outcome: &RegionOutcome) -> String {
    let (source, code) = match outcome {
        RegionOutcome::None => return ",,".to_owned(),
        RegionOutcome::Configured(_) => (0, 6),
        RegionOutcome::Unknown => (1, 5),
        RegionOutcome::Detected(_, by) => {
            let source = match by {
                DetectedBy::Memory => 2,
                DetectedBy::Environment => 3,
                DetectedBy::Metadata => 4,
            };
            (source, 4)
        }
    };
    format!("{},{source},{code}", outcome.region().map(ToString::to_string).unwrap_or_default())
}

/// What fits between the separators, so much of it.
fn plain(text: &str, length: usize) -> String {
    let fits = |character: &char| character.is_ascii_graphic() && !matches!(character, ',' | '|');
    text.chars().filter(fits).take(length).collect()
}
