//! Service Fabric: a secret in `secret` over TLS, and numbers as numbers.

use serde_json::Value;

use super::{ExpiryFormat, SecretEndpoint, explain, nested};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

/// Of MSAL.NET, and of the other libraries.
const VERSIONS: &[&str] = &["2020-05-01", "2019-07-01-preview"];
/// Other parameters for identities are not looked at.
const IDS: &[(&str, IdKind)] = &[("principalId", IdKind::Object)];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let endpoint = SecretEndpoint {
        header: "secret",
        secret: &state.secrets.service_fabric,
        versions: VERSIONS,
        ids: IDS,
        expiry: ExpiryFormat::UnixNumber,
    };
    match endpoint.issue(exchange, effect, state).await {
        Ok((_, body)) => Reply::ok(&Value::Object(body)),
        Err((status, reason)) => nested(status, reason, code(reason), explain(reason)),
    }
}

/// The code that a cluster has for it.
fn code(reason: &str) -> &'static str {
    match reason {
        "secret" => "SecretHeaderNotFound",
        "identity" | "identities" => "ManagedIdentityNotFound",
        "resource" => "ArgumentNullOrEmpty",
        "api_version" => "InvalidApiVersion",
        _ => "InternalError",
    }
}
