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
    key_vault_challenge: bool,
    strict: bool,
    tenants: Vec<String>,
    clients: Vec<String>,
    resources: Vec<String>,
    clock_skew: Option<SkewValue>,
    tls: Option<TlsVersion>,
    /// Client secrets by client id.
    applications: BTreeMap<String, String>,
}

impl HostTable {
    pub(super) fn apply(self, settings: &mut EmulatorSettings) {
        settings.scale_set |= self.scale_set;
        settings.v1_only |= self.v1_only;
        settings.attestation_required |= self.attestation_required;
        settings.arc_user_assigned &= !self.arc_without_user_assigned;
        settings.key_vault_challenge |= self.key_vault_challenge;
        settings.strict |= self.strict;
        settings.tenants.extend(self.tenants);
        settings.clients.extend(self.clients);
        settings.resources.extend(self.resources);
        settings.applications.extend(self.applications);
        set(&mut settings.tenant_id, self.tenant_id.map(Some));
        set(&mut settings.token_lifetime, self.token_lifetime.map(|value| value.0));
        set(&mut settings.refresh_in, self.refresh_in.map(|value| Some(value.0)));
        set(&mut settings.certificate_lifetime, self.certificate_lifetime.map(|value| value.0));
        set(&mut settings.token_not_after, self.token_not_after.map(|value| Some(value.0)));
        set(&mut settings.audience, self.audience.map(Some));
        set(&mut settings.clock_skew_seconds, self.clock_skew.map(|value| value.0));
        set(&mut settings.tls_versions, self.tls.map(|version| vec![version]));
    }
}

/// Replaces a setting if the table has the member.
fn set<T>(setting: &mut T, member: Option<T>) {
    if let Some(value) = member {
        *setting = value;
    }
}
