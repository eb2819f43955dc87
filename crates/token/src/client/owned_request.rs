//! Token requests that own their parts.

use std::sync::Arc;

use symbolon_types::{CorrelationId, Error, RefreshReason};

use super::authenticate::authenticate;
use super::parts::{ClientParts, Started};
use crate::credential::{CacheIdentity, ClientAuth, CredentialRequest};
use crate::oauth::{Grant, Parameters, RoutingHint, Subject};
use crate::token::CacheKey;

/// A valid token request that owns its parts, so that it can run in the background.
pub(super) struct OwnedRequest {
    pub(super) parts: Arc<ClientParts>,
    pub(super) audience: String,
    pub(super) proof_of_possession: bool,
    pub(super) tenant: Option<String>,
    pub(super) grant: Grant,
    pub(super) subject: Subject,
    pub(super) scope: String,
    /// All claims, merged.
    pub(super) claims: Option<String>,
    pub(super) client_claims: Option<String>,
    /// The key under which requests that do not read the cache share an exchange.
    pub(super) bypass_key: Option<String>,
    /// True if the caller demands a new token, which ends the pause after a refused credential.
    pub(super) is_forced: bool,
    pub(super) parameters: Parameters,
    pub(super) routing_hint: Option<RoutingHint>,
    pub(super) correlation_id: CorrelationId,
    pub(super) started: Started,
}

impl OwnedRequest {
    /// Authenticates the client for one exchange.
    pub(super) async fn authenticate(&self) -> Result<ClientAuth, Error> {
        let now = self.parts.http.context().clock().steady_now();
        authenticate(&self.parts, &CredentialRequest { now, ..self.credential_request() }).await
    }

    /// Authenticates within the time limit of the request.
    pub(super) async fn authenticate_in_time(&self) -> Result<ClientAuth, Error> {
        self.parts.until(self.started, "the credential", self.authenticate()).await
    }

    pub(super) fn refresh_reason(&self, key: &CacheKey<'_>) -> RefreshReason {
        match (&self.subject, &self.grant) {
            (Subject::Unknown(_), _) | (Subject::Session(_), Grant::OnBehalfOf { .. }) => {
                RefreshReason::NotApplicable
            }
            _ if self.bypass_key.is_some() => RefreshReason::ForcedOrClaims,
            _ => self.parts.cache.refresh_reason(key),
        }
    }

    pub(super) fn credential_request(&self) -> CredentialRequest<'_> {
        CredentialRequest {
            proof_of_possession: self.proof_of_possession,
            for_user: self.grant.is_for_user(),
            tenant: self.tenant.as_deref(),
            fmi_path: self.parameters.assertion_fmi_path(),
            correlation_id: Some(self.correlation_id),
            now: self.started.at,
            http: &self.parts.http,
        }
    }

    pub(super) fn key<'k>(&'k self, identity: &'k CacheIdentity<'_>) -> CacheKey<'k> {
        identity
            .key(&self.audience)
            .about(self.subject.name())
            .with_client_claims(self.client_claims.as_deref())
            .with_parameters(self.parameters.keyed())
    }
}
