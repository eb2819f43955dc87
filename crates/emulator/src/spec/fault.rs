//! One fault: its kind, and what that kind needs.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::Value;

use super::value::{Alert, Headers, Length, Status, StepName, Times};
use crate::fault::{CertificateFault, Fault};
use crate::host::ExpiryFormat;
use crate::step::Step;

/// A fault as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    kind: Kind,
    step: Option<StepName>,
    after: Option<Length>,
    times: Option<Times>,
    lasting: Option<Length>,
    status: Option<Status>,
    headers: Option<Headers>,
    body: Option<String>,
    location: Option<String>,
    error: Option<String>,
    codes: Option<Vec<u64>>,
    claims: Option<Value>,
    format: Option<Format>,
    certificate: Option<Certificate>,
    lifetime: Option<Length>,
    alert: Option<Alert>,
    per_second: Option<NonZeroU32>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Delay,
    Status,
    Redirect,
    IdentityNotFound,
    Gone,
    Throttle,
    Reset,
    Stall,
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

/// Every kind, with the members it needs in TOML: what the page offers, and a table of tests.
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
    ("refuse-certificate", ""),
    ("revoke-certificate", "step = \"token\""),
    ("renew-certificate", "step = \"token\""),
    ("reboot", "step = \"token\""),
];

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    UnixText,
    UnixNumber,
    Rfc3339,
    IsoDate,
    AmericanDate,
    Lifetime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Certificate {
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

impl Kind {
    /// The one step at which it happens, where there is one.
    fn only_at(self) -> Option<Step> {
        match self {
            Self::OauthError | Self::DowngradeToBearer | Self::WrongCnf => Some(Step::Token),
            Self::Certificate => Some(Step::IssueCredential),
            Self::TlsAlert | Self::RefuseCertificate => Some(Step::Handshake),
            _ => None,
        }
    }

    fn happens_in_a_handshake(self) -> bool {
        matches!(self, Self::Delay | Self::Reset | Self::Stall) || self.only_at() == Some(Step::Handshake)
    }

    fn name(self) -> String {
        // As serde reads it: a hyphen before each capital.
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

impl Spec {
    /// The fault, or why there is none such.
    pub(super) fn fault(mut self) -> Result<Fault, String> {
        let kind = self.kind;
        let step = self.step()?;
        let needed = |member: &str| format!("a fault of the kind `{}` needs `{member}`", kind.name());
        let fault = match kind {
            Kind::Delay if self.after.is_none() => return Err(needed("after")),
            Kind::Delay => Fault::delay(step, std::time::Duration::ZERO),
            Kind::Status => {
                let status = self.status.take().ok_or_else(|| needed("status"))?;
                let fault = Fault::status(step, status.0);
                self.body.take().into_iter().fold(fault, Fault::body)
            }
            Kind::Redirect => Fault::redirect(step, &self.location.take().ok_or_else(|| needed("location"))?),
            Kind::IdentityNotFound => Fault::identity_not_found(step),
            Kind::Gone => Fault::gone(step),
            Kind::Throttle => {
                Fault::throttle(step, self.per_second.take().ok_or_else(|| needed("per_second"))?)
            }
            Kind::Reset => Fault::reset(step),
            Kind::Stall => Fault::stall(step),
            Kind::TornBody => Fault::torn_body(step),
            Kind::OversizedBody => Fault::oversized_body(step),
            Kind::MalformedJson => Fault::malformed_json(step),
            Kind::OauthError => {
                let error = self.error.take().ok_or_else(|| needed("error"))?;
                let fault = Fault::oauth_error(&error, &self.codes.take().unwrap_or_default());
                self.status.take().into_iter().fold(fault, |fault, status| fault.with_status(status.0))
            }
            Kind::ClaimsChallenge => {
                let claims = match self.claims.take().ok_or_else(|| needed("claims"))? {
                    Value::String(text) => text,
                    value => value.to_string(),
                };
                Fault::claims_challenge(step, &claims)
            }
            Kind::DowngradeToBearer => Fault::downgrade_to_bearer(),
            Kind::WrongCnf => Fault::wrong_cnf(),
            Kind::WithoutTokenType => Fault::without_token_type(step),
            Kind::WithoutAccessToken => Fault::without_access_token(step),
            Kind::WithoutServerHeader => Fault::without_server_header(step),
            Kind::Expiry => Fault::expiry(step, self.format.take().ok_or_else(|| needed("format"))?.format()),
            Kind::Certificate => Fault::certificate(self.certificate_fault()?),
            Kind::TlsAlert => Fault::tls_alert(self.alert.take().ok_or_else(|| needed("alert"))?.0),
            Kind::RefuseCertificate => Fault::refuse_certificate(),
            Kind::RevokeCertificate => Fault::revoke_certificate(step),
            Kind::RenewCertificate => Fault::renew_certificate(step),
            Kind::Reboot => Fault::reboot(step),
        };
        let fault = self.with_headers(fault);
        let fault = self.limited(fault)?;
        self.nothing_left()?;
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
        if step == Step::Handshake && !self.kind.happens_in_a_handshake() {
            return Err(format!("a fault of the kind `{kind}` cannot happen in a handshake"));
        }
        Ok(step)
    }

    fn certificate_fault(&mut self) -> Result<CertificateFault, String> {
        let needed = |member: &str| format!("a fault of the kind `certificate` needs `{member}`");
        let certificate = self.certificate.take().ok_or_else(|| needed("certificate"))?;
        Ok(match certificate {
            Certificate::Lifetime => {
                CertificateFault::Lifetime(self.lifetime.take().ok_or_else(|| needed("lifetime"))?.0)
            }
            Certificate::TokenNotAfter => {
                CertificateFault::TokenNotAfter(self.lifetime.take().ok_or_else(|| needed("lifetime"))?.0)
            }
            Certificate::WrongKey => CertificateFault::WrongKey,
            Certificate::Expired => CertificateFault::Expired,
            Certificate::NotYetValid => CertificateFault::NotYetValid,
            Certificate::WithoutTokenNotAfter => CertificateFault::WithoutTokenNotAfter,
            Certificate::Garbage => CertificateFault::Garbage,
            Certificate::TrailingData => CertificateFault::TrailingData,
            Certificate::OtherClientId => CertificateFault::OtherClientId,
            Certificate::InsecureEndpoint => CertificateFault::InsecureEndpoint,
        })
    }

    fn with_headers(&mut self, fault: Fault) -> Fault {
        let has_headers = matches!(
            self.kind,
            Kind::Status | Kind::Redirect | Kind::IdentityNotFound | Kind::Gone | Kind::OauthError
        );
        let headers = if has_headers { self.headers.take() } else { None };
        let headers = headers.map(|headers| headers.0).unwrap_or_default();
        headers.iter().fold(fault, |fault, (name, value)| fault.header(name, value))
    }

    fn limited(&mut self, fault: Fault) -> Result<Fault, String> {
        let fault = match (self.times.take(), self.lasting.take()) {
            (Some(_), Some(_)) => return Err("`times` and `lasting` exclude each other".to_owned()),
            (Some(Times::N(n)), None) => fault.times(n),
            (Some(Times::Always), None) => fault.always(),
            (None, Some(lasting)) => fault.lasting(lasting.0),
            (None, None) => fault,
        };
        Ok(match self.after.take() {
            Some(after) => fault.after(after.0),
            None => fault,
        })
    }

    /// A member that the kind does not have would be a wish that is not heard.
    fn nothing_left(&self) -> Result<(), String> {
        let left = [
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
        match left.iter().find(|(_, left)| *left) {
            Some((member, _)) => Err(format!("a fault of the kind `{}` has no `{member}`", self.kind.name())),
            None => Ok(()),
        }
    }
}

impl Format {
    fn format(self) -> ExpiryFormat {
        match self {
            Self::UnixText => ExpiryFormat::UnixText,
            Self::UnixNumber => ExpiryFormat::UnixNumber,
            Self::Rfc3339 => ExpiryFormat::Rfc3339,
            Self::IsoDate => ExpiryFormat::IsoDate,
            Self::AmericanDate => ExpiryFormat::AmericanDate,
            Self::Lifetime => ExpiryFormat::Lifetime,
        }
    }
}
