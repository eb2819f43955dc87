//! The descriptions and settings of developer tools.

use std::time::Duration;

use symbolon_token::{Error, ErrorKind};

use super::link::ChainLink;

/// The default timeout, as in the Azure SDK for .NET; the Azure CLI takes seconds to start.
const TIMEOUT: Duration = Duration::from_secs(13);

/// The command line of a tool, and its names in messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToolSpec {
    pub(super) link: ChainLink,
    /// The names of the program file.
    pub(super) programs: &'static [&'static str],
    pub(super) command: &'static [&'static str],
    /// The option for the resource, and the text that follows a resource in its value.
    pub(super) audience: &'static str,
    pub(super) audience_suffix: &'static str,
    /// The command that logs in.
    pub(super) log_in: &'static str,
    /// The sentences, in lower case, that the tool prints if no user is logged in. The name of the
    /// command alone proves nothing: other errors advise to run it again.
    pub(super) logged_out: &'static [&'static str],
    /// The variables that switch off colours, warnings and checks for updates.
    pub(super) quiet: &'static [(&'static str, &'static str)],
    /// The error code for a missing program or login.
    pub(super) unavailable: &'static str,
    /// The error code for a failure of the tool.
    pub(super) failed: &'static str,
}

impl ToolSpec {
    /// Returns true if the output of a failure says that no user is logged in.
    pub(super) fn is_logged_out(&self, output: &str) -> bool {
        let output = output.to_ascii_lowercase().replace(['"', '`'], "'");
        self.logged_out.iter().any(|sentence| output.contains(sentence))
    }
}

/// A tool with the settings of the caller.
#[derive(Clone, Debug)]
pub(super) struct ToolSettings {
    pub(super) tool: ToolSpec,
    /// An option and its value that select an account other than the tool's default.
    pub(super) selection: Option<(&'static str, String)>,
    pub(super) timeout: Duration,
}

impl ToolSettings {
    pub(super) fn new(tool: ToolSpec) -> Self {
        Self { tool, selection: None, timeout: TIMEOUT }
    }
}

/// Validates a value for a command line. A value with a leading `-` would be read as an option.
pub(super) fn validated_argument(
    name: &str,
    value: &str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<String, Error> {
    let is_valid = !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || is_allowed(c));
    if is_valid {
        return Ok(value.to_owned());
    }
    let error = format!("{name} has characters that are not allowed on the command line of a tool");
    Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
        .with_advice("use its id: letters, digits and hyphens"))
}
