//! The command line: commands, options and their help.

pub(crate) mod agent;
pub(crate) mod application;
#[cfg(unix)]
pub(crate) mod binding;
pub(crate) mod key;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod suggestion;
pub(crate) mod token;
pub(crate) mod tools;
pub(crate) mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use self::agent::{ExecOptions, ServeOptions};
#[cfg(unix)]
use self::binding::BindingOptions;
use self::proxy::ProxyOptions;
use self::token::{AppTokenOptions, CallOptions, TokenOptions};
use self::tools::{
    CompletionsOptions, DoctorOptions, EmulateOptions, ExplainOptions, InspectOptions, ManOptions,
};
use crate::output::OutputFormat;

/// Azure managed identity tokens that are bound to a key
///
/// Start with `symbolon demo`, which needs no Azure and no configuration.
#[derive(Debug, Parser)]
#[command(name = "symbolon", version, max_term_width = 80, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Output format: text for people, json for programs (also of errors, on stderr); for a token
    /// also raw, the token alone, and header, as an HTTP header
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) output: OutputFormat,
    /// Trust the certificates in this PEM file as well, like `SSL_CERT_FILE`
    #[arg(long, global = true, value_name = "PEM")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Stop the whole command after this many seconds and report a timeout
    #[arg(long, global = true, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Log on stderr what the command does; -vv: every request and decision; `RUST_LOG` overrides
    /// both
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print results and errors only: no notes, no progress, no log of requests
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Show the life of a bound token on a built-in emulator
    Demo,
    /// Request a token of this machine's managed identity
    Token(TokenOptions),
    /// Request a token of an application with its own credential
    AppToken(AppTokenOptions),
    /// Request a managed identity token and call a URL with it
    Call(CallOptions),
    /// Check what this machine supports, without requesting a token
    Doctor(DoctorOptions),
    /// Explain an error code and what to do about it
    Explain(ExplainOptions),
    /// Decode a token without verifying it
    Inspect(InspectOptions),
    /// Run the emulator of Azure's metadata and token services
    Emulate(EmulateOptions),
    /// Serve tokens to local programs from an endpoint like App Service's
    Serve(ServeOptions),
    /// Run a command that gets its tokens from an endpoint like App Service's
    Exec(ExecOptions),
    /// Run a local proxy that adds tokens and certificates to requests
    Proxy(Box<ProxyOptions>),
    /// Show the certificate of bound tokens, or hand it over to another program
    #[cfg(unix)]
    Binding(BindingOptions),
    /// Print a shell completion script
    Completions(CompletionsOptions),
    /// Write the man pages
    Man(ManOptions),
    /// The process in `demo` that replays a stolen token
    #[command(hide = true)]
    Replay,
}

impl CliCommand {
    /// Returns true for a server, whose stderr is a log.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Proxy(_) => true,
            #[cfg(unix)]
            Self::Binding(options) => options.is_daemon(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Returns the commands in the examples of a command and its subcommands.
    fn examples(command: &clap::Command) -> Vec<String> {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let text = text.replace("\\\n", "");
        let own = text.lines().filter(|line| line.starts_with("  symbolon ")).map(str::to_owned);
        own.chain(command.get_subcommands().flat_map(examples)).collect()
    }

    /// Splits a command line into words, of which some are in single quotes.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn examples_of_the_help_parse() {
        let examples = examples(&Cli::command());
        assert!(examples.len() > 8, "{examples:?}");
        for example in examples {
            let parsed = Cli::try_parse_from(words(&example));
            assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
        }
    }
}
