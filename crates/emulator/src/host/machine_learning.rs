//! Azure Machine Learning: a secret in `secret`, and `clientid` without an underscore.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{ExpiryFormat, asked, explain, flat, principal, token};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

const VERSIONS: &[&str] = &["2017-09-01"];
const IDS: &[(&str, IdKind)] = &[("clientid", IdKind::Client)];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let refuse = |status, reason| flat(status, reason, explain(reason));
    if exchange.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
    }
    if exchange.header("secret") != Some(&state.secrets.machine_learning) {
        return refuse(StatusCode::UNAUTHORIZED, "secret");
    }
    let found =
        asked(exchange, VERSIONS).and_then(|resource| Ok((resource, principal(exchange, state, IDS)?)));
    let (resource, principal) = match found {
        Ok(found) => found,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    match token(principal, resource, ExpiryFormat::UnixText, effect, state).await {
        Some(body) => Reply::ok(&Value::Object(body)),
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "signing"),
    }
}
