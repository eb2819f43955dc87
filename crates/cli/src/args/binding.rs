//! Options of `binding`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};
use rustix::process::Signal;
use symbolon::ManagedIdentityId;

use super::key::{DeviceOptions, StrengthFloor};
use super::values;

const RENEWAL: &str = "Renewal";
const FILES: &str = "Permissions";
const KEY: &str = "Key";
const EXAMPLES: &str = "\
Examples:
  symbolon binding show
  symbolon binding export --cert cert.pem --key key.pem
  symbolon binding renew --daemon --cert cert.pem --key key.pem \\
      --exec 'nginx -s reload'";
const EXPORT_EXAMPLES: &str = "\
Examples:
  symbolon binding export --cert cert.pem --key key.pem
  symbolon binding export --combined identity.pem
  symbolon binding export --cert cert.pem --key tpm: --wrapped-key key.pem";
const RENEW_EXAMPLES: &str = "\
Examples:
  symbolon binding renew --cert cert.pem --key key.pem --exec 'nginx -s reload'
  symbolon binding renew --daemon --combined identity.pem \\
      --pid-file /run/haproxy-master.pid --signal USR2";

#[derive(Debug, Args)]
#[command(subcommand_required = true, after_help = EXAMPLES)]
pub(crate) struct BindingOptions {
    #[command(subcommand)]
    pub(crate) command: BindingCommand,
}

impl BindingOptions {
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(&self.command, BindingCommand::Renew(RenewOptions { daemon: true, .. }))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BindingCommand {
    /// Show the stored certificates and the places of their keys, without a request
    Show,
    /// Write certificate and key to files for another program
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(HandoverOptions),
    /// Write certificate and key again after each renewal, and notify the program that reads them
    Renew(RenewOptions),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("files").required(true).multiple(true))]
pub(crate) struct HandoverOptions {
    /// Write the certificate to this file, in PEM
    #[arg(long, value_name = "FILE", group = "files")]
    pub(crate) cert: Option<PathBuf>,
    /// Write the private key to this file, in PEM and unencrypted; or use a key in a device, which
    /// stays there, by a URI: pkcs11:… (RFC 7512) or tpm:
    #[arg(long, value_name = "FILE|URI")]
    pub(crate) key: Option<PathBuf>,
    /// Write a key in a TPM to this file, still wrapped by the TPM: a PEM block TSS2 PRIVATE KEY,
    /// as the provider tpm2 of OpenSSL reads it
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) wrapped_key: Option<PathBuf>,
    /// Write certificate and private key to this file, as HAProxy reads them
    #[arg(long, value_name = "FILE", group = "files")]
    pub(crate) combined: Option<PathBuf>,
    /// Managed identity: system, client-id:ID, object-id:ID or resource-id:ID [default: system]
    #[arg(long, value_name = "IDENTITY", value_parser = values::identity)]
    pub(crate) identity: Option<ManagedIdentityId>,
    /// Permissions of the file with the certificate
    #[arg(long, value_name = "OCTAL", help_heading = FILES, default_value = "0644", value_parser = certificate_mode)]
    pub(crate) cert_mode: u32,
    /// Permissions of a file with the private key: never for all users
    #[arg(long, value_name = "OCTAL", help_heading = FILES, default_value = "0600", value_parser = key_mode)]
    pub(crate) key_mode: u32,
    /// Minimum protection of the key; fail if it is weaker
    #[arg(long, help_heading = KEY, value_name = "LEVEL", value_enum, default_value_t = StrengthFloor::None)]
    pub(crate) min_strength: StrengthFloor,
    #[command(flatten, next_help_heading = KEY)]
    pub(crate) device: DeviceOptions,
}

#[derive(Debug, Args)]
#[command(after_help = RENEW_EXAMPLES)]
pub(crate) struct RenewOptions {
    /// Keep running, and renew the certificate at half of its lifetime
    #[arg(long, help_heading = RENEWAL)]
    pub(crate) daemon: bool,
    /// Request a new certificate now, although the current one is not due
    #[arg(long, help_heading = RENEWAL)]
    pub(crate) force: bool,
    /// Run this program after each change. Its arguments are separated by spaces; no shell is used
    #[arg(long, help_heading = RENEWAL, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// Run the text of --exec with /bin/sh
    #[arg(long, help_heading = RENEWAL, requires = "exec")]
    pub(crate) shell: bool,
    /// Send a signal after each change to the process whose id is in this file
    #[arg(long, help_heading = RENEWAL, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// The signal for the process of --pid-file
    #[arg(long, help_heading = RENEWAL, value_name = "SIGNAL", default_value = "HUP", value_parser = signal_parser())]
    #[arg(requires = "pid_file")]
    pub(crate) signal: SignalName,
    // Last, because of its headings.
    #[command(flatten)]
    pub(crate) handover: HandoverOptions,
}

/// A signal, and its name for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalName {
    pub(crate) signal: Signal,
    pub(crate) name: &'static str,
}

/// The signals by which servers read their files again, or end.
const SIGNALS: [SignalName; 7] = [
    SignalName { signal: Signal::HUP, name: "HUP" },
    SignalName { signal: Signal::USR1, name: "USR1" },
    SignalName { signal: Signal::USR2, name: "USR2" },
    SignalName { signal: Signal::WINCH, name: "WINCH" },
    SignalName { signal: Signal::INT, name: "INT" },
    SignalName { signal: Signal::QUIT, name: "QUIT" },
    SignalName { signal: Signal::TERM, name: "TERM" },
];

fn signal_parser() -> impl TypedValueParser<Value = SignalName> {
    PossibleValuesParser::new(SIGNALS.map(|signal| signal.name))
        .map(|name| SIGNALS.into_iter().find(|signal| signal.name == name).unwrap_or(SIGNALS[0]))
}

fn certificate_mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+'));
    match mode {
        Some(mode) if mode & !0o666 == 0 && mode & 0o400 != 0 => Ok(mode),
        _ => Err("not the permissions of a file that its owner reads; use a form such as 0644"),
    }
}

fn key_mode(text: &str) -> Result<u32, &'static str> {
    match certificate_mode(text)? {
        mode if mode & 0o006 == 0 => Ok(mode),
        _ => Err("a private key must not be open to all users; use 0600, or 0640 for a group"),
    }
}
