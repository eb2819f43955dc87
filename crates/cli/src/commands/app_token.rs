//! `symbolon app-token`.

mod settings;

use std::path::Path;
use std::process::ExitCode;

use symbolon::parts::hyper::{ClientIdentityLoader, LoadError};
use symbolon::parts::token::authority::{Region, RegionChoice};
use symbolon::parts::token::{
    Application, ClientAssertion, ClientCertificate, ClientSecret, TokenClient, TokenClientBuilder,
    WorkloadIdentity,
};
use symbolon::{ClientIdentity, Env, Error, ErrorKind};

use self::settings::{AppSettings, CertificateFile, Credential, Named};
use crate::args::GlobalOptions;
use crate::args::token::AppTokenOptions;
use crate::stdout::print_line;
use crate::{acquire, failure, output};

pub(super) async fn run(
    options: &AppTokenOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    options.claims.validate()?;
    let settings = AppSettings::new(options, global.quiet, env)?;
    let client = client(&settings, options, global, env)?
        .capabilities(options.claims.capabilities.iter().cloned())
        .context(acquire::context(env)?)
        .build();
    let mut request = client.token(&settings.scope).options(options.claims.options());
    if options.pop {
        request = request.proof_of_possession();
    }
    let token = request.await.map_err(|error| match settings.authority_variable {
        Some(variable) if error.kind() == ErrorKind::Network => error.with_context(variable),
        _ => error,
    })?;
    print_line(output::token(&token, global.output))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the client with its credential.
fn client(
    settings: &AppSettings,
    options: &AppTokenOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<TokenClientBuilder, Error> {
    let application = application(settings, options)?;
    let transport = acquire::transport(global.ca_file.as_deref(), env)?;
    Ok(match &settings.credential {
        Credential::Secret(Named { name, value: secret }) => {
            let credential = ClientSecret::new(application, secret.clone());
            TokenClient::builder(credential.map_err(|error| error.with_context(name))?, transport)
        }
        Credential::Certificate(file) => {
            let mut credential = ClientCertificate::new(application, certificate(file)?)?;
            if file.send_x5c {
                credential = credential.send_x5c();
            }
            if options.over_mtls {
                credential = credential.over_mtls();
            }
            TokenClient::builder(credential, transport)
        }
        Credential::AssertionFile(Named { name, value: file }) => {
            std::fs::metadata(file).map_err(|error| unreadable(name, file, &error))?;
            TokenClient::builder(ClientAssertion::new(application, WorkloadIdentity::new(file)), transport)
        }
    })
}

fn application(settings: &AppSettings, options: &AppTokenOptions) -> Result<Application, Error> {
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

fn certificate(file: &CertificateFile) -> Result<ClientIdentity, Error> {
    let CertificateFile { path: Named { name, value: path }, password, .. } = file;
    // Overwritten when it is dropped: it contains the private key.
    let content = crate::input_file::read(path).map_err(|error| unreadable(name, path, &error))?;
    let mut loader = ClientIdentityLoader::new();
    if let Some(password) = password {
        loader = loader.passphrase(password.value.clone());
    }
    loader.load(&content).map_err(|error| match (&error, password) {
        (LoadError::PassphraseRequired, _) | (LoadError::WrongPassphrase, None) => unreadable(
            name,
            path,
            &"the private key is encrypted; name the variable with its password by --certificate-password-env",
        ),
        (LoadError::WrongPassphrase, Some(password)) => {
            unreadable(name, path, &format_args!("the password of {} is wrong", password.name))
        }
        _ => unreadable(name, path, &error),
    })
}

fn unreadable(option: &str, file: &Path, error: &dyn std::fmt::Display) -> Error {
    failure::request("invalid_usage", format!("{option} {}: {error}", file.display()))
}
