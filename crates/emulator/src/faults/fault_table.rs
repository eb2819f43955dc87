//! A fault in text form.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::Value;

use crate::faults::fault::{CertificateFault, Fault};
use crate::faults::value::{
    AlertValue, DurationValue, HeadersValue, ServerValue, StatusValue, StepValue, TimesValue,
};
use crate::protocol::{ExpiryFormat, Step};

/// A table `[[fault]]`, or the JSON object of the admin API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultTable {
    kind: FaultKind,
    step: Option<StepValue>,
    server: Option<ServerValue>,
    after: Option<DurationValue>,
    times: Option<TimesValue>,
    lasting: Option<DurationValue>,
    status: Option<StatusValue>,
    headers: Option<HeadersValue>,
    body: Option<String>,
    location: Option<String>,
    error: Option<String>,
    codes: Option<Vec<u64>>,
    claims: Option<Value>,
    format: Option<ExpiryFormat>,
    certificate: Option<CertificateFaultName>,
    lifetime: Option<DurationValue>,
    alert: Option<AlertValue>,
    per_second: Option<NonZeroU32>,
}

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FaultKind {
    Delay,
    Status,
    Redirect,
    IdentityNotFound,
    Gone,
    Throttle,
    Reset,
    Stall,
    GoAway,
    RefuseStream,
    TornBody,
    OversizedBody,
    MalformedJson,
    OauthError,
    ClaimsChallenge,
    DowngradeToBearer,
    WrongCnf,
    WithoutTokenType,
    WithoutAccessToken,
    WithoutServerHeader,
    Expiry,
    Certificate,
    TlsAlert,
    RefuseCertificate,
    RevokeCertificate,
    RenewCertificate,
    Reboot,
}

