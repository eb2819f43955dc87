//! Another program, printed before it runs. The only place that starts processes.

use std::fmt;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// One command line.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: &'static str,
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) stdout: String,
}

impl Invocation {
    /// `cargo`, found the way a shell finds it: under rustup, the toolchain that runs xtask.
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
        Self { program, arguments: arguments.into_iter().map(Into::into).collect(), variables: Vec::new() }
    }

    pub(crate) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Prints the command, runs it with this terminal, and fails unless it succeeds.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        println!("$ {self}");
        let status = self.command().status().map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("`{self}` failed ({status})"))) }
    }

    /// The standard output of a quiet question, which must succeed.
    pub(crate) fn answer(&self) -> Result<String, Failure> {
        let outcome = self.capture(Stdio::inherit())?;
        if outcome.success { Ok(outcome.stdout) } else { Err(Failure::new(format!("`{self}` failed"))) }
    }

    /// The standard output, when the program exists and succeeds. Prints nothing.
    pub(crate) fn quiet_output(&self) -> Option<String> {
        let outcome = self.capture(Stdio::null()).ok()?;
        outcome.success.then_some(outcome.stdout)
    }

    /// Returns true when the program exists and succeeds. Prints nothing.
    pub(crate) fn succeeds(&self) -> bool {
        self.quiet_output().is_some()
    }

    fn capture(&self, stderr: Stdio) -> Result<Outcome, Failure> {
        let output = self.command().stderr(stderr).output().map_err(|error| self.not_started(&error))?;
        Ok(Outcome {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).envs(self.variables.iter().copied()).stdin(Stdio::null());
        command
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("`{self}` could not be started: {error}"))
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={value} ")?;
        }
        f.write_str(self.program)?;
        for argument in &self.arguments {
            if argument.contains(char::is_whitespace) {
                write!(f, " '{argument}'")?;
            } else {
                write!(f, " {argument}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_can_be_pasted_into_a_shell() {
        let invocation = Invocation::cargo(["doc", "--no-deps"])
            .args(["-p", "a b"])
            .variable("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(invocation.to_string(), "RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps -p 'a b'");
    }

    #[test]
    fn a_program_that_fails_and_one_that_is_missing_are_told_apart() {
        assert!(Invocation::cargo(["--version"]).succeeds());
        assert!(!Invocation::cargo(["no-such-subcommand"]).succeeds());
        let missing = Invocation::new("no-such-program", ["--version"]);
        assert!(!missing.succeeds());
        let failure = missing.answer().expect_err("there is no such program").to_string();
        assert!(failure.starts_with("`no-such-program --version` could not be started: "), "{failure}");
    }
}
