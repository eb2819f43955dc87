//! Options of `proxy`.

use std::path::PathBuf;

use clap::Args;
use http::{HeaderName, HeaderValue};
use symbolon::ManagedIdentityId;
use url::Url;

use super::agent::VariablesOptions;
use super::key::KeyOptions;
use super::server::ServerOptions;
use super::values;

#[derive(Debug, Args)]
pub(crate) struct ProxyOptions {
    /// Send requests to this https URL; their path is appended to it
    #[arg(long, value_name = "URL", value_parser = values::https_url, requires = "resource")]
    #[arg(required_unless_present = "config")]
    pub(crate) to: Option<Url>,
    /// Resource to request the tokens for, for example https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = values::resource, requires = "to")]
    pub(crate) resource: Option<String>,
    /// Use tokens bound to a key (mTLS proof-of-possession); fails where this is not possible
    #[arg(long, requires = "to")]
    pub(crate) pop: bool,
    /// Header for requests that do not have it; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = values::header)]
    #[arg(requires = "to")]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Managed identity: system, client-id:ID, object-id:ID or resource-id:ID [default: system]
    #[arg(long, value_name = "IDENTITY", value_parser = values::identity, requires = "to")]
    pub(crate) identity: Option<ManagedIdentityId>,
    /// TOML file with routes and users, read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// User who may use the Unix socket as well, by id; may be repeated
    #[cfg(unix)]
    #[arg(long = "allow-uid", value_name = "UID")]
    pub(crate) users: Vec<u32>,
    #[command(flatten)]
    pub(crate) variables: VariablesOptions,
    #[command(flatten)]
    pub(crate) keys: KeyOptions,
}
