//! Scripted faults: what goes wrong, where, and how often.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::host::ExpiryFormat;

/// Where in the exchange a request stands, by the endpoint it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `getplatformmetadata`, and the probe for IMDSv2, which differs only by a missing header.
    PlatformMetadata,
    /// `issuecredential`.
    IssueCredential,
    /// The bearer token of IMDS v1, and the probe for it.
    ImdsToken,
    /// `metadata/instance/compute`.
    ComputeMetadata,
    /// The identity endpoint of App Service.
    AppService,
    /// The identity endpoint of Service Fabric.
    ServiceFabric,
    /// The identity endpoint of Azure Machine Learning.
    MachineLearning,
    /// The identity endpoint of Cloud Shell.
    CloudShell,
    /// The identity endpoint of the Azure Arc agent: the challenge, and the answer to it.
    AzureArc,
    /// The token endpoint.
    Token,
    /// The OpenID configuration and the keys of the token service.
    Discovery,
    /// Anything on the resource.
    Resource,
    /// A TLS handshake, with whichever server: the journal has those that failed. Delays, resets and
    /// stalls happen before it, other faults do nothing here.
    Handshake,
    /// A path that the server does not have.
    Unknown,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PlatformMetadata => "metadata",
            Self::IssueCredential => "issue",
            Self::ImdsToken => "imds-token",
            Self::ComputeMetadata => "compute",
            Self::AppService => "app-service",
            Self::ServiceFabric => "service-fabric",
            Self::MachineLearning => "machine-learning",
            Self::CloudShell => "cloud-shell",
            Self::AzureArc => "azure-arc",
            Self::Token => "token",
            Self::Discovery => "discovery",
            Self::Resource => "resource",
            Self::Handshake => "handshake",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that goes wrong at one [`Step`], [once](Self::once) unless said otherwise.
///
/// Of several faults for one step the oldest is used up first, one per request.
///
/// ```
/// # use symbolon_emulator::{Fault, Step};
/// # use std::time::Duration;
/// let busy = Fault::status(Step::Token, 429).header("retry-after", "1").times(2);
/// let slow = Fault::delay(Step::PlatformMetadata, Duration::from_secs(3)).always();
/// ```
#[derive(Clone)]
pub struct Fault {
    pub(crate) step: Step,
    pub(crate) effect: Effect,
    pub(crate) delay: Duration,
    remaining: Option<u64>,
}

/// What a fault does to the exchange.
#[derive(Clone)]
pub(crate) enum Effect {
    /// The right answer, so that a delay has something to precede.
    None,
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    Reset,
    Stall,
    TornBody,
    OversizedBody,
    MalformedJson,
    OAuthError {
        status: u16,
        error: String,
        codes: Vec<u64>,
        headers: Vec<(String, String)>,
    },
    ClaimsChallenge(String),
    DowngradeToBearer,
    WrongConfirmation,
    WithoutTokenType,
    WithoutAccessToken,
    WithoutServerHeader,
    Expiry(ExpiryFormat),
    Certificate(CertificateFault),
}

impl Effect {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None => "delay",
            Self::Status { .. } => "status",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::TornBody => "torn body",
            Self::OversizedBody => "oversized body",
            Self::MalformedJson => "malformed JSON",
            Self::OAuthError { .. } => "OAuth error",
            Self::ClaimsChallenge(_) => "claims challenge",
            Self::DowngradeToBearer => "downgrade to Bearer",
            Self::WrongConfirmation => "wrong cnf",
            Self::WithoutTokenType => "no token_type",
            Self::WithoutAccessToken => "no access_token",
            Self::WithoutServerHeader => "no Server header",
            Self::Expiry(_) => "expiry format",
            Self::Certificate(_) => "certificate fault",
        }
    }
}

/// What is wrong with the answer to `issuecredential`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The certificate is for another key.
    WrongKey,
    /// Its validity ended an hour ago.
    Expired,
    /// Its validity begins in an hour.
    NotYetValid,
    /// It is valid this long from now.
    Lifetime(Duration),
    /// The token service refuses it this long from now; with zero, at once.
    TokenNotAfter(Duration),
    /// It carries no `token_not_after`.
    WithoutTokenNotAfter,
    /// `certificate` is base64 of something that is not DER.
    Garbage,
    /// One octet follows the certificate.
    TrailingData,
    /// `client_id` in the answer is another one than in the certificate and in the metadata.
    OtherClientId,
    /// `mtls_authentication_endpoint` has the scheme `http`.
    InsecureEndpoint,
}

impl Fault {
    fn new(step: Step, effect: Effect) -> Self {
        Self { step, effect, delay: Duration::ZERO, remaining: Some(1) }
    }

    /// An HTTP status in place of the answer; give it a [`header`](Self::header) or a [`body`](Self::body).
    #[must_use]
    pub fn status(step: Step, status: u16) -> Self {
        Self::new(step, Effect::Status { status, headers: Vec::new(), body: Bytes::new() })
    }

    /// The right answer, late. The time passes on the emulator's clock.
    #[must_use]
    pub fn delay(step: Step, delay: Duration) -> Self {
        Self::new(step, Effect::None).after(delay)
    }

    /// A TCP reset in place of the answer, before its first byte, or of the handshake.
    #[must_use]
    pub fn reset(step: Step) -> Self {
        Self::new(step, Effect::Reset)
    }

    /// No answer, ever; the connection stays open.
    #[must_use]
    pub fn stall(step: Step) -> Self {
        Self::new(step, Effect::Stall)
    }

