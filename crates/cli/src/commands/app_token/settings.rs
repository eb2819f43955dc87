//! The settings of `app-token`: options, and the variables of Azure's SDKs as their defaults.

use std::path::PathBuf;

use symbolon::parts::token::authority::{Authority, authority_host};
use symbolon::{Env, Error, Secret};

use crate::acquire::CLIENT_ID;
use crate::args::token::AppTokenOptions;
use crate::failure;
use crate::output::note;

const TENANT_ID: &str = "AZURE_TENANT_ID";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
const SEND_CERTIFICATE_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The default of `AZURE_AUTHORITY_HOST`.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

pub(super) struct AppSettings {
    pub(super) authority: Authority,
    /// The variable that names the host of the authority.
    pub(super) authority_variable: Option<&'static str>,
    pub(super) client_id: Named<String>,
    pub(super) scope: String,
    pub(super) credential: Credential,
}

pub(super) enum Credential {
    Secret(Named<Secret>),
    Certificate(CertificateFile),
    AssertionFile(Named<PathBuf>),
}

pub(super) struct CertificateFile {
    pub(super) path: Named<PathBuf>,
    pub(super) password: Option<Named<Secret>>,
    pub(super) send_x5c: bool,
}

/// A value with the option or variable that it comes from, for errors.
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) value: T,
}

impl<T> Named<T> {
    fn new(name: &str, value: T) -> Self {
        Self { name: name.to_owned(), value }
    }
}

impl AppSettings {
    pub(super) fn new(options: &AppTokenOptions, is_quiet: bool, env: &Env) -> Result<Self, Error> {
        let option = |name, value: &Option<String>| Some(Named::new(name, value.clone()?));
        let authority = authority(options, env)?;
        let client_id = option("--client-id", &options.client_id);
        let client_id = client_id.or_else(|| Some(Named::new(CLIENT_ID, env.var(CLIENT_ID)?)));
        let credential = credential(options, is_quiet, env)?;
        match (authority, client_id, options.scope.clone(), credential) {
            (Some(authority), Some(client_id), Some(scope), Some(credential)) => {
                let is_of_variable = options.authority.is_none() && env.var(AUTHORITY_HOST).is_some();
                let authority_variable = is_of_variable.then_some(AUTHORITY_HOST);
                Ok(Self { authority, authority_variable, client_id, scope, credential })
            }
            (authority, client_id, scope, credential) => {
                let missing = [
                    (authority.is_none(), "--authority <URL> (or AZURE_TENANT_ID)"),
                    (client_id.is_none(), "--client-id <ID> (or AZURE_CLIENT_ID)"),
                    (scope.is_none(), "--scope <SCOPES>"),
                    (
                        credential.is_none(),
                        "a credential: --client-secret-env <VAR>, --certificate <FILE> or --assertion-file <FILE> \
                         (or AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE)",
                    ),
                ];
                let missing: Vec<_> =
                    missing.into_iter().filter_map(|(is_missing, name)| is_missing.then_some(name)).collect();
                Err(failure::request("invalid_usage", format!("missing: {}", missing.join(", "))))
            }
        }
    }
}

/// Returns the authority of the option, otherwise that of the variables of Azure's SDKs.
fn authority(options: &AppTokenOptions, env: &Env) -> Result<Option<Authority>, Error> {
    if let Some(url) = &options.authority {
        let authority = authority_host(url).and_then(|url| Authority::parse(url.as_str()));
        return authority.map(Some).map_err(|error| error.with_context("--authority"));
    }
    let Some(tenant) = env.var(TENANT_ID) else { return Ok(None) };
    let host = env.var(AUTHORITY_HOST).unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
    Authority::on_host(&host, &tenant).map(Some).map_err(|error| {
        let variable = if error.code() == "invalid_tenant" { TENANT_ID } else { AUTHORITY_HOST };
        error.with_context(variable)
    })
}

/// Returns the credential of the options, otherwise the first of the variables, in the order of
/// Azure's SDKs. An option that needs a certificate skips the client secret.
fn credential(options: &AppTokenOptions, is_quiet: bool, env: &Env) -> Result<Option<Credential>, Error> {
    if let Some(variable) = &options.client_secret_env {
        return secret("--client-secret-env", variable, env).map(Credential::Secret).map(Some);
    }
    if let Some(file) = &options.assertion_file {
        return Ok(Some(Credential::AssertionFile(Named::new("--assertion-file", file.clone()))));
    }
    if let Some(path) = &options.certificate {
        let path = Named::new("--certificate", path.clone());
        return certificate(path, options, env).map(Some);
    }
    let certificate_option = [
        (options.send_x5c, "--send-x5c"),
        (options.over_mtls, "--over-mtls"),
        (options.certificate_password_env.is_some(), "--certificate-password-env"),
    ];
    let certificate_option = certificate_option.into_iter().find(|(is_set, _)| *is_set).map(|(_, name)| name);
    let path = env.var(CERTIFICATE_PATH).map(PathBuf::from);
    match (env.var(CLIENT_SECRET), path, certificate_option) {
        (_, None, Some(option)) => {
            let error = format!("{option} needs a certificate; add --certificate, or set {CERTIFICATE_PATH}");
            Err(failure::request("invalid_usage", error))
        }
        (Some(secret), path, None) if !(options.pop && path.is_some()) => {
            if path.is_some() {
                note(is_quiet, format_args!("{CERTIFICATE_PATH} is not used: {CLIENT_SECRET} comes first"));
            }
            Ok(Some(Credential::Secret(Named::new(CLIENT_SECRET, Secret::new(secret)))))
        }
        (_, Some(path), _) => certificate(Named::new(CERTIFICATE_PATH, path), options, env).map(Some),
        _ => Ok(env
            .var(FEDERATED_TOKEN_FILE)
            .map(|file| Credential::AssertionFile(Named::new(FEDERATED_TOKEN_FILE, file.into())))),
    }
}

fn certificate(path: Named<PathBuf>, options: &AppTokenOptions, env: &Env) -> Result<Credential, Error> {
    let password = match &options.certificate_password_env {
        Some(variable) => {
            let name = "--certificate-password-env";
            Some(secret(name, variable, env)?)
        }
        None => env
            .var(CERTIFICATE_PASSWORD)
            .map(|password| Named::new(CERTIFICATE_PASSWORD, Secret::new(password))),
    };
    let sends_chain = env.var(SEND_CERTIFICATE_CHAIN);
    let sends_chain = sends_chain.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    Ok(Credential::Certificate(CertificateFile { path, password, send_x5c: options.send_x5c || sends_chain }))
}

/// Returns the secret in a variable. The error does not show the name, in place of which a secret
/// may have been pasted.
fn secret(option: &str, variable: &str, env: &Env) -> Result<Named<Secret>, Error> {
    let value = env.var(variable).map(Secret::new);
    value.map(|value| Named::new(variable, value)).ok_or_else(|| {
        let error = format!(
            "the environment variable that {option} names is not set or is empty; the option takes the name of a \
             variable, not the secret"
        );
        failure::request("invalid_usage", error)
    })
}
