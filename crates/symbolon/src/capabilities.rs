//! What this host can do.

use std::time::{Duration, SystemTime};

use symbolon_binding::imds::{ImdsClient, ImdsEndpoint, ProbeResult, ProbeStatus};
use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_types::{Env, SharedClock, Strength};

use crate::{Detection, Source};

/// Switches version 2 of the metadata service off (IMDSv2 §13.5: kill switch): `true` in any case, or
/// `1`.
const KILL_SWITCH: &str = "MSAL_MI_DISABLE_IMDS_V2";
/// How long it is believed that something is there.
const PRESENT: Duration = Duration::from_secs(60 * 60);
/// How long it is believed that it is not: a service that was restarting must not stay lost.
const ABSENT: Duration = Duration::from_secs(2 * 60);

/// What this host can do, found out without asking for a token, a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCapabilities {
    /// Where tokens come from; none if nothing names a source and no metadata service answers.
    pub source: Option<Source>,
    /// Why, and why not the others.
    pub detection: Detection,
    /// The metadata service, if it was asked: not where the environment names another source.
    pub imds: Option<ImdsProbes>,
    /// How well a key would be kept that a token could be bound to here and now; none if no token can
    /// be bound. For a key provider of your own it is known once there is a key.
    pub strength: Option<Strength>,
    /// How well this host could keep such a key at least, whatever this client does; none if that
    /// cannot be told, or it can bind nothing. Of keys in a TPM or a security module it knows nothing.
    pub host_strength: Option<Strength>,
    /// Why tokens can, or cannot, be bound.
    pub reason: String,
}

impl HostCapabilities {
    /// Whether tokens can be bound to a key here.
    #[must_use]
    pub fn can_bind(&self) -> bool {
        self.imds.as_ref().is_some_and(|imds| imds.version == Some(ImdsVersion::V2))
    }
}

/// What the metadata service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImdsProbes {
    /// Its origin.
    pub base: String,
    /// The highest version that is there.
    pub version: Option<ImdsVersion>,
    /// What was tried, in order, and what came of it.
    pub reasons: Vec<String>,
    /// By how much this machine's clock is ahead of the service's (positive) or behind it, in seconds;
    /// none if the service said no time.
    pub skew_seconds: Option<i64>,
    /// How long the first answer took, if there was one.
    pub took: Option<Duration>,
}

/// A version of the instance metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImdsVersion {
    /// Bearer tokens.
    V1,
    /// Certificates that tokens are bound to, besides.
    V2,
}

impl ImdsVersion {
    /// 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Whether version 2 is switched off, whatever the host has.
pub(crate) fn is_v2_disabled(env: &Env) -> bool {
    env.var(KILL_SWITCH).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// Finds out, and remembers.
#[derive(Debug)]
pub(crate) struct Prober {
    imds: ImdsClient,
    env: Env,
    found: LeaseCache<(), HostCapabilities>,
}

impl Prober {
    pub(crate) fn new(imds: ImdsClient, env: Env) -> Self {
        let found = LeaseCache::new(1, imds.clock().clone());
        Self { imds, env, found }
    }

    /// What was found an hour ago at most, or two minutes if it was nothing. `default_strength` is that of
    /// the keys that would be made.
    pub(crate) async fn capabilities(
        &self,
        detection: &Detection,
        default_strength: Option<Strength>,
    ) -> HostCapabilities {
        let (imds, env, asked) = (self.imds.clone(), self.env.clone(), detection.clone());
        let load = || async move {
            let clock = imds.clock().clone();
            let found = look(&imds, &env, asked, default_strength).await;
            let pause = if found.source.is_some() { PRESENT } else { ABSENT };
            let now = clock.now();
            Ok(Loaded::new(Lease::new(found, now.checked_add(pause).unwrap_or(now))))
        };
        match self.found.obtain(&(), load).await {
            Ok(obtained) => obtained.value,
            // The load never fails.
            Err(_) => look(&self.imds, &self.env, detection.clone(), default_strength).await,
        }
    }
}

async fn look(
    imds: &ImdsClient,
    env: &Env,
    detection: Detection,
    default_strength: Option<Strength>,
) -> HostCapabilities {
    if !detection.source.info().issues_certificates {
        let reason = format!("{} issues no certificates to bind tokens to", detection.source);
        let source = Some(detection.source);
        return HostCapabilities {
            source,
            detection,
            imds: None,
            strength: None,
            host_strength: None,
            reason,
        };
    }
    let probes = probe(imds, env).await;
    let can_bind = probes.version == Some(ImdsVersion::V2);
    let host_strength = match probes.version {
        Some(ImdsVersion::V2) => Some(Strength::Software),
        Some(ImdsVersion::V1) => imds.is_trusted_launch().await.then_some(Strength::Software),
        None => None,
    };
    let reason = match probes.version {
        Some(ImdsVersion::V2) => "the metadata service issues certificates to bind tokens to".to_owned(),
        Some(ImdsVersion::V1) if is_v2_disabled(env) => {
            format!("{KILL_SWITCH} switches version 2 of the metadata service off")
        }
        Some(ImdsVersion::V1) => "the metadata service has version 1 only".to_owned(),
        None if probes.took.is_some() => "what answers in place of a metadata service is none".to_owned(),
        None => "there is no metadata service".to_owned(),
    };
    HostCapabilities {
        source: probes.version.map(|_| Source::Imds),
        detection,
        imds: Some(probes),
        strength: default_strength.filter(|_| can_bind),
        host_strength,
        reason,
    }
}

/// Version 2 first: version 1 answers the same on a host that has both (IMDSv2 §1.5).
async fn probe(imds: &ImdsClient, env: &Env) -> ImdsProbes {
    let mut probes = ImdsProbes {
        base: imds.origin(),
        version: None,
        reasons: Vec::new(),
        skew_seconds: None,
        took: None,
    };
    for (version, leg) in
        [(ImdsVersion::V2, ImdsEndpoint::PlatformMetadata), (ImdsVersion::V1, ImdsEndpoint::BearerToken)]
    {
        if version == ImdsVersion::V2 && is_v2_disabled(env) {
            probes.reasons.push(format!("version 2: {KILL_SWITCH} is set"));
            continue;
        }
        let ProbeResult { status, reason, date, duration, .. } = imds.probe(leg).await;
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
            // Nothing is there that could have the other version.
            _ => break,
        }
    }
    probes
}

fn skew(clock: &SharedClock, date: SystemTime) -> i64 {
    let seconds = |by: Duration| i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    match clock.now().duration_since(date) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}
