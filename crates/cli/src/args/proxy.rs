//! Options of `proxy`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use http::{HeaderName, HeaderValue};
use symbolon::ManagedIdentityId;
use url::Url;

use super::application::ApplicationOptions;
use super::key::KeyOptions;
use super::server::{CLIENTS, ServerOptions};
use super::values;

const USAGE: &str = "\
symbolon proxy --to <URL> --resource <URI> [OPTIONS]
       symbolon proxy --config <FILE> [OPTIONS]";
const EXAMPLES: &str = "\
Examples:
  symbolon proxy --to https://contoso.vault.azure.net \\
      --resource https://vault.azure.net --pop --unix vault.sock
  curl --unix-socket vault.sock http://vault/secrets/x

  symbolon proxy --config routes.toml --unix proxy.sock
      [[routes]]                              # in routes.toml
      path = \"/vault\"
      to = \"https://contoso.vault.azure.net\"
      resource = \"https://vault.azure.net\"
      pop = true

Without --unix, requests need the header `X-Symbolon-Secret` with the secret
that is printed.";

#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
#[command(group = ArgGroup::new("routes").required(true).multiple(true))]
pub(crate) struct ProxyOptions {
    /// Send requests to this https URL; their path is appended to it
    #[arg(long, value_name = "URL", value_parser = values::https_url, requires = "resource")]
    #[arg(group = "routes")]
    pub(crate) to: Option<Url>,
    /// Resource to request the tokens for, for example https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = values::resource, requires = "to")]
    pub(crate) resource: Option<String>,
    /// Use tokens bound to a key (mTLS proof-of-possession); fails where this is not possible
    #[arg(long, requires = "to")]
    pub(crate) pop: bool,
    /// Managed identity: system, client-id:ID, object-id:ID or resource-id:ID [default: system]
    #[arg(long, value_name = "IDENTITY", value_parser = values::identity, requires = "to")]
    pub(crate) identity: Option<ManagedIdentityId>,
    /// Header for requests that do not have it; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = values::header)]
    #[arg(requires = "to")]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// TOML file with routes and users, read again at SIGHUP
    #[arg(long, value_name = "FILE", group = "routes")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// User who may use the Unix socket as well, by id or name; may be repeated
    #[cfg(unix)]
    #[arg(long = "allow-uid", value_name = "USER", value_parser = values::user, help_heading = CLIENTS)]
    pub(crate) users: Vec<u32>,
    #[command(flatten, next_help_heading = "Key of a managed identity")]
    pub(crate) keys: KeyOptions,
    #[command(flatten, next_help_heading = "Application, in place of a managed identity (with --to)")]
    pub(crate) application: ApplicationOptions,
}
