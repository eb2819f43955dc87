//! The capabilities of this host.

use std::time::{Duration, SystemTime};

use symbolon_binding::imds::{ImdsClient, ImdsEndpoint, ProbeResult, ProbeStatus};
use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_types::{Env, SharedClock, Source, Strength};

use crate::detection::Detection;

/// Disables version 2 of the metadata service: `true` in any case, or `1`.
/// (docs/protocol/imdsv2.md#guards)
const KILL_SWITCH: &str = "MSAL_MI_DISABLE_IMDS_V2";
/// Lifetime of a positive result.
const POSITIVE_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Lifetime of a negative result; short, because the service may only be restarting.
const NEGATIVE_LIFETIME: Duration = Duration::from_secs(2 * 60);

/// The capabilities of this host, determined without a request for a token, a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCapabilities {
    /// The source of tokens, or `None` if no variable names one and no metadata service responds.
    pub source: Option<Source>,
    /// The reasons for the source and against the others.
    pub detection: Detection,
    /// The metadata service, if it was probed; `None` if the environment names another source.
    pub imds: Option<ImdsProbes>,
    /// The strength of the key that tokens can be bound to now, or `None` if they cannot be bound.
    /// With a custom key provider it is known once there is a key.
    pub strength: Option<Strength>,
    /// The minimum key strength that the host guarantees, independent of this client, or `None` if
    /// it is unknown or tokens cannot be bound. Keys in a TPM or a security module do not count.
    pub host_strength: Option<Strength>,
    /// The reason that tokens can, or cannot, be bound.
    pub reason: String,
}

impl HostCapabilities {
    /// Returns true if tokens can be bound to a key on this host.
    #[must_use]
    pub fn can_bind(&self) -> bool {
        self.imds.as_ref().is_some_and(|imds| imds.version == Some(ImdsVersion::V2))
    }
}

/// The results of probing the metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImdsProbes {
    /// Its origin.
    pub base: String,
    /// The highest version that responds.
    pub version: Option<ImdsVersion>,
    /// The result of each probe, in order.
    pub reasons: Vec<String>,
    /// The number of seconds by which this machine's clock is ahead of the service's (positive) or
    /// behind it, or `None` if the service sent no time.
    pub skew_seconds: Option<i64>,
    /// The time until the first response, if there was one.
    pub took: Option<Duration>,
}

/// A version of the instance metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImdsVersion {
    /// Issues bearer tokens.
    V1,
    /// Also issues certificates that tokens are bound to.
    V2,
}

impl ImdsVersion {
    /// Returns 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Returns true if the environment disables version 2 of the metadata service.
pub(crate) fn is_imds_v2_disabled(env: &Env) -> bool {
    env.var(KILL_SWITCH).is_some_and(|value| {
        let value = value.trim();
        value == "1" || value.eq_ignore_ascii_case("true")
    })
}

/// Determines the capabilities of the host and caches them.
#[derive(Debug)]
pub(crate) struct HostProber {
    imds: ImdsClient,
    is_v2_disabled: bool,
    cache: LeaseCache<(), HostCapabilities>,
}

impl HostProber {
    pub(crate) fn new(imds: ImdsClient, is_v2_disabled: bool) -> Self {
        let cache = LeaseCache::new(1, imds.clock().clone());
        Self { imds, is_v2_disabled, cache }
    }

    /// Returns the cached result, or probes. `strength` is that of the current or the next key.
    pub(crate) async fn capabilities(
        &self,
        detection: &Detection,
        strength: Option<Strength>,
    ) -> HostCapabilities {
        let (imds, is_v2_disabled, detected) = (self.imds.clone(), self.is_v2_disabled, detection.clone());
        let load = || async move {
            let capabilities = determine(&imds, is_v2_disabled, detected, strength).await;
            let lifetime = if capabilities.source.is_some() { POSITIVE_LIFETIME } else { NEGATIVE_LIFETIME };
            let until = imds.clock().steady_now().plus(lifetime);
            Ok(Loaded::new(Lease::new(capabilities, until)))
        };
        match self.cache.obtain(&(), load).await {
            Ok(obtained) => obtained.value,
            // The load never fails.
            Err(_) => determine(&self.imds, self.is_v2_disabled, detection.clone(), strength).await,
        }
    }
}

async fn determine(
    imds: &ImdsClient,
    is_v2_disabled: bool,
    detection: Detection,
    strength: Option<Strength>,
) -> HostCapabilities {
    let source = detection.source;
    if !source.info().issues_certificates {
        return HostCapabilities {
            source: Some(source),
            detection,
            imds: None,
            strength: None,
            host_strength: None,
            reason: format!("{source} issues no certificates to bind tokens to"),
        };
    }
    let probes = probe(imds, is_v2_disabled).await;
    let (host_strength, reason) = match probes.version {
        Some(ImdsVersion::V2) => {
            let reason = "the metadata service issues certificates to bind tokens to".to_owned();
            (Some(Strength::Software), reason)
        }
        Some(ImdsVersion::V1) => {
            let host_strength = imds.is_trusted_launch().await.then_some(Strength::Software);
            let reason = if is_v2_disabled {
                format!("{KILL_SWITCH} disables version 2 of the metadata service")
            } else {
                "the metadata service has version 1 only".to_owned()
            };
            (host_strength, reason)
        }
        None if probes.took.is_some() => {
            (None, "something other than the metadata service responded at its address".to_owned())
        }
        None => (None, "there is no metadata service".to_owned()),
    };
    HostCapabilities {
        source: probes.version.map(|_| source),
        detection,
        strength: strength.filter(|_| probes.version == Some(ImdsVersion::V2)),
        imds: Some(probes),
        host_strength,
        reason,
    }
}

/// Probes for version 2 first, because a host with both versions responds to a probe for version 1
/// as well. (docs/protocol/imdsv2.md#probe)
async fn probe(imds: &ImdsClient, is_v2_disabled: bool) -> ImdsProbes {
    let mut probes = ImdsProbes {
        base: imds.origin(),
        version: None,
        reasons: Vec::new(),
        skew_seconds: None,
        took: None,
    };
    for (version, endpoint) in
        [(ImdsVersion::V2, ImdsEndpoint::PlatformMetadata), (ImdsVersion::V1, ImdsEndpoint::BearerToken)]
    {
        if version == ImdsVersion::V2 && is_v2_disabled {
            probes.reasons.push(format!("version 2: {KILL_SWITCH} is set"));
            continue;
        }
        let ProbeResult { status, reason, date, duration, .. } = imds.probe(endpoint).await;
        probes.reasons.push(format!("version {}: {reason}", version.number()));
        if status != ProbeStatus::Unreachable && probes.took.is_none() {
            probes.took = Some(duration);
        }
        match status {
            ProbeStatus::Present => {
                probes.version = Some(version);
                probes.skew_seconds = date.map(|date| skew(imds.clock(), date));
                break;
            }
            ProbeStatus::Absent => (),
            // An unreachable service does not respond to the other version either.
            _ => break,
        }
    }
    probes
}

fn skew(clock: &SharedClock, date: SystemTime) -> i64 {
    let seconds = |difference: Duration| i64::try_from(difference.as_secs()).unwrap_or(i64::MAX);
    match clock.now().duration_since(date) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}
