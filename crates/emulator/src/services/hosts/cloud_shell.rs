//! Cloud Shell (docs/protocol/sources.md#cloud-shell): a posted form without a version, for the
//! user's identity only.

use http::{Method, StatusCode};

use crate::faults::FaultEffect;
use crate::protocol::{ExpiryFormat, ParsedRequest, Reply};
use crate::services::hosts::common::{accepted, has_metadata_header, nested_error, token_body};
use crate::state::EmulatorState;

pub(super) async fn reply(request: &ParsedRequest, effect: &FaultEffect, state: &EmulatorState) -> Reply {
    let refuse = |status, reason| nested_error(status, reason, "invalid_request");
    if request.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
    }
    if !has_metadata_header(request) {
        return refuse(StatusCode::BAD_REQUEST, "metadata_header");
    }
    if !request.has_content_type("application/x-www-form-urlencoded") {
        return refuse(StatusCode::BAD_REQUEST, "content_type");
    }
    let form = request.form();
    let resource = form.iter().find(|(name, _)| name == "resource").map(|(_, value)| value.as_str());
    let resource = match accepted(resource, state) {
        Ok(resource) => resource,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let user = state.machine.system_assigned();
    match token_body(user, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(mut body) => {
            let lifetime = state.settings.token_lifetime.as_secs();
            // Cloud Shell always sends an empty refresh token.
            body["refresh_token"] = "".into();
            body["expires_in"] = lifetime.to_string().into();
            Reply::ok(&body)
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "signing"),
    }
}
