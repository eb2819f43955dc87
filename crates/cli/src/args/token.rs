//! Options of `token`, `app-token` and `call`.

use clap::{Args, ValueEnum, value_parser};
use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::application::{ApplicationOptions, OTHER_CREDENTIALS};
use super::request::{AcquireOptions, ClaimsOptions};
use super::values;

#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    #[command(flatten)]
    pub(crate) acquire: AcquireOptions,
    /// Do not read the token cache, which lives as long as the command
    #[arg(long)]
    pub(crate) force_refresh: bool,
    /// Request the token this many times in one process, one result per line
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
    /// Send this many of the requests at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,
}

#[derive(Debug, Args)]
pub(crate) struct AppTokenOptions {
    /// Scopes, separated by spaces, for example https://vault.azure.net/.default
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: Option<String>,
    /// Request a token bound to the certificate (mTLS proof-of-possession)
    #[arg(long)]
    pub(crate) pop: bool,
    /// Request a bearer token over mTLS, with the certificate in place of a client assertion
    #[arg(long, conflicts_with_all = OTHER_CREDENTIALS, conflicts_with = "pop")]
    pub(crate) over_mtls: bool,
    #[command(flatten)]
    pub(crate) application: ApplicationOptions,
    #[command(flatten)]
    pub(crate) claims: ClaimsOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    /// URL to call; https only
    #[arg(value_parser = values::url)]
    pub(crate) url: Url,
    #[command(flatten)]
    pub(crate) acquire: AcquireOptions,
    /// HTTP method; default: GET, or POST with a body
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) method: Option<Method>,
    /// Request header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = values::header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Request body
    #[arg(short = 'd', long, value_name = "BODY")]
    pub(crate) data: Option<String>,
    /// TLS library for the call. OpenSSL presents a certificate that the resource requests after
    /// the request, as Key Vault does
    #[arg(long, value_enum, value_name = "LIBRARY", default_value_t = TlsLibrary::Rustls)]
    pub(crate) tls: TlsLibrary,
    /// Print the response's status line and headers before its body
    #[arg(long)]
    pub(crate) include: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsLibrary {
    Rustls,
    Openssl,
}
