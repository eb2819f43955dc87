//! App Service: a secret in `X-IDENTITY-HEADER`, and the end of a token's life as text.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{ExpiryFormat, asked, explain, flat, principal, token};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

/// The version that is documented for App Service, Functions and Container Apps.
const VERSIONS: &[&str] = &["2019-08-01"];
const IDS: &[(&str, IdKind)] = &[
    ("client_id", IdKind::Client),
    ("object_id", IdKind::Object),
    ("principal_id", IdKind::Object),
    ("mi_res_id", IdKind::Resource),
];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let refuse = |status, reason| flat(status, reason, explain(reason));
    if exchange.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
    }
    if exchange.header("x-identity-header") != Some(&state.secrets.app_service) {
        return refuse(StatusCode::UNAUTHORIZED, "secret");
    }
    let found =
        asked(exchange, VERSIONS).and_then(|resource| Ok((resource, principal(exchange, state, IDS)?)));
    let (resource, principal) = match found {
        Ok(found) => found,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    match token(principal, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(mut body) => {
            body.insert("client_id".to_owned(), principal.client_id.into());
            Reply::ok(&Value::Object(body))
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "signing"),
    }
}
