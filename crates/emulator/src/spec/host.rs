//! What kind of machine and services: the settings of the builder, by name.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::value::{Length, Skew};
use crate::builder::EmulatorBuilder;
use crate::entry::TlsVersion;

/// The table `[host]`: what is not named stays as it is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Host {
    tenant_id: Option<String>,
    scale_set: bool,
    v1_only: bool,
    attestation_required: bool,
    arc_without_user_assigned: bool,
    token_lifetime: Option<Length>,
    refresh_in: Option<Length>,
    certificate_lifetime: Option<Length>,
    token_not_after: Option<Length>,
    audience: Option<String>,
    clock_skew: Option<Skew>,
    tls: Option<Version>,
    /// Secrets by client id.
    applications: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize)]
enum Version {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl Host {
    pub(super) fn apply(self, mut builder: EmulatorBuilder) -> EmulatorBuilder {
        if let Some(tenant_id) = &self.tenant_id {
            builder = builder.tenant_id(tenant_id);
        }
        if self.scale_set {
            builder = builder.scale_set();
        }
        if self.v1_only {
            builder = builder.v1_only();
        }
        if self.attestation_required {
            builder = builder.attestation_required();
        }
        if self.arc_without_user_assigned {
            builder = builder.arc_without_user_assigned();
        }
        if let Some(Length(lifetime)) = self.token_lifetime {
            builder = builder.token_lifetime(lifetime);
        }
        if let Some(Length(refresh_in)) = self.refresh_in {
            builder = builder.refresh_in(refresh_in);
        }
        if let Some(Length(lifetime)) = self.certificate_lifetime {
            builder = builder.certificate_lifetime(lifetime);
        }
        if let Some(Length(lifetime)) = self.token_not_after {
            builder = builder.token_not_after(Some(lifetime));
        }
        if let Some(audience) = &self.audience {
            builder = builder.audience(audience);
        }
        if let Some(Skew(seconds)) = self.clock_skew {
            builder = builder.clock_skew(seconds);
        }
        for (client_id, secret) in &self.applications {
            builder = builder.application(client_id, secret);
        }
        match self.tls {
            Some(Version::V1_2) => builder.tls_version(TlsVersion::V1_2),
            Some(Version::V1_3) => builder.tls_version(TlsVersion::V1_3),
            None => builder,
        }
    }
}
