//! Azure Arc (docs/protocol/sources.md#azure-arc): a 401 that names a key file, and then the
//! request again with the key, which only processes of the machine can read.

use http::header::WWW_AUTHENTICATE;
use http::{Method, StatusCode};

use crate::faults::FaultEffect;
use crate::protocol::{ExpiryFormat, ParsedRequest, Reply};
use crate::services::hosts::common::{explanation, has_metadata_header, principal, resource, token_body};
use crate::state::{EmulatorState, IdField};

/// The versions of Azure PowerShell, of MSAL, and of the Azure SDKs.
const VERSIONS: &[&str] = &["2019-11-01", "2020-06-01", "2021-02-01"];
/// The agent ignores `mi_res_id`.
const IDS: &[(&str, IdField)] =
    &[("client_id", IdField::Client), ("object_id", IdField::Object), ("msi_res_id", IdField::Resource)];

pub(super) async fn reply(request: &ParsedRequest, effect: &FaultEffect, state: &EmulatorState) -> Reply {
    let refuse = |status, error: &str, reason| Reply::refusal(status, error, reason, explanation(reason));
    if request.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "method");
    }
    if !has_metadata_header(request) {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "metadata_header");
    }
    let resource = match resource(request, VERSIONS, state) {
        Ok(resource) => resource,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, "invalid_request", reason),
    };
    let key = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let Some(key) = key.filter(|key| state.challenges.contains(key)) else {
        return match state.challenges.issue() {
            Ok(path) => {
                let reply = refuse(StatusCode::UNAUTHORIZED, "unauthorized", "challenge");
                reply.header(WWW_AUTHENTICATE, &format!("Basic realm={}", path.display()))
            }
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "key_file"),
        };
    };
    // Agents from before 2026 ignore the parameters and use the system-assigned identity.
    let ids = if state.settings.arc_user_assigned { IDS } else { &[] };
    let principal = match principal(request, state, ids) {
        Ok(principal) => principal,
        Err(reason) => return refuse(StatusCode::NOT_FOUND, "identity_not_found", reason),
    };
    match token_body(principal, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(mut body) => {
            state.challenges.close(key);
            let lifetime = state.settings.token_lifetime.as_secs();
            body["expires_in"] = lifetime.to_string().into();
            for (name, _) in ids {
                if let Some(value) = request.query(name) {
                    body[*name] = value.into();
                }
            }
            Reply::ok(&body)
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "signing"),
    }
}
