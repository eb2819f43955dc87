//! Azure Machine Learning: a secret in `secret`, and `clientid` without an underscore.

use serde_json::Value;

use super::{ExpiryFormat, SecretEndpoint, explain, flat};
use crate::exchange::{Exchange, Reply};
use crate::fault::Effect;
use crate::identity::IdKind;
use crate::state::State;

const VERSIONS: &[&str] = &["2017-09-01"];
const IDS: &[(&str, IdKind)] = &[("clientid", IdKind::Client)];

pub(super) async fn answer(exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let endpoint = SecretEndpoint {
        header: "secret",
        secret: &state.secrets.machine_learning,
        versions: VERSIONS,
        ids: IDS,
        expiry: ExpiryFormat::UnixText,
    };
    match endpoint.issue(exchange, effect, state).await {
        Ok((_, body)) => Reply::ok(&Value::Object(body)),
        Err((status, reason)) => flat(status, reason, explain(reason)),
    }
}
