//! Clients of applications with a credential of their own.

mod settings;

use std::future::ready;
use std::io;
use std::path::Path;

use symbolon::parts::hyper::{ClientIdentityLoader, LoadError};
use symbolon::parts::token::authority::{Region, RegionChoice};
use symbolon::parts::token::{
    Application, ClientAssertion, ClientCertificate, ClientSecret, SignedAssertion, TokenClient,
    TokenClientBuilder, WorkloadIdentity, assertion_fn,
};
use symbolon::parts::types::IdentityCell;
use symbolon::{Context, Env, Error, Secret};

use self::settings::{AppSettings, CertificateFile, Credential, Named};
pub(crate) use self::settings::{ApplicationUse, SettingNames};
use crate::args::application::ApplicationOptions;
use crate::{acquire, failure, input_file};

/// A token client of an application, before it is built.
pub(crate) struct ApplicationClient {
    pub(crate) builder: TokenClientBuilder,
    pub(crate) client_id: String,
    /// The variable that names the host of the authority.
    pub(crate) authority_variable: Option<&'static str>,
}

/// Returns the client of an application with its credential.
pub(crate) fn client(
    options: &ApplicationOptions,
    usage: &ApplicationUse,
    ca_file: Option<&Path>,
    env: &Env,
    context: &Context,
) -> Result<ApplicationClient, Error> {
    let settings = AppSettings::new(options, usage, env)?;
    if usage.pop && !matches!(settings.credential, Credential::Certificate(_)) {
        let message = "a bound token needs the certificate of the application; it has another credential";
        let advice = format!("add {}, or request a bearer token", usage.names.name("--certificate"));
        return Err(failure::request("mtls_certificate_not_provided", message).with_advice(advice));
    }
    let application = application(&settings, options)?;
    let transport = acquire::transport_builder(ca_file, env)?.context(context.clone());
    let transport = acquire::built(transport, ca_file)?;
    let builder = match &settings.credential {
        Credential::Secret(Named { name, value: secret }) => {
            let credential = ClientSecret::new(application, secret.clone());
            TokenClient::builder(credential.map_err(|error| error.with_context(name))?, transport)
        }
        Credential::Certificate(file) => {
            let certificate = certificate(file, usage, context)?;
            let mut credential = ClientCertificate::rotating(application, certificate)?;
            if file.send_x5c {
                credential = credential.send_x5c();
            }
            if usage.over_mtls {
                credential = credential.over_mtls();
            }
            TokenClient::builder(credential, transport)
        }
        Credential::AssertionFile(Named { value: file, .. }) if file.is_file() => {
            TokenClient::builder(ClientAssertion::new(application, WorkloadIdentity::new(file)), transport)
        }
        Credential::AssertionFile(Named { name, value: file }) => {
            let assertion = assertion_once(file).map_err(|error| unreadable(name, file, &error))?;
            let source = assertion_fn(move |_request| ready(Ok(SignedAssertion::new(assertion.clone()))));
            TokenClient::builder(ClientAssertion::new(application, source), transport)
        }
    };
    Ok(ApplicationClient {
        builder: builder.context(context.clone()),
        client_id: settings.client_id.value,
        authority_variable: settings.authority_variable,
    })
}

fn application(settings: &AppSettings, options: &ApplicationOptions) -> Result<Application, Error> {
    let region = match &options.region {
        Some(name) => RegionChoice::Fixed(Region::parse(name)?),
        None => RegionChoice::Unset,
    };
    let Named { name, value: client_id } = &settings.client_id;
    Ok(Application::new(settings.authority.clone(), client_id)
        .map_err(|error| error.with_context(name))?
        .region(region)
        .instance_discovery(!options.no_instance_discovery))
}

/// Reads an assertion from a pipe, whose content can be read only once.
fn assertion_once(file: &Path) -> io::Result<Secret> {
    let content = input_file::read(file)?;
    let text =
        str::from_utf8(&content).map_err(|_| io::Error::other("the assertion is not text in UTF-8"))?;
    Ok(Secret::new(text.trim()))
}

/// Returns the certificate in a file, which is read again if it is a regular file: another program
/// may replace it.
fn certificate(
    file: &CertificateFile,
    usage: &ApplicationUse,
    context: &Context,
) -> Result<IdentityCell, Error> {
    let CertificateFile { path: Named { name, value: path }, password, .. } = file;
    let mut loader = ClientIdentityLoader::new();
    if let Some(password) = password {
        loader = loader.passphrase(password.value.clone());
    }
    let loaded = match path.is_file() {
        true => loader.follow_files([path], context),
        false => {
            let content = input_file::read(path).map_err(|error| unreadable(name, path, &error))?;
            loader.load(&content).map(IdentityCell::new)
        }
    };
    loaded.map_err(|error| match (&error, password) {
        (LoadError::Unreadable { source, .. }, _) => unreadable(name, path, source),
        (LoadError::PassphraseRequired, _) | (LoadError::WrongPassphrase, None) => {
            let what = "the private key is encrypted; name the variable with its password by";
            let option = usage.names.name("--certificate-password-env");
            unreadable(name, path, &format_args!("{what} {option}"))
        }
        (LoadError::WrongPassphrase, Some(password)) => {
            unreadable(name, path, &format_args!("the password of {} is wrong", password.name))
        }
        _ => unreadable(name, path, &error),
    })
}

fn unreadable(option: &str, file: &Path, error: &dyn std::fmt::Display) -> Error {
    failure::request("invalid_usage", format!("{option} {}: {error}", file.display()))
}