/// Every kind with example members in TOML, for the admin page and for tests.
pub(crate) const EXAMPLES: &[(&str, &str)] = &[
    ("delay", "step = \"metadata\"\nafter = \"3s\""),
    (
        "status",
        "step = \"token\"\nstatus = 503\nheaders = { retry-after = \"1\" }\nbody = '{\"error\":\"busy\"}'",
    ),
    ("redirect", "step = \"metadata\"\nlocation = \"http://127.0.0.1:1/\""),
    ("identity-not-found", "step = \"imds-token\"\nlasting = \"30s\""),
    ("gone", "step = \"metadata\"\nlasting = \"70s\""),
    ("throttle", "step = \"token\"\nper_second = 5"),
    ("reset", "step = \"token\""),
    ("stall", "step = \"token\""),
    ("go-away", "step = \"resource\""),
    ("refuse-stream", "step = \"resource\""),
    ("torn-body", "step = \"token\""),
    ("oversized-body", "step = \"token\""),
    ("malformed-json", "step = \"token\""),
    ("oauth-error", "error = \"invalid_client\"\ncodes = [7000222]"),
    ("claims-challenge", "step = \"resource\"\nclaims = '{\"access_token\":{\"nbf\":{\"essential\":true}}}'"),
    ("downgrade-to-bearer", ""),
    ("wrong-cnf", ""),
    ("without-token-type", "step = \"token\""),
    ("without-access-token", "step = \"token\""),
    ("without-server-header", "step = \"metadata\""),
    ("expiry", "step = \"app-service\"\nformat = \"american-date\""),
    ("certificate", "certificate = \"lifetime\"\nlifetime = \"2m\""),
    ("tls-alert", "alert = \"handshake_failure\""),
    ("refuse-certificate", "server = \"resource\""),
    ("revoke-certificate", "step = \"token\""),
    ("renew-certificate", "step = \"token\""),
    ("reboot", "step = \"token\""),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CertificateFaultName {
    WrongKey,
    Expired,
    NotYetValid,
    Lifetime,
    TokenNotAfter,
    WithoutTokenNotAfter,
    Garbage,
    TrailingData,
    OtherClientId,
    InsecureEndpoint,
}

impl FaultKind {
    /// Returns the only step of this kind, if it has one.
    fn only_at(self) -> Option<Step> {
        match self {
            Self::OauthError | Self::DowngradeToBearer | Self::WrongCnf => Some(Step::Token),
            Self::Certificate => Some(Step::IssueCredential),
            Self::TlsAlert | Self::RefuseCertificate => Some(Step::Handshake),
            _ => None,
        }
    }

    fn applies_to_handshakes(self) -> bool {
        matches!(self, Self::Delay | Self::Reset | Self::Stall) || self.only_at() == Some(Step::Handshake)
    }

    fn name(self) -> String {
        // The name that serde derives: kebab case.
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

impl FaultTable {
    /// Validates the members and returns the fault, or an error message.
    pub(super) fn into_fault(mut self) -> Result<Fault, String> {
        let kind = self.kind;
        let step = self.step()?;
        let needed = |member: &str| format!("a fault of the kind `{}` needs `{member}`", kind.name());
        let fault = match kind {
            FaultKind::Delay if self.after.is_none() => return Err(needed("after")),
            FaultKind::Delay => Fault::delay(step, std::time::Duration::ZERO),
            FaultKind::Status => {
                let status = self.status.take().ok_or_else(|| needed("status"))?;
                let fault = Fault::status(step, status.0);
                self.body.take().into_iter().fold(fault, Fault::body)
            }
            FaultKind::Redirect => {
                Fault::redirect(step, &self.location.take().ok_or_else(|| needed("location"))?)
            }
            FaultKind::IdentityNotFound => Fault::identity_not_found(step),
            FaultKind::Gone => Fault::gone(step),
            FaultKind::Throttle => {
                Fault::throttle(step, self.per_second.take().ok_or_else(|| needed("per_second"))?)
            }
            FaultKind::Reset => Fault::reset(step),
            FaultKind::Stall => Fault::stall(step),
            FaultKind::GoAway => Fault::go_away(step),
            FaultKind::RefuseStream => Fault::refuse_stream(step),
            FaultKind::TornBody => Fault::torn_body(step),
            FaultKind::OversizedBody => Fault::oversized_body(step),
            FaultKind::MalformedJson => Fault::malformed_json(step),
            FaultKind::OauthError => {
                let error = self.error.take().ok_or_else(|| needed("error"))?;
                let fault = Fault::oauth_error(&error, &self.codes.take().unwrap_or_default());
                self.status.take().into_iter().fold(fault, |fault, status| fault.with_status(status.0))
            }
            FaultKind::ClaimsChallenge => {
                let claims = match self.claims.take().ok_or_else(|| needed("claims"))? {
                    Value::String(text) => text,
                    value => value.to_string(),
                };
                Fault::claims_challenge(step, &claims)
            }
            FaultKind::DowngradeToBearer => Fault::downgrade_to_bearer(),
            FaultKind::WrongCnf => Fault::wrong_cnf(),
            FaultKind::WithoutTokenType => Fault::without_token_type(step),
            FaultKind::WithoutAccessToken => Fault::without_access_token(step),
            FaultKind::WithoutServerHeader => Fault::without_server_header(step),
            FaultKind::Expiry => Fault::expiry(step, self.format.take().ok_or_else(|| needed("format"))?),
            FaultKind::Certificate => Fault::certificate(self.certificate_fault()?),
            FaultKind::TlsAlert => Fault::tls_alert(self.alert.take().ok_or_else(|| needed("alert"))?.0),
            FaultKind::RefuseCertificate => Fault::refuse_certificate(),
            FaultKind::RevokeCertificate => Fault::revoke_certificate(step),
            FaultKind::RenewCertificate => Fault::renew_certificate(step),
            FaultKind::Reboot => Fault::reboot(step),
        };
        let fault = self.with_headers(fault);
        let server = if step == Step::Handshake { self.server.take() } else { None };
        let fault = server.into_iter().fold(fault, |fault, server| fault.at_server(server.0));
        let fault = self.with_limit(fault)?;
        self.refuse_remaining_members()?;
        Ok(fault)
    }

    fn step(&self) -> Result<Step, String> {
        let kind = self.kind.name();
        let step = match (self.step.as_ref().map(|step| step.0), self.kind.only_at()) {
            (Some(step), Some(only)) if step != only => {
                return Err(format!("a fault of the kind `{kind}` happens at the step `{only}` only"));
            }
            (given, only) => given.or(only),
        };
        let step = step.ok_or_else(|| format!("a fault of the kind `{kind}` needs `step`"))?;
        if step == Step::Handshake && !self.kind.applies_to_handshakes() {
            return Err(format!("a fault of the kind `{kind}` cannot happen in a handshake"));
        }
        Ok(step)
    }

    fn certificate_fault(&mut self) -> Result<CertificateFault, String> {
        let needed = |member: &str| format!("a fault of the kind `certificate` needs `{member}`");
        let certificate = self.certificate.take().ok_or_else(|| needed("certificate"))?;
        Ok(match certificate {
            CertificateFaultName::Lifetime => {
                CertificateFault::Lifetime(self.lifetime.take().ok_or_else(|| needed("lifetime"))?.0)
            }
            CertificateFaultName::TokenNotAfter => {
                CertificateFault::TokenNotAfter(self.lifetime.take().ok_or_else(|| needed("lifetime"))?.0)
            }
            CertificateFaultName::WrongKey => CertificateFault::WrongKey,
            CertificateFaultName::Expired => CertificateFault::Expired,
            CertificateFaultName::NotYetValid => CertificateFault::NotYetValid,
            CertificateFaultName::WithoutTokenNotAfter => CertificateFault::WithoutTokenNotAfter,
            CertificateFaultName::Garbage => CertificateFault::Garbage,
            CertificateFaultName::TrailingData => CertificateFault::TrailingData,
            CertificateFaultName::OtherClientId => CertificateFault::OtherClientId,
            CertificateFaultName::InsecureEndpoint => CertificateFault::InsecureEndpoint,
        })
    }

    fn with_headers(&mut self, fault: Fault) -> Fault {
        let has_headers = matches!(
            self.kind,
            FaultKind::Status
                | FaultKind::Redirect
                | FaultKind::IdentityNotFound
                | FaultKind::Gone
                | FaultKind::OauthError
        );
        let headers = if has_headers { self.headers.take() } else { None };
        let headers = headers.map(|headers| headers.0).unwrap_or_default();
        headers.iter().fold(fault, |fault, (name, value)| fault.header(name, value))
    }

    fn with_limit(&mut self, fault: Fault) -> Result<Fault, String> {
        let fault = match (self.times.take(), self.lasting.take()) {
            (Some(_), Some(_)) => return Err("`times` and `lasting` exclude each other".to_owned()),
            (Some(TimesValue::N(n)), None) => fault.times(n),
            (Some(TimesValue::Always), None) => fault.always(),
            (Some(TimesValue::UntilSatisfied), None)
                if self.kind == FaultKind::ClaimsChallenge && fault.step == Step::Resource =>
            {
                fault.until_satisfied()
            }
            (Some(TimesValue::UntilSatisfied), None) => {
                return Err("`until-satisfied` is for claims challenges of the resource only".to_owned());
            }
            (None, Some(lasting)) => fault.lasting(lasting.0),
            (None, None) => fault,
        };
        Ok(match self.after.take() {
            Some(after) => fault.after(after.0),
            None => fault,
        })
    }

    /// Refuses members that the kind does not have, instead of ignoring them.
    fn refuse_remaining_members(&self) -> Result<(), String> {
        let members = [
            ("server", self.server.is_some()),
            ("status", self.status.is_some()),
            ("headers", self.headers.is_some()),
            ("body", self.body.is_some()),
            ("location", self.location.is_some()),
            ("error", self.error.is_some()),
            ("codes", self.codes.is_some()),
            ("claims", self.claims.is_some()),
            ("format", self.format.is_some()),
            ("certificate", self.certificate.is_some()),
            ("lifetime", self.lifetime.is_some()),
            ("alert", self.alert.is_some()),
            ("per_second", self.per_second.is_some()),
        ];
        match members.iter().find(|(_, present)| *present) {
            Some((member, _)) => Err(format!("a fault of the kind `{}` has no `{member}`", self.kind.name())),
            None => Ok(()),
        }
    }
}
