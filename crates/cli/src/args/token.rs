//! Options of `token`, `app-token` and `call`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use http::{HeaderName, HeaderValue, Method};
use url::Url;

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

/// The credentials that exclude options of the certificate.
const OTHER_CREDENTIALS: [&str; 2] = ["client_secret_env", "assertion_file"];

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("credential"))]
pub(crate) struct AppTokenOptions {
    /// Authority, for example https://login.microsoftonline.com/contoso.example [env:
    /// AZURE_AUTHORITY_HOST and AZURE_TENANT_ID]
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
    /// Client id of the application [env: AZURE_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Scopes, separated by spaces, for example https://vault.azure.net/.default
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: Option<String>,
    /// Authenticate with the client secret in this environment variable [default:
    /// AZURE_CLIENT_SECRET, if it is set and no credential is given]
    #[arg(long, value_name = "VAR", group = "credential")]
    pub(crate) client_secret_env: Option<String>,
    /// Authenticate with the certificate and private key in this file: PEM, PKCS#12 or DER [env:
    /// AZURE_CLIENT_CERTIFICATE_PATH]
    #[arg(long, value_name = "FILE", group = "credential")]
    pub(crate) certificate: Option<PathBuf>,
    /// Decrypt the certificate's file with the password in this environment variable [default:
    /// AZURE_CLIENT_CERTIFICATE_PASSWORD]
    #[arg(long, value_name = "VAR", conflicts_with_all = OTHER_CREDENTIALS)]
    pub(crate) certificate_password_env: Option<String>,
    /// Authenticate with the client assertion in this file, read for every request [env:
    /// AZURE_FEDERATED_TOKEN_FILE]
    #[arg(long, value_name = "FILE", group = "credential")]
    pub(crate) assertion_file: Option<PathBuf>,
    /// Send the certificate chain in the client assertion [env:
    /// AZURE_CLIENT_SEND_CERTIFICATE_CHAIN]
    #[arg(long, conflicts_with_all = OTHER_CREDENTIALS)]
    pub(crate) send_x5c: bool,
    /// Request a bearer token over mTLS, with the certificate in place of a client assertion
    #[arg(long, conflicts_with_all = OTHER_CREDENTIALS, conflicts_with = "pop")]
    pub(crate) over_mtls: bool,
    /// Request a token bound to the certificate (mTLS proof-of-possession)
    #[arg(long)]
    pub(crate) pop: bool,
    #[command(flatten)]
    pub(crate) claims: ClaimsOptions,
    /// Region of Microsoft Entra to send the request to, for example westus2
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Do not validate the host of an unknown authority
    #[arg(long)]
    pub(crate) no_instance_discovery: bool,
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
