//! `symbolon app-token`.

use std::process::ExitCode;

use symbolon::{Env, Error, ErrorKind};

use crate::application::{self, ApplicationUse, SettingNames};
use crate::args::GlobalOptions;
use crate::args::token::AppTokenOptions;
use crate::server_log::ServerLog;
use crate::stdout::print_line;
use crate::{acquire, output};

pub(super) async fn run(
    options: &AppTokenOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    options.claims.validate()?;
    let usage = ApplicationUse {
        pop: options.pop,
        over_mtls: options.over_mtls,
        names: SettingNames::Options,
        also_missing: options.scope.is_none().then_some("--scope <SCOPES>"),
        log: ServerLog::text(global.quiet),
    };
    let context = acquire::context(env)?;
    let application =
        application::client(&options.application, &usage, global.ca_file.as_deref(), env, &context)?;
    let client = application.builder.capabilities(options.claims.capabilities.iter().cloned()).build();
    let scope = options.scope.as_deref().unwrap_or_default();
    let mut request = client.token(scope).options(options.claims.options());
    if options.pop {
        request = request.proof_of_possession();
    }
    let token = request.await.map_err(|error| match application.authority_variable {
        Some(variable) if error.kind() == ErrorKind::Network => error.with_context(variable),
        _ => error,
    })?;
    print_line(output::token(&token, global.output))?;
    Ok(ExitCode::SUCCESS)
}
