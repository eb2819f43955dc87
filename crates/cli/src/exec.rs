//! `symbolon exec`.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use symbolon::{Env, Error, Source};
use symbolon_agent::{Agent, Record};
use tokio::process::{Child, Command};

use crate::args::Global;
use crate::failure;
use crate::serve::{AgentOptions, agent, log};
use crate::signals::Signals;

/// As env(1), nohup(1) and shells have it: there is no such program.
const NOT_FOUND: u8 = 127;
/// It is there and cannot be run.
const NOT_RUN: u8 = 126;
/// Through which a client may send requests even to loopback.
const PROXIES: &[&str] = &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    #[command(flatten)]
    agent: AgentOptions,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(options: &ExecOptions, global: &Global, env: &Env) -> Result<ExitCode, Error> {
    // The terminal is the command's: only what it was refused is told there.
    let observer = |record: &Record| {
        if record.reason().is_some() {
            log(record);
        }
    };
    let agent = agent(&options.agent, global, env)?.observer(observer);
    let agent = agent.listen(([127, 0, 0, 1], 0).into()).await?;
    let mut signals = Signals::listen()?;
    let mut child = match command(options, &agent, env).spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
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
    // Whatever still asks was left behind by the command.
    drop(agent);
    let status = status.map_err(|error| failure::local("the command cannot be waited for", error))?;
    Ok(ExitCode::from(code(status)))
}

/// Killed if this process gives up before it has ended.
fn command(options: &ExecOptions, agent: &Agent, env: &Env) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).kill_on_drop(true);
    // An SDK in the command would choose another source by one of these, or add it to this one.
    for name in Source::variables() {
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

    // What is typed at a terminal is sent to the command as well, which may take a second one for impatience.
    if signal == Signal::INT && io::stdin().is_terminal() {
        return;
    }
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // It has ended, which is what is waited for.
        let _gone = kill_process(id, signal);
    }
}

/// Windows sends Ctrl-C to all processes of a console itself.
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
