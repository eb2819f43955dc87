//! Other programs, printed before they run.

use std::fmt;
use std::process::{Command, Output, Stdio};

/// A command line.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: &'static str,
    arguments: Vec<String>,
}

impl Invocation {
    /// `cargo` from the path: under rustup, the toolchain that runs xtask.
    pub(crate) fn cargo<I>(arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::new("cargo", arguments)
    }

    pub(crate) fn new<I>(program: &'static str, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self { program, arguments: arguments.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Prints the command, runs it with this terminal, and fails unless it succeeds.
    pub(crate) fn run(&self) -> Result<(), String> {
        println!("$ {self}");
        let status = self.command().status().map_err(|error| format!("cannot start `{self}`: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{self}` failed ({status})")) }
    }

    /// Prints the command, runs it, and returns its standard error, which is printed if it fails.
    pub(crate) fn run_logged(&self) -> Result<String, String> {
        println!("$ {self}");
        let output =
            self.capture(Stdio::piped()).map_err(|error| format!("cannot start `{self}`: {error}"))?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(log),
            false => Err(format!("{log}\n`{self}` failed ({})", output.status)),
        }
    }

    /// Returns the standard output of a command that must succeed, without printing the command.
    pub(crate) fn output(&self) -> Result<String, String> {
        let output =
            self.capture(Stdio::inherit()).map_err(|error| format!("cannot start `{self}`: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("`{self}` failed ({})", output.status)),
        }
    }

    /// Returns true when the program exists and succeeds. Prints nothing.
    pub(crate) fn succeeds(&self) -> bool {
        self.capture(Stdio::null()).is_ok_and(|output| output.status.success())
    }

    fn capture(&self, stderr: Stdio) -> std::io::Result<Output> {
        self.command().stderr(stderr).output()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        for argument in &self.arguments {
            match argument.contains(char::is_whitespace) {
                true => write!(f, " '{argument}'")?,
                false => write!(f, " {argument}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_command_can_be_pasted_into_a_shell() {
        let invocation = Invocation::cargo(["doc", "--no-deps"]).args(["-p", "a b"]);
        assert_eq!(invocation.to_string(), "cargo doc --no-deps -p 'a b'");
    }

    #[test]
    fn failing_and_missing_programs_differ() {
        assert!(Invocation::cargo(["--version"]).succeeds());
        assert!(!Invocation::cargo(["no-such-subcommand"]).succeeds());
        let missing = Invocation::new("no-such-program", ["--version"]);
        assert!(!missing.succeeds());
        let error = missing.output().expect_err("a missing program");
        assert!(error.starts_with("cannot start `no-such-program --version`: "), "{error}");
    }
}
