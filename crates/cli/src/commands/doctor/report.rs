//! The report as data, in the order of its JSON members.

use serde::{Serialize, Serializer};
use symbolon::{Env, HostCapabilities, ImdsVersion, Source, Strength};

use super::advice;
use super::endpoints::EndpointReport;
use super::resource::ResourceReport;

#[derive(Debug, Serialize)]
pub(super) struct DoctorReport {
    pub(super) source: SourceReport,
    pub(super) imds: ImdsReport,
    pub(super) binding: BindingReport,
    pub(super) clock: ClockReport,
    /// `host:port` of the proxy to the token service.
    pub(super) proxy: Option<String>,
    pub(super) endpoints: Vec<EndpointReport>,
    /// The resource that `--resource` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<ResourceReport>,
    pub(super) advice: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceReport {
    #[serde(serialize_with = "optional_name")]
    pub(super) selected: Option<Source>,
    pub(super) reason: String,
    pub(super) skipped: Vec<SkippedReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct SkippedReport {
    #[serde(serialize_with = "name")]
    pub(super) source: Source,
    pub(super) reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ImdsReport {
    pub(super) base: Option<String>,
    pub(super) version: Option<u8>,
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct BindingReport {
    pub(super) strength: Option<&'static str>,
    pub(super) usable: bool,
    pub(super) reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ClockReport {
    pub(super) skew_seconds: Option<i64>,
}

fn name<S: Serializer>(source: &Source, to: S) -> Result<S::Ok, S::Error> {
    source.as_str().serialize(to)
}

fn optional_name<S: Serializer>(source: &Option<Source>, to: S) -> Result<S::Ok, S::Error> {
    source.map(Source::as_str).serialize(to)
}

impl DoctorReport {
    pub(super) fn new(
        found: &HostCapabilities,
        proxy: Option<String>,
        endpoints: Vec<EndpointReport>,
        resource: Option<ResourceReport>,
        env: &Env,
    ) -> Self {
        let detection = &found.detection;
        let probes = found.imds.as_ref();
        let reason = match found.source {
            None => format!("{}, and {}", detection.reason, found.reason),
            Some(_) => detection.reason.to_owned(),
        };
        let skipped = detection.skipped.iter();
        let skipped =
            skipped.map(|skipped| SkippedReport { source: skipped.source, reason: skipped.reason.clone() });
        Self {
            source: SourceReport { selected: found.source, reason, skipped: skipped.collect() },
            imds: ImdsReport {
                base: probes.map(|imds| imds.base.clone()),
                version: probes.and_then(|imds| imds.version).map(ImdsVersion::number),
                reasons: match probes {
                    Some(imds) => imds.reasons.clone(),
                    None => vec![format!("not probed: {}", detection.reason)],
                },
            },
            binding: BindingReport {
                strength: found.strength.map(Strength::as_str),
                usable: found.can_bind(),
                reason: found.reason.clone(),
            },
            clock: ClockReport { skew_seconds: probes.and_then(|imds| imds.skew_seconds) },
            proxy,
            advice: advice::new(found, &endpoints, resource.as_ref(), env),
            endpoints,
            resource,
        }
    }
}
