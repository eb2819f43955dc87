//! The settings in text form.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::faults::value::{DurationValue, SkewValue};
use crate::pki::TlsVersion;
use crate::settings::EmulatorSettings;

/// The table `[host]`. Absent members do not change the settings.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostTable {
    tenant_id: Option<String>,
    scale_set: bool,
    v1_only: bool,
    attestation_required: bool,
    arc_without_user_assigned: bool,
    token_lifetime: Option<DurationValue>,
    refresh_in: Option<DurationValue>,
    certificate_lifetime: Option<DurationValue>,
    token_not_after: Option<DurationValue>,
    audience: Option<String>,
    clock_skew: Option<SkewValue>,
    tls: Option<TlsVersionName>,
    /// Client secrets by client id.
    applications: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize)]
enum TlsVersionName {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl HostTable {
    pub(super) fn apply(self, settings: &mut EmulatorSettings) {
        settings.scale_set |= self.scale_set;
        settings.v1_only |= self.v1_only;
        settings.attestation_required |= self.attestation_required;
        settings.arc_user_assigned &= !self.arc_without_user_assigned;
        settings.applications.extend(self.applications);
        if let Some(tenant_id) = self.tenant_id {
            settings.tenant_id = Some(tenant_id);
        }
        if let Some(DurationValue(lifetime)) = self.token_lifetime {
            settings.token_lifetime = lifetime;
        }
        if let Some(DurationValue(refresh_in)) = self.refresh_in {
            settings.refresh_in = Some(refresh_in);
        }
        if let Some(DurationValue(lifetime)) = self.certificate_lifetime {
            settings.certificate_lifetime = lifetime;
        }
        if let Some(DurationValue(lifetime)) = self.token_not_after {
            settings.token_not_after = Some(lifetime);
        }
        if let Some(audience) = self.audience {
            settings.audience = Some(audience);
        }
        if let Some(SkewValue(seconds)) = self.clock_skew {
            settings.clock_skew_seconds = seconds;
        }
        match self.tls {
            Some(TlsVersionName::V1_2) => settings.tls_versions = vec![TlsVersion::V1_2],
            Some(TlsVersionName::V1_3) => settings.tls_versions = vec![TlsVersion::V1_3],
            None => {}
        }
    }
}
