//! `symbolon serve`, and the agent that `symbolon exec` runs.

use std::io::{self, Write};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use symbolon::{Env, Error, ManagedIdentity, ManagedIdentityId, SharedClock};
use symbolon_agent::{Agent, AgentBuilder, Record};

use crate::acquire;
use crate::args::{Global, Keys, identity, resource};
use crate::moment::Moment;
use crate::output::variables;
use crate::signals::Signals;

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    agent: AgentOptions,
    /// The address to listen on; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Listen on a Unix socket, which only this user can open, in place of an address
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    unix: Option<PathBuf>,
}

/// What an agent gives out.
#[derive(Debug, Args)]
pub(crate) struct AgentOptions {
    /// An identity that clients may ask for, the first also without naming it: system,
    /// client-id:ID, object-id:ID or resource-id:ID; may be repeated
    #[arg(long = "identity", value_name = "IDENTITY", default_value = "system", value_parser = identity)]
    identities: Vec<ManagedIdentityId>,
    /// A resource that clients may ask for; may be repeated; without it they may ask for all
    #[arg(long, value_name = "RESOURCE", value_parser = resource)]
    allow: Vec<String>,
    /// Get the bearer tokens with the certificate that bound tokens are got with
    #[arg(long)]
    over_mtls: bool,
    #[command(flatten)]
    keys: Keys,
}

pub(crate) async fn run(options: &ServeOptions, global: &Global, env: &Env) -> Result<ExitCode, Error> {
    let builder = agent(&options.agent, global, env)?.observer(log);
    let mut signals = Signals::listen()?;
    let agent = listen(options, builder).await?;
    if options.agent.allow.is_empty() {
        tell("every resource is allowed: name those that are needed with --allow");
    }
    // The secret is in them: this is the one place where it is shown.
    anstream::println!("{}", variables(agent.environment(), global.output));
    signals.next().await;
    tell("stopping");
    agent.stop().await;
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
async fn listen(options: &ServeOptions, builder: AgentBuilder) -> Result<Agent, Error> {
    match &options.unix {
        Some(path) => builder.listen_unix(path).await,
        None => builder.listen(options.listen).await,
    }
}

#[cfg(not(unix))]
async fn listen(options: &ServeOptions, builder: AgentBuilder) -> Result<Agent, Error> {
    builder.listen(options.listen).await
}

/// The agent that the options describe.
pub(crate) fn agent(options: &AgentOptions, global: &Global, env: &Env) -> Result<AgentBuilder, Error> {
    let identity = |id: &ManagedIdentityId| -> Result<ManagedIdentity, Error> {
        acquire::builder(&options.keys, global.ca_file.as_deref(), env)?.identity(id.clone()).build()
    };
    let mut identities = options.identities.iter();
    let first = identities.next().cloned().unwrap_or_else(ManagedIdentityId::system_assigned);
    let mut agent = Agent::builder(identity(&first)?);
    for id in identities {
        agent = agent.identity(identity(id)?);
    }
    for resource in &options.allow {
        agent = agent.allow(resource);
    }
    Ok(if options.over_mtls { agent.over_mtls() } else { agent })
}

pub(crate) fn log(record: &Record) {
    tell(&record.to_string());
}

/// A line of the log. An agent outlives whoever reads it.
fn tell(what: &str) {
    let now = Moment::at(SharedClock::system().now());
    let _written = writeln!(io::stderr().lock(), "{now} {what}");
}
