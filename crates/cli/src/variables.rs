//! The variables that clients of `serve` and `proxy` need: on stdout, or in a file for other units,
//! containers and shells. They contain the secret, which is written nowhere else.

#[cfg(unix)]
mod file;

use symbolon::{Error, Secret};

use crate::args::server::VariablesOptions;
use crate::output::{self, OutputFormat};
use crate::stdout::print_line;

/// Returns the secret that an earlier run left in the file of the options, if there is one.
///
/// # Errors
/// `invalid_usage` for a file that another user can have written.
pub(crate) fn stored(options: &VariablesOptions, name: &str) -> Result<Option<Secret>, Error> {
    #[cfg(unix)]
    if let Some(path) = &options.env_file {
        return file::read_secret(path, name);
    }
    let _unused_elsewhere = (options, name);
    Ok(None)
}

/// Writes the variables to the file of the options, or prints them.
pub(crate) fn publish(
    options: &VariablesOptions,
    variables: impl IntoIterator<Item = (&'static str, String)>,
    format: OutputFormat,
) -> Result<(), Error> {
    #[cfg(unix)]
    if let Some(path) = &options.env_file {
        return file::write(path, variables);
    }
    let _unused_elsewhere = options;
    print_line(output::variables(variables, format))
}
