//! Service Fabric: a secret in `secret` over TLS, and numbers as numbers.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{ExpiryFormat, asked, explain, nested, principal, token};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

/// Of MSAL.NET, and of the other libraries.
const VERSIONS: &[&str] = &["2020-05-01", "2019-07-01-preview"];
/// Other parameters for identities are not looked at.
const IDS: &[(&str, IdKind)] = &[("principalId", IdKind::Object)];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let refuse = |status, reason| {
        let code = match reason {
            "secret" => "SecretHeaderNotFound",
            "identity" | "identities" => "ManagedIdentityNotFound",
            "resource" => "ArgumentNullOrEmpty",
            "api_version" => "InvalidApiVersion",
            _ => "InternalError",
        };
        nested(status, reason, code, explain(reason))
    };
    if exchange.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
    }
    if exchange.header("secret") != Some(&state.secrets.service_fabric) {
        return refuse(StatusCode::UNAUTHORIZED, "secret");
    }
    let found =
        asked(exchange, VERSIONS).and_then(|resource| Ok((resource, principal(exchange, state, IDS)?)));
    let (resource, principal) = match found {
        Ok(found) => found,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    match token(principal, resource, ExpiryFormat::UnixNumber, effect, state).await {
        Some(body) => Reply::ok(&Value::Object(body)),
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "signing"),
    }
}
