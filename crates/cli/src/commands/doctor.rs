//! `symbolon doctor`.
//!
//! The report uses the environment and probes only: no token or certificate is requested, and no
//! key is created.

mod advice;
mod endpoints;
mod report;
mod resource;
mod text;

use std::process::ExitCode;

use symbolon::{Context, Env, Error, ManagedIdentity};

use crate::args::GlobalOptions;
use crate::args::tools::DoctorOptions;
use crate::output::{OutputFormat, line};
use crate::stdout::print_line;
use crate::{acquire, failure};

use self::endpoints::EndpointReport;
use self::report::DoctorReport;
use self::resource::ResourceReport;

pub(super) async fn run(
    options: &DoctorOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    let transport = acquire::transport(global.ca_file.as_deref(), env)?;
    let context = Context::default().with_env(env.clone());
    let identity = ManagedIdentity::builder().context(context).transport(transport.clone()).build()?;
    let token_services = endpoints::token_services(env)?;
    let found = identity.capabilities().await;
    let is_local = endpoints::is_local(&found);
    let probed = token_services.iter().filter(|service| !(is_local && service.is_azure));
    let mut reached = endpoints::reach(&transport, probed).await;
    let proxy = token_services.first().and_then(|service| transport.proxy_for(&service.url));
    let own = match &found.imds {
        Some(imds) => Some(EndpointReport::of_metadata_service(imds)),
        None => endpoints::of_source(&found.detection, env).await,
    };
    reached.splice(0..0, own);
    let resource = match &options.resource {
        Some(url) => Some(ResourceReport::of(&transport, url).await),
        None => None,
    };
    let mut report = DoctorReport::new(&found, proxy, reached, resource, env);
    report.advice.extend(transport.proxy_warnings().iter().map(|warning| format!("{warning}.")));
    match global.output {
        OutputFormat::Json => print_line(line(&report))?,
        _ => print_line(text::format(&report))?,
    }
    let is_satisfied = match (options.check, options.pop) {
        (false, _) => true,
        (true, false) => found.source.is_some(),
        (true, true) => found.can_bind(),
    };
    Ok(if is_satisfied { ExitCode::SUCCESS } else { ExitCode::from(failure::ENVIRONMENT) })
}