    /// `Content-Length` promises twice the body that is sent; then the connection ends.
    #[must_use]
    pub fn torn_body(step: Step) -> Self {
        Self::new(step, Effect::TornBody)
    }

    /// The right answer, followed by white space to more than 1 MiB: only a limit refuses it.
    #[must_use]
    pub fn oversized_body(step: Step) -> Self {
        Self::new(step, Effect::OversizedBody)
    }

    /// The right answer without its last brace.
    #[must_use]
    pub fn malformed_json(step: Step) -> Self {
        Self::new(step, Effect::MalformedJson)
    }

    /// A 307 to this URL.
    #[must_use]
    pub fn redirect(step: Step, location: &str) -> Self {
        Self::status(step, 307).header("location", location)
    }

    /// An OAuth error of the token endpoint with these AADSTS numbers, if any: 401 for
    /// `invalid_client` (RFC 6749 §5.2), else 400.
    #[must_use]
    pub fn oauth_error(error: &str, codes: &[u64]) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        Self::new(
            Step::Token,
            Effect::OAuthError {
                status,
                error: error.to_owned(),
                codes: codes.to_vec(),
                headers: Vec::new(),
            },
        )
    }

    /// A claims challenge: `interaction_required` with `claims` from the token endpoint, or a 401
    /// with `insufficient_claims` from the resource.
    #[must_use]
    pub fn claims_challenge(step: Step, claims: &str) -> Self {
        Self::new(step, Effect::ClaimsChallenge(claims.to_owned()))
    }

    /// A Bearer token without `cnf`, to whoever asked for a bound one.
    #[must_use]
    pub fn downgrade_to_bearer() -> Self {
        Self::new(Step::Token, Effect::DowngradeToBearer)
    }

    /// A bound token whose `cnf` names another certificate.
    #[must_use]
    pub fn wrong_cnf() -> Self {
        Self::new(Step::Token, Effect::WrongConfirmation)
    }

    /// A token answer without `token_type`.
    #[must_use]
    pub fn without_token_type(step: Step) -> Self {
        Self::new(step, Effect::WithoutTokenType)
    }

    /// A token of a host other than a virtual machine that says in this way when it expires.
    #[must_use]
    pub fn expiry(step: Step, format: ExpiryFormat) -> Self {
        Self::new(step, Effect::Expiry(format))
    }

    /// A token answer without `access_token`.
    #[must_use]
    pub fn without_access_token(step: Step) -> Self {
        Self::new(step, Effect::WithoutAccessToken)
    }

    /// An answer of the metadata service without the `Server` header that marks it.
    #[must_use]
    pub fn without_server_header(step: Step) -> Self {
        Self::new(step, Effect::WithoutServerHeader)
    }

    /// Something wrong with an issued certificate.
    #[must_use]
    pub fn certificate(fault: CertificateFault) -> Self {
        Self::new(Step::IssueCredential, Effect::Certificate(fault))
    }

    /// Adds a header to a [`status`](Self::status) or an [`oauth_error`](Self::oauth_error); a
    /// fault of another kind stays as it is.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Effect::Status { headers, .. } | Effect::OAuthError { headers, .. } = &mut self.effect {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The body of a [`status`](Self::status), sent as JSON unless a header says otherwise; a fault of another kind stays as it is.
    #[must_use]
    pub fn body(mut self, text: impl Into<Bytes>) -> Self {
        if let Effect::Status { body, .. } = &mut self.effect {
            *body = text.into();
        }
        self
    }

    /// Another HTTP status for an [`oauth_error`](Self::oauth_error); a fault of another kind stays
    /// as it is.
    #[must_use]
    pub fn with_status(mut self, code: u16) -> Self {
        if let Effect::OAuthError { status, .. } = &mut self.effect {
            *status = code;
        }
        self
    }

    /// Waits on the emulator's clock before the fault happens.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// For the next request only: what a fault does unless told otherwise.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// For the next `n` requests.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.remaining = Some(n);
        self
    }

    /// For every request until the faults are cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.remaining = None;
        self
    }
}

/// Without bodies and claims.
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("step", &self.step)
            .field("effect", &self.effect.name())
            .field("delay", &self.delay)
            .field("remaining", &self.remaining)
            .finish()
    }
}

/// The faults that are still to happen.
#[derive(Default)]
pub(crate) struct Script(Mutex<VecDeque<Fault>>);

impl Script {
    pub(crate) fn inject(&self, fault: Fault) {
        if fault.remaining != Some(0) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
        }
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The oldest fault for this step, used up by one.
    pub(crate) fn take(&self, step: Step) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = faults.iter().position(|fault| fault.step == step)?;
        let fault = &mut faults[index];
        match &mut fault.remaining {
            Some(1) => faults.remove(index),
            Some(remaining) => {
                *remaining -= 1;
                Some(fault.clone())
            }
            None => Some(fault.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_fault_of_a_step_is_used_up_first() {
        let script = Script::default();
        script.inject(Fault::status(Step::Token, 500).times(2));
        script.inject(Fault::stall(Step::Resource).always());
        script.inject(Fault::reset(Step::Token));
        script.inject(Fault::reset(Step::Token).times(0));
        let names = |step, n| {
            (0..n).map(|_| script.take(step).map_or("-", |fault| fault.effect.name())).collect::<Vec<_>>()
        };
        assert_eq!(names(Step::Token, 4), ["status", "status", "reset", "-"]);
        assert_eq!(names(Step::Resource, 3), ["stall"; 3]);
        script.clear();
        assert_eq!(names(Step::Resource, 1), ["-"]);
    }
}
