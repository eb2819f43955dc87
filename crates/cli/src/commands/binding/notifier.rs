//! Notification of the program that reads the files.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use symbolon::parts::binding::store::{PrivateDir, StoredFile};
use symbolon::parts::transport;
use symbolon::{Env, Error, ErrorKind, SharedClock, Thumbprint};
use tokio::process::Command;

use crate::args::binding::{RenewOptions, SignalName};
use crate::{failure, input_file, keys};

/// The longest time that a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Characters that a shell interprets.
const SHELL_SYNTAX: &[char] = &[
    '"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '[', ']', '{', '}', '~', '#',
    '\n',
];
/// The lock of the files with notified certificates.
const LOCK: &str = "notified.lock";

/// A program to notify after each change of the certificate: by a command, by a signal, or both.
pub(super) struct Notifier<'a> {
    /// The program and its arguments.
    command: Vec<&'a str>,
    /// The file with the id of a process, and the signal for it.
    process: Option<(&'a Path, SignalName)>,
    /// The variable with the PIN, which the command does not get.
    hidden_variable: Option<&'a str>,
    /// The folder and the file with the certificate of the last notification. The program is
    /// notified even if this process is killed after it has written the files.
    state: (PathBuf, String),
}

impl<'a> Notifier<'a> {
    pub(super) fn new(options: &'a RenewOptions, env: &Env) -> Result<Self, Error> {
        let command = match options.exec.as_deref() {
            None => Vec::new(),
            Some(text) if options.shell => vec!["/bin/sh", "-c", text],
            Some(text) => words(text)?,
        };
        let process = options.pid_file.as_deref().map(|file| (file, options.signal));
        let files = &options.handover;
        let targets = [&files.cert, &files.key, &files.combined, &options.pid_file].map(|path| {
            path.as_deref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        });
        let digest = Thumbprint::of(format!("{targets:?}\0{command:?}").as_bytes());
        Ok(Self {
            command,
            process,
            hidden_variable: files.device.pin_env.as_deref(),
            state: (keys::state_folder(env)?, format!("notified-{digest}")),
        })
    }

    /// Notifies the program of a certificate, unless it was notified before. Returns true if it was
    /// notified now.
    ///
    /// # Errors
    /// `reload_failed` when the command fails, or the process does not get the signal.
    pub(super) async fn notify(&self, certificate: Thumbprint) -> Result<bool, Error> {
        if (self.command.is_empty() && self.process.is_none()) || self.is_notified(certificate) {
            return Ok(false);
        }
        if let [program, arguments @ ..] = &self.command[..] {
            self.run(program, arguments).await?;
        }
        if let Some((file, signal)) = self.process {
            send(file, signal)?;
        }
        if let Err(error) = self.record(certificate) {
            tracing::warn!(%error, "the notification is not recorded, and is repeated at the next start");
        }
        Ok(true)
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(program);
        // Results only are on stdout.
        command.args(arguments).stdin(Stdio::null()).stdout(std::io::stderr()).process_group(0);
        if let Some(name) = self.hidden_variable {
            command.env_remove(name);
        }
        let failed = |what: String| failed(format!("{program} of --exec {what}"));
        let mut child =
            command.spawn().map_err(|error| failed("could not be started".to_owned()).with_source(error))?;
        let mut group = CommandGroup(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
        let status = transport::timeout(&SharedClock::system(), COMMAND_TIMEOUT, child.wait()).await;
        if status.is_some() {
            // It may have started a server on purpose.
            group.0 = None;
        }
        match status {
            Some(Ok(status)) if status.success() => Ok(()),
            Some(Ok(status)) => Err(failed(format!("failed: {status}"))),
            Some(Err(error)) => Err(failed("could not be awaited".to_owned()).with_source(error)),
            None => Err(failed(format!("did not end within {} s; it was killed", COMMAND_TIMEOUT.as_secs()))),
        }
    }

    fn is_notified(&self, certificate: Thumbprint) -> bool {
        let (folder, file) = &self.state;
        let content = PrivateDir::open(folder).and_then(|dir| dir.read(file));
        matches!(content, Ok(StoredFile::Content(text)) if *text == certificate.to_string().as_bytes())
    }

    fn record(&self, certificate: Thumbprint) -> Result<(), Error> {
        let (folder, file) = &self.state;
        let dir = PrivateDir::open(folder)?;
        match dir.try_lock(LOCK)? {
            Some(lock) => dir.replace(file, certificate.to_string().as_bytes(), &lock),
            None => Err(failure::request("store_locked", "another process writes to the state folder")),
        }
    }
}

/// The processes of a command, which are killed on drop.
struct CommandGroup(Option<Pid>);

impl Drop for CommandGroup {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // The command may have ended already.
            let _killed = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Splits a command at spaces. Text that needs a shell is refused.
fn words(text: &str) -> Result<Vec<&str>, Error> {
    let refused = |what: String| failure::request("invalid_usage", format!("--exec {what}"));
    if let Some(character) = text.chars().find(|character| SHELL_SYNTAX.contains(character)) {
        let shown = character.escape_debug();
        return Err(refused(format!("contains `{shown}`, but no shell runs it; add --shell to use /bin/sh")));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        Err(refused("is empty; pass a program and its arguments".to_owned()))
    } else {
        Ok(words)
    }
}

/// Sends a signal to the process whose id is in the file.
fn send(file: &Path, SignalName { signal, name }: SignalName) -> Result<(), Error> {
    let shown = file.display();
    let content = input_file::read(file)
        .map_err(|error| failed(format!("--pid-file {shown} could not be read")).with_source(error))?;
    let id = str::from_utf8(&content).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // 1 is init; zero and negative numbers are groups of processes.
    let id = id.filter(|id| *id > 1).and_then(Pid::from_raw);
    let id = id.ok_or_else(|| failed(format!("--pid-file {shown} does not have the id of a process")))?;
    kill_process(id, signal).map_err(|errno| {
        let message = format!("process {} of --pid-file {shown} did not get SIG{name}", id.as_raw_nonzero());
        failed(message).with_source(std::io::Error::from(errno))
    })
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::Service, "reload_failed", message)
        .with_advice("the files are written; correct the command or the process, or run it yourself")
        .with_transient(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_split_at_spaces() {
        assert_eq!(words("nginx  -s\treload ").unwrap(), ["nginx", "-s", "reload"]);
        assert_eq!(words("/usr/bin/x --set=a,b:c@1%").unwrap().len(), 2);
        for text in [
            "",
            " ",
            "sh -c 'x'",
            "a | b",
            "a > b",
            "a $B",
            "a `b`",
            "a; b",
            "a && b",
            "a \\b",
            "a\nb",
            "~/a",
        ] {
            assert_eq!(words(text).unwrap_err().code(), "invalid_usage", "{text}");
        }
    }
}
