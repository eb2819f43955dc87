//! The local agent of `serve` and `exec`, and its log.

use std::io::{self, Write};

use symbolon::parts::types::printable;
use symbolon::{Env, Error, ManagedIdentity, ManagedIdentityId, SharedClock};
use symbolon_agent::{Agent, AgentBuilder};

use crate::acquire;
use crate::args::GlobalOptions;
use crate::args::agent::AgentOptions;
use crate::timestamp::Timestamp;

/// Returns a builder for the agent.
pub(super) fn builder(
    options: &AgentOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<AgentBuilder, Error> {
    let identity = |id: &ManagedIdentityId| -> Result<ManagedIdentity, Error> {
        acquire::builder(&options.keys, global.ca_file.as_deref(), env)?.identity(id.clone()).build()
    };
    if options.identities.is_empty() {
        acquire::note_ignored_client_id(global.quiet, env);
    }
    let mut identities = options.identities.iter();
    let first = identities.next().cloned().unwrap_or_else(ManagedIdentityId::system_assigned);
    let mut agent = Agent::builder(identity(&first)?);
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

/// Writes a line of the log to stderr, with invisible characters escaped.
pub(super) fn log(message: &str) {
    let now = Timestamp::from(SharedClock::system().now());
    // The agent continues if stderr is closed.
    let _written = writeln!(io::stderr().lock(), "{now} {}", printable(message));
}
