//! An identity endpoint that authenticates its callers by a secret in a header.

use http::{Method, StatusCode};
use serde_json::Value;
use symbolon_types::Source;

use crate::faults::FaultEffect;
use crate::protocol::{ExpiryFormat, ParsedRequest, Reply};
use crate::services::hosts::common::{principal, resource, token_body};
use crate::state::{EmulatorState, IdField};

/// The properties that differ between endpoints with a secret.
pub(super) struct SecretEndpoint {
    pub(super) source: Source,
    /// The header with the secret.
    pub(super) header: &'static str,
    pub(super) versions: &'static [&'static str],
    /// The query parameters that name an identity.
    pub(super) ids: &'static [(&'static str, IdField)],
    pub(super) expiry: ExpiryFormat,
    /// The response contains the client id.
    pub(super) with_client_id: bool,
    /// The error format.
    pub(super) error: fn(StatusCode, &'static str) -> Reply,
}

impl SecretEndpoint {
    pub(super) async fn reply(
        &self,
        request: &ParsedRequest,
        effect: &FaultEffect,
        state: &EmulatorState,
    ) -> Reply {
        match self.issue(request, effect, state).await {
            Ok(body) => Reply::ok(&body),
            Err((status, reason)) => (self.error)(status, reason),
        }
    }

    async fn issue(
        &self,
        request: &ParsedRequest,
        effect: &FaultEffect,
        state: &EmulatorState,
    ) -> Result<Value, (StatusCode, &'static str)> {
        if request.method != Method::GET {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method"));
        }
        if request.header(self.header) != Some(state.host_secret(self.source).as_str()) {
            return Err((StatusCode::UNAUTHORIZED, "secret"));
        }
        let bad = |reason| (StatusCode::BAD_REQUEST, reason);
        let resource = resource(request, self.versions, state).map_err(bad)?;
        let principal = principal(request, state, self.ids).map_err(bad)?;
        let body = token_body(principal, resource, self.expiry, effect, state).await;
        let mut body = body.ok_or((StatusCode::INTERNAL_SERVER_ERROR, "signing"))?;
        if self.with_client_id {
            body["client_id"] = principal.client_id.into();
        }
        Ok(body)
    }
}
