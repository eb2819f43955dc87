//! `symbolon serve`.

use std::process::ExitCode;

use symbolon::{Env, Error};
use symbolon_agent::{Agent, AgentBuilder, Record};

use super::agent::{self, log};
use crate::args::GlobalOptions;
use crate::args::agent::ServeOptions;
use crate::signals::Signals;
use crate::variables;

pub(super) async fn run(
    options: &ServeOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    let is_quiet = global.quiet;
    let observer = move |record: &Record| {
        if !is_quiet {
            log(&record.to_string());
        }
    };
    let mut builder = agent::builder(&options.agent, global, env)?.observer(observer);
    if let Some(secret) = variables::stored(&options.variables, "IDENTITY_HEADER")? {
        builder = builder.secret(secret);
    }
    let mut signals = Signals::listen()?;
    let agent = listen(options, builder).await?;
    if options.agent.allow.is_empty() && !is_quiet {
        log("every resource is allowed; limit clients to those they need with --allow");
    }
    variables::publish(&options.variables, agent.environment(), global.output)?;
    signals.next().await;
    if !is_quiet {
        log("stopping");
    }
    agent.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn listen(options: &ServeOptions, builder: AgentBuilder) -> Result<Agent, Error> {
    #[cfg(unix)]
    if let Some(path) = &options.unix {
        return builder.listen_unix(path).await;
    }
    builder.listen(options.listen).await
}
