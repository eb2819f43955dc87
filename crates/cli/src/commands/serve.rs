//! `symbolon serve`.

use std::process::ExitCode;

use symbolon::{Env, Error};
use symbolon_agent::{Metrics, Record};

use super::agent;
use super::server::{Listeners, MainListener, listeners, status_variable};
use crate::args::GlobalOptions;
use crate::args::agent::ServeOptions;
use crate::server_log::{ServerLog, Severity};
use crate::service_manager::ServiceManager;
use crate::signals::Signals;
use crate::variables;

pub(super) async fn run(
    options: &ServeOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    let manager = ServiceManager::new(env)?;
    manager.supervise(serve(options, global, env, &manager)).await
}

async fn serve(
    options: &ServeOptions,
    global: &GlobalOptions,
    env: &Env,
    manager: &ServiceManager,
) -> Result<ExitCode, Error> {
    let log = ServerLog::new(global.output, global.quiet);
    let observer = move |record: &Record| agent::log_request(log, record);
    let mut builder = agent::builder(&options.agent, global, env, log, Metrics::new())?.observer(observer);
    if let Some(secret) = variables::stored(&options.server.variables, "IDENTITY_HEADER")? {
        builder = builder.secret(secret);
    }
    let mut signals = Signals::listen()?;
    let Listeners { main, status } = listeners("the agent", &options.server, env).await?;
    if let Some(status) = status {
        builder = builder.status_on(status);
    }
    if options.server.open_metrics {
        builder = builder.open_metrics();
    }
    let agent = match main {
        MainListener::Address(address) => builder.listen(address).await?,
        #[cfg(unix)]
        MainListener::Path(path) => builder.listen_unix(path).await?,
        MainListener::Passed(listener) => builder.listen_on(listener)?,
    };
    if options.agent.allow.is_empty() {
        let message = "every resource is allowed; limit clients to those they need with --allow";
        log.write(Severity::Warn, "all_resources_allowed", message, []);
    }
    let printed = agent.environment().into_iter().chain(status_variable(agent.status_address()));
    variables::publish(&options.server.variables, printed, global.output)?;
    manager.ready("serving tokens").await;
    signals.next().await;
    manager.stopping().await;
    log.write(Severity::Info, "stopping", "stopping", []);
    agent.stop().await;
    Ok(ExitCode::SUCCESS)
}
