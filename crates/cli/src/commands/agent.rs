//! The local agent of `serve` and `exec`, and its log.

use serde_json::json;
use symbolon::{Env, Error, ManagedIdentity, ManagedIdentityId};
use symbolon_agent::{Agent, AgentBuilder, Metrics, Record};

use crate::acquire;
use crate::args::GlobalOptions;
use crate::args::agent::AgentOptions;
use crate::server_log::{ServerLog, Severity};

/// Returns a builder for the agent.
pub(super) fn builder(
    options: &AgentOptions,
    global: &GlobalOptions,
    env: &Env,
    log: ServerLog,
    metrics: Metrics,
) -> Result<AgentBuilder, Error> {
    let context = acquire::context(env)?.with_observer(metrics.clone());
    let identity = |id: &ManagedIdentityId| -> Result<ManagedIdentity, Error> {
        acquire::builder(&options.keys, global.ca_file.as_deref(), env, &context)?
            .identity(id.clone())
            .build()
    };
    if options.identities.is_empty() {
        acquire::note_ignored_client_id(log, env);
    }
    let mut identities = options.identities.iter();
    let first = identities.next().cloned().unwrap_or_else(ManagedIdentityId::system_assigned);
    let mut agent = Agent::builder(identity(&first)?).metrics(metrics);
    for id in identities {
        agent = agent.identity(identity(id)?);
    }
    if options.allow.is_empty() {
        agent = agent.allow_all_resources();
    }
    for resource in &options.allow {
        agent = agent.allow(resource);
    }
    Ok(if options.over_mtls { agent.over_mtls() } else { agent })
}

/// Writes the record of a request.
pub(super) fn log_request(log: ServerLog, record: &Record) {
    let (peer, resource, status) = (record.peer().to_string(), record.resource(), record.status());
    let fields = [("peer", json!(peer)), ("resource", json!(resource)), ("status", json!(status))];
    let [peer, resource, status] = fields;
    match record.reason() {
        None => {
            let origin = ("origin", json!(record.origin()));
            let next_refresh =
                ("next_refresh_seconds", json!(record.next_refresh().map(|left| left.as_secs())));
            let fields = [peer, resource, status, origin, next_refresh];
            log.write(Severity::Info, "request_served", &record.to_string(), fields);
        }
        Some(reason) => {
            let fields = [peer, resource, status, ("reason", json!(reason))];
            log.write(Severity::Warn, "request_refused", &record.to_string(), fields);
        }
    }
}
