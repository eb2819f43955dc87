//! `symbolon doctor`: what this machine can do, and why not.
//!
//! It looks at the environment and asks with probes; nothing is issued and no key is made.

mod advice;
mod endpoints;
mod page;

use std::process::ExitCode;

use serde::{Serialize, Serializer};
use symbolon::{Context, Env, Error, HostCapabilities, ManagedIdentity, Source};

use crate::args::Global;
use crate::output::{Format, line};
use crate::{acquire, failure};

use self::endpoints::Endpoint;

/// The report, in the order of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    source: Selection,
    imds: Imds,
    binding: Binding,
    clock: Clock,
    /// `host:port` of the proxy to the token service.
    proxy: Option<String>,
    endpoints: Vec<Endpoint>,
    advice: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Selection {
    #[serde(serialize_with = "names")]
    selected: Option<Source>,
    reason: String,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    #[serde(serialize_with = "name")]
    source: Source,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Imds {
    base: Option<String>,
    version: Option<u8>,
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Binding {
    strength: Option<&'static str>,
    usable: bool,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Clock {
    skew_seconds: Option<i64>,
}

fn name<S: Serializer>(source: &Source, to: S) -> Result<S::Ok, S::Error> {
    source.as_str().serialize(to)
}

fn names<S: Serializer>(source: &Option<Source>, to: S) -> Result<S::Ok, S::Error> {
    source.map(Source::as_str).serialize(to)
}

pub(crate) async fn run(global: &Global, env: &Env) -> Result<ExitCode, Error> {
    let transport = acquire::transport(global.ca_file.as_deref(), env)?;
    let context = Context::default().with_env(env.clone());
    let identity = ManagedIdentity::builder().context(context).transport(transport.clone()).build()?;
    let token_services = endpoints::token_services(env)?;
    let (found, mut reached) =
        futures_util::future::join(identity.capabilities(), endpoints::reach(&transport, &token_services))
            .await;
    let proxy = token_services.first().and_then(|url| transport.proxy_for(url));
    let own = match &found.imds {
        Some(imds) => Some(Endpoint::of_metadata_service(imds)),
        None => endpoints::of_source(found.detection.source, env).await,
    };
    reached.splice(0..0, own);
    let report = Report::new(&found, proxy, reached);
    match global.output {
        Format::Json => anstream::println!("{}", line(&report)),
        Format::Text => anstream::println!("{}", page::of(&report)),
        Format::Header => return Err(failure::request("invalid_usage", "a report is no header")),
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn new(found: &HostCapabilities, proxy: Option<String>, endpoints: Vec<Endpoint>) -> Self {
        let detection = &found.detection;
        let probes = found.imds.as_ref();
        let skew_seconds = probes.and_then(|imds| imds.skew_seconds);
        let reason = match found.source {
            None => format!("{}, and {}", detection.reason, found.reason),
            Some(_) => detection.reason.to_owned(),
        };
        let skipped = detection.skipped.iter();
        Self {
            source: Selection {
                selected: found.source,
                reason,
                skipped: skipped
                    .map(|one| Skipped { source: one.source, reason: one.reason.clone() })
                    .collect(),
            },
            imds: Imds {
                base: probes.map(|imds| imds.base.clone()),
                version: probes.and_then(|imds| imds.version).map(symbolon::ImdsVersion::number),
                reasons: match probes {
                    Some(imds) => imds.reasons.clone(),
                    None => vec![format!("not asked: {}", detection.reason)],
                },
            },
            binding: Binding {
                strength: found.strength.map(symbolon::Strength::as_str),
                usable: found.can_bind(),
                reason: found.reason.clone(),
            },
            clock: Clock { skew_seconds },
            proxy,
            advice: advice::on(found, &endpoints),
            endpoints,
        }
    }
}
