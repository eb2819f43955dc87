//! `symbolon exec`.

use std::io;
use std::process::{ExitCode, ExitStatus};

use symbolon::{Env, Error, Source};
use symbolon_agent::{Agent, Metrics, Record};
use tokio::process::{Child, Command};

use super::agent;
use crate::args::GlobalOptions;
use crate::args::agent::ExecOptions;
use crate::failure;
use crate::server_log::ServerLog;
use crate::signals::Signals;

/// Exit code if there is no such program, as in shells and env(1).
const NOT_FOUND: u8 = 127;
/// Exit code if the program cannot be run.
const NOT_EXECUTABLE: u8 = 126;
/// Variables of proxies that some clients use even for loopback addresses.
const PROXIES: &[&str] = &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

pub(super) async fn run(options: &ExecOptions, global: &GlobalOptions, env: &Env) -> Result<ExitCode, Error> {
    // The terminal belongs to the command, so that only rejections are logged.
    let observer = |record: &Record| {
        if record.reason().is_some() {
            agent::log_request(ServerLog::text(false), record);
        }
    };
    let agent = agent::builder(&options.agent, global, env, ServerLog::text(global.quiet), Metrics::new())?
        .observer(observer);
    let agent = agent.listen(([127, 0, 0, 1], 0).into()).await?;
    let mut signals = Signals::listen()?;
    let mut child = match command(options, &agent, env).spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            let program = options.command[0].to_string_lossy();
            let error = failure::request("invalid_usage", format!("cannot run {program}: {error}"));
            failure::report(&error, global.output);
            return Ok(ExitCode::from(code));
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = signals.next() => forward(signal, &child),
        }
    };
    // Processes that the command left behind get no more tokens.
    drop(agent);
    let status =
        status.map_err(|error| failure::local("the exit status of the command cannot be read", error))?;
    Ok(ExitCode::from(code(status)))
}

/// Returns the command with the agent's variables. It is killed if this process times out.
fn command(options: &ExecOptions, agent: &Agent, env: &Env) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).kill_on_drop(true);
    // Variables of another source would make an SDK prefer it.
    for name in Source::variables() {
        command.env_remove(name);
    }
    if let Some(name) = &options.agent.keys.device.pin_env {
        command.env_remove(name);
    }
    command.envs(agent.environment());
    if PROXIES.iter().any(|name| env.var(name).is_some()) {
        for name in ["NO_PROXY", "no_proxy"] {
            let others = env.var(name).map(|others| others + ",").unwrap_or_default();
            command.env(name, others + "127.0.0.1");
        }
    }
    command
}

#[cfg(unix)]
fn forward(signal: rustix::process::Signal, child: &Child) {
    use std::io::IsTerminal;

    use rustix::process::{Pid, Signal, kill_process};

    // The terminal sends Ctrl-C to the command as well; a second signal could abort its shutdown.
    if signal == Signal::INT && io::stdin().is_terminal() {
        return;
    }
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // The command may have ended already.
        let _sent = kill_process(id, signal);
    }
}

/// Does nothing, because Windows sends Ctrl-C to all processes of a console.
#[cfg(not(unix))]
fn forward((): (), _child: &Child) {}

#[cfg(unix)]
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;

    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
