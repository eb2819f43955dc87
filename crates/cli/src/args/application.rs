//! Options of an application and its credential.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde::Deserialize;

/// The credentials that exclude options of the certificate.
pub(crate) const OTHER_CREDENTIALS: [&str; 2] = ["client_secret_env", "assertion_file"];

/// An application and its credential: of options, or of a table in a file with the same names.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[command(group = ArgGroup::new("credential"))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApplicationOptions {
    /// Authority, for example https://login.microsoftonline.com/contoso.example [env:
    /// AZURE_AUTHORITY_HOST and AZURE_TENANT_ID]
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
    /// Client id of the application [env: AZURE_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Authenticate with the certificate and private key in this file: PEM, PKCS#12 or DER [env:
    /// AZURE_CLIENT_CERTIFICATE_PATH]
    #[arg(long, value_name = "FILE", group = "credential")]
    pub(crate) certificate: Option<PathBuf>,
    /// Decrypt the certificate's file with the password in this environment variable [default:
    /// AZURE_CLIENT_CERTIFICATE_PASSWORD]
    #[arg(long, value_name = "VAR", conflicts_with_all = OTHER_CREDENTIALS)]
    pub(crate) certificate_password_env: Option<String>,
    /// Send the certificate chain in the client assertion [env:
    /// AZURE_CLIENT_SEND_CERTIFICATE_CHAIN]
    #[arg(long, conflicts_with_all = OTHER_CREDENTIALS)]
    pub(crate) send_x5c: bool,
    /// Authenticate with the client assertion in this file, read for every request [env:
    /// AZURE_FEDERATED_TOKEN_FILE]
    #[arg(long, value_name = "FILE", group = "credential")]
    pub(crate) assertion_file: Option<PathBuf>,
    /// Authenticate with the client secret in this environment variable [default:
    /// AZURE_CLIENT_SECRET, if it is set and no credential is given]
    #[arg(long, value_name = "VAR", group = "credential")]
    pub(crate) client_secret_env: Option<String>,
    /// Region of Microsoft Entra to send the request to, for example westus2
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Do not validate the host of an unknown authority
    #[arg(long)]
    pub(crate) no_instance_discovery: bool,
}

impl ApplicationOptions {
    /// Returns true if an option is set.
    pub(crate) fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Refuses two credentials, and options of a certificate beside another credential. clap does
    /// this for options.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let others = [self.client_secret_env.is_some(), self.assertion_file.is_some()];
        let others = others.into_iter().filter(|is_set| *is_set).count();
        if others + usize::from(self.certificate.is_some()) > 1 {
            return Err("an application has one of certificate, assertion_file and client_secret_env");
        }
        match others > 0 && (self.send_x5c || self.certificate_password_env.is_some()) {
            true => Err("send_x5c and certificate_password_env are for a certificate"),
            false => Ok(()),
        }
    }
}
