//! The settings of an application, with the variables of Azure's SDKs as their defaults.

use std::path::PathBuf;

use symbolon::parts::token::authority::{Authority, authority_host};
use symbolon::{Env, Error, Secret};

use crate::acquire::CLIENT_ID;
use crate::args::application::ApplicationOptions;
use crate::failure;
use crate::server_log::ServerLog;

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

/// The purpose of an application's tokens, and the names of its settings in errors.
pub(crate) struct ApplicationUse {
    pub(crate) pop: bool,
    pub(crate) over_mtls: bool,
    pub(crate) names: SettingNames,
    /// An option of the command that is missing as well.
    pub(crate) also_missing: Option<&'static str>,
    /// The log for notes.
    pub(crate) log: ServerLog,
}

/// The form of the names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingNames {
    /// Options of the command line.
    Options,
    /// Keys of a file.
    Keys,
}

impl SettingNames {
    /// Returns the name of an option in this form.
    pub(super) fn name(self, option: &str) -> String {
        match self {
            Self::Options => option.to_owned(),
            Self::Keys => option.trim_start_matches('-').replace('-', "_"),
        }
    }
}

impl AppSettings {
    pub(super) fn new(
        options: &ApplicationOptions,
        usage: &ApplicationUse,
        env: &Env,
    ) -> Result<Self, Error> {
        let name = |option| usage.names.name(option);
        let authority = authority(options, usage, env)?;
        let client_id = options.client_id.clone().map(|value| Named { name: name("--client-id"), value });
        let client_id = client_id.or_else(|| Some(Named::new(CLIENT_ID, env.var(CLIENT_ID)?)));
        let credential = credential(options, usage, env)?;
        match (authority, client_id, usage.also_missing, credential) {
            (Some(authority), Some(client_id), None, Some(credential)) => {
                let is_of_variable = options.authority.is_none() && env.var(AUTHORITY_HOST).is_some();
                let authority_variable = is_of_variable.then_some(AUTHORITY_HOST);
                Ok(Self { authority, authority_variable, client_id, credential })
            }
            (authority, client_id, also_missing, credential) => {
                let [url, id, secret, certificate, assertion] = [
                    ("--authority", "URL"),
                    ("--client-id", "ID"),
                    ("--client-secret-env", "VAR"),
                    ("--certificate", "FILE"),
                    ("--assertion-file", "FILE"),
                ]
                .map(|(option, value)| match usage.names {
                    SettingNames::Options => format!("{option} <{value}>"),
                    SettingNames::Keys => name(option),
                });
                let missing = [
                    authority.is_none().then(|| format!("{url} (or {TENANT_ID})")),
                    client_id.is_none().then(|| format!("{id} (or {CLIENT_ID})")),
                    also_missing.map(str::to_owned),
                    credential.is_none().then(|| {
                        format!(
                            "a credential: {secret}, {certificate} or {assertion} (or {CLIENT_SECRET}, \
                             {CERTIFICATE_PATH} or {FEDERATED_TOKEN_FILE})"
                        )
                    }),
                ];
                let missing: Vec<_> = missing.into_iter().flatten().collect();
                Err(failure::request("invalid_usage", format!("missing: {}", missing.join(", "))))
            }
        }
    }
}

/// Returns the authority of the option, otherwise that of the variables of Azure's SDKs.
fn authority(
    options: &ApplicationOptions,
    usage: &ApplicationUse,
    env: &Env,
) -> Result<Option<Authority>, Error> {
    if let Some(url) = &options.authority {
        let authority = authority_host(url).and_then(|url| Authority::parse(url.as_str()));
        return authority.map(Some).map_err(|error| error.with_context(usage.names.name("--authority")));
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
fn credential(
    options: &ApplicationOptions,
    usage: &ApplicationUse,
    env: &Env,
) -> Result<Option<Credential>, Error> {
    let name = |option| usage.names.name(option);
    if let Some(variable) = &options.client_secret_env {
        return secret(&name("--client-secret-env"), variable, env).map(Credential::Secret).map(Some);
    }
    if let Some(file) = &options.assertion_file {
        let file = Named { name: name("--assertion-file"), value: file.clone() };
        return Ok(Some(Credential::AssertionFile(file)));
    }
    if let Some(path) = &options.certificate {
        let path = Named { name: name("--certificate"), value: path.clone() };
        return certificate(path, options, usage, env).map(Some);
    }
    let certificate_option = [
        (options.send_x5c, "--send-x5c"),
        (usage.over_mtls, "--over-mtls"),
        (options.certificate_password_env.is_some(), "--certificate-password-env"),
    ];
    let certificate_option = certificate_option.into_iter().find(|(is_set, _)| *is_set).map(|(_, name)| name);
    let path = env.var(CERTIFICATE_PATH).map(PathBuf::from);
    match (env.var(CLIENT_SECRET), path, certificate_option) {
        (_, None, Some(option)) => {
            let (option, certificate) = (name(option), name("--certificate"));
            let error = format!("{option} needs a certificate; add {certificate}, or set {CERTIFICATE_PATH}");
            Err(failure::request("invalid_usage", error))
        }
        (Some(secret), path, None) if !(usage.pop && path.is_some()) => {
            if path.is_some() {
                let text = format!("{CERTIFICATE_PATH} is not used: {CLIENT_SECRET} comes first");
                usage.log.note("certificate_ignored", &text);
            }
            Ok(Some(Credential::Secret(Named::new(CLIENT_SECRET, Secret::new(secret)))))
        }
        (_, Some(path), _) => certificate(Named::new(CERTIFICATE_PATH, path), options, usage, env).map(Some),
        _ => Ok(env
            .var(FEDERATED_TOKEN_FILE)
            .map(|file| Credential::AssertionFile(Named::new(FEDERATED_TOKEN_FILE, file.into())))),
    }
}

fn certificate(
    path: Named<PathBuf>,
    options: &ApplicationOptions,
    usage: &ApplicationUse,
    env: &Env,
) -> Result<Credential, Error> {
    let password = match &options.certificate_password_env {
        Some(variable) => Some(secret(&usage.names.name("--certificate-password-env"), variable, env)?),
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
