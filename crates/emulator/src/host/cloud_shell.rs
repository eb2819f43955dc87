//! Cloud Shell: a form is posted, no version, no other identity than the user's.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ExpiryFormat, explain, is_metadata, nested, token};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::state::State;

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let refuse = |status, reason| nested(status, reason, "invalid_request", explain(reason));
    if exchange.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
    }
    if !is_metadata(exchange) {
        return refuse(StatusCode::BAD_REQUEST, "metadata_header");
    }
    if !exchange.has_content_type("application/x-www-form-urlencoded") {
        return refuse(StatusCode::BAD_REQUEST, "content_type");
    }
    let form = exchange.form();
    let resource = form.iter().find(|(name, value)| name == "resource" && !value.is_empty());
    let Some((_, resource)) = resource else { return refuse(StatusCode::BAD_REQUEST, "resource") };
    let user = state.machine.system_assigned();
    match token(user, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(mut body) => {
            let lifetime = state.settings.token_lifetime.as_secs();
            // The refresh token is there, and is empty.
            body.insert("refresh_token".to_owned(), "".into());
            body.entry("expires_in").or_insert_with(|| json!(lifetime.to_string()));
            Reply::ok(&Value::Object(body))
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "signing"),
    }
}
