//! `symbolon app-token`.

use std::path::Path;
use std::process::ExitCode;

use symbolon::parts::hyper::client_identity_from_pem;
use symbolon::parts::token::authority::{Authority, Region, RegionChoice, authority_host};
use symbolon::parts::token::{
    Application, ClientAssertion, ClientCertificate, ClientSecret, TokenClient, TokenClientBuilder,
    WorkloadIdentity,
};
use symbolon::{ClientIdentity, Env, Error, Secret};

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
    let client = client(options, global, env)?
        .capabilities(options.claims.capabilities.iter().cloned())
        .context(acquire::context(env)?)
        .build();
    let mut request = client.token(&options.scope).options(options.claims.options());
    if options.pop {
        request = request.proof_of_possession();
    }
    print_line(output::token(&request.await?, global.output))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the client with its credential, of which clap ensures exactly one.
fn client(options: &AppTokenOptions, global: &GlobalOptions, env: &Env) -> Result<TokenClientBuilder, Error> {
    let application = application(options)?;
    let transport = acquire::transport(global.ca_file.as_deref(), env)?;
    if let Some(file) = &options.assertion_file {
        std::fs::metadata(file).map_err(|error| unreadable("--assertion-file", file, &error))?;
        let credential = ClientAssertion::new(application, WorkloadIdentity::new(file));
        return Ok(TokenClient::builder(credential, transport));
    }
    if let Some(file) = &options.certificate {
        let mut credential = ClientCertificate::new(application, certificate(file)?)?;
        if options.send_x5c {
            credential = credential.send_x5c();
        }
        if options.over_mtls {
            credential = credential.over_mtls();
        }
        return Ok(TokenClient::builder(credential, transport));
    }
    let variable = options.client_secret_env.as_deref().unwrap_or_default();
    let secret = env.var(variable).map(Secret::new);
    let secret = secret.ok_or_else(|| {
        failure::request(
            "invalid_usage",
            format!("the environment variable {variable} is not set or is empty"),
        )
    })?;
    let credential = ClientSecret::new(application, secret).map_err(|error| error.with_context(variable))?;
    Ok(TokenClient::builder(credential, transport))
}

fn application(options: &AppTokenOptions) -> Result<Application, Error> {
    let region = match &options.region {
        Some(name) => RegionChoice::Fixed(Region::parse(name)?),
        None => RegionChoice::Unset,
    };
    let named = |option: &'static str| move |error: Error| error.with_context(option);
    let url = authority_host(&options.authority).map_err(named("--authority"))?;
    let authority = Authority::parse(url.as_str()).map_err(named("--authority"))?;
    Ok(Application::new(authority, &options.client_id)
        .map_err(named("--client-id"))?
        .region(region)
        .instance_discovery(!options.no_instance_discovery))
}

fn certificate(file: &Path) -> Result<ClientIdentity, Error> {
    let pem = std::fs::read(file).map_err(|error| unreadable("--certificate", file, &error))?;
    client_identity_from_pem(&pem).map_err(|error| unreadable("--certificate", file, &error))
}

fn unreadable(option: &str, file: &Path, error: &dyn std::fmt::Display) -> Error {
    failure::request("invalid_usage", format!("{option} {}: {error}", file.display()))
}
