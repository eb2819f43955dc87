//! App Service: a secret in `X-IDENTITY-HEADER`, and the end of a token's life as text.

use serde_json::Value;

use super::{ExpiryFormat, SecretEndpoint, explain, flat};
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
    let endpoint = SecretEndpoint {
        header: "x-identity-header",
        secret: &state.secrets.app_service,
        versions: VERSIONS,
        ids: IDS,
        expiry: ExpiryFormat::UnixText,
    };
    match endpoint.issue(exchange, effect, state).await {
        Ok((principal, mut body)) => {
            body.insert("client_id".to_owned(), principal.client_id.into());
            Reply::ok(&Value::Object(body))
        }
        Err((status, reason)) => flat(status, reason, explain(reason)),
    }
}
