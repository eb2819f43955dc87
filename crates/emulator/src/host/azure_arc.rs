//! Azure Arc: a 401 first, which names a file that only processes of the machine can read.

use http::header::WWW_AUTHENTICATE;
use http::{Method, StatusCode};
use serde_json::Value;

use super::{ExpiryFormat, asked, explain, is_metadata, principal, token};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

/// Of Azure PowerShell, of MSAL, and of the Azure SDKs.
const VERSIONS: &[&str] = &["2019-11-01", "2020-06-01", "2021-02-01"];
/// `mi_res_id` is not looked at.
const IDS: &[(&str, IdKind)] =
    &[("client_id", IdKind::Client), ("object_id", IdKind::Object), ("msi_res_id", IdKind::Resource)];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let refuse = |status, error: &str, reason| Reply::refusal(status, error, reason, explain(reason));
    if exchange.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "method");
    }
    if !is_metadata(exchange) {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "metadata_header");
    }
    let resource = match asked(exchange, VERSIONS) {
        Ok(resource) => resource,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, "invalid_request", reason),
    };
    let key = exchange.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let Some(key) = key.filter(|key| state.challenges.knows(key)) else {
        return match state.challenges.issue() {
            Ok(path) => {
                let reply = refuse(StatusCode::UNAUTHORIZED, "unauthorized", "challenge");
                reply.header(WWW_AUTHENTICATE, &format!("Basic realm={}", path.display()))
            }
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "key_file"),
        };
    };
    // An agent from before 2026 knows the machine's identity only, whichever is asked for.
    let ids = if state.settings.arc_knows_identities { IDS } else { &[] };
    let principal = match principal(exchange, state, ids) {
        Ok(principal) => principal,
        Err(reason) => return refuse(StatusCode::NOT_FOUND, "identity_not_found", reason),
    };
    match token(principal, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(mut body) => {
            state.challenges.close(key);
            let lifetime = state.settings.token_lifetime.as_secs();
            body.entry("expires_in").or_insert_with(|| lifetime.to_string().into());
            for (name, _) in ids {
                if let Some(value) = exchange.query(name) {
                    body.insert((*name).to_owned(), value.into());
                }
            }
            Reply::ok(&Value::Object(body))
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "signing"),
    }
}
