//! Scripted faults: what goes wrong, where, and how often.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;

use crate::host::ExpiryFormat;
use crate::step::Step;

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
    pub(crate) limit: Limit,
}

/// For how many requests a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Times(u64),
    /// From the first request that meets it.
    Lasting(Duration),
    Always,
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
    Throttle {
        per_second: NonZeroU32,
    },
    /// The number of the alert (RFC 8446 §6).
    TlsAlert(u8),
    RefuseCertificate,
    RevokeCertificate,
    RenewCertificate,
    Reboot,
}

impl Effect {
    /// The kind of the fault, as files with faults and the journal have it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None => "delay",
            Self::Status { .. } => "status",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::TornBody => "torn-body",
            Self::OversizedBody => "oversized-body",
            Self::MalformedJson => "malformed-json",
            Self::OAuthError { .. } => "oauth-error",
            Self::ClaimsChallenge(_) => "claims-challenge",
            Self::DowngradeToBearer => "downgrade-to-bearer",
            Self::WrongConfirmation => "wrong-cnf",
            Self::WithoutTokenType => "without-token-type",
            Self::WithoutAccessToken => "without-access-token",
            Self::WithoutServerHeader => "without-server-header",
            Self::Expiry(_) => "expiry",
            Self::Certificate(_) => "certificate",
            Self::Throttle { .. } => "throttle",
            Self::TlsAlert(_) => "tls-alert",
            Self::RefuseCertificate => "refuse-certificate",
            Self::RevokeCertificate => "revoke-certificate",
            Self::RenewCertificate => "renew-certificate",
            Self::Reboot => "reboot",
        }
    }

    /// What tells it from others of its kind, where that can be shown.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Status { status, .. } => Some(status.to_string()),
            Self::OAuthError { error, .. } => Some(error.clone()),
            Self::Expiry(format) => Some(format!("{format:?}")),
            Self::Certificate(fault) => Some(format!("{fault:?}")),
            Self::Throttle { per_second } => Some(format!("{per_second} a second")),
            Self::TlsAlert(number) => Some(number.to_string()),
            _ => None,
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
        Self { step, effect, delay: Duration::ZERO, limit: Limit::Times(1) }
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

    /// The identity is assigned, but has not arrived at the metadata service yet: 404, usually
    /// [for a while](Self::lasting).
    #[must_use]
    pub fn identity_not_found(step: Step) -> Self {
        Self::status(step, 404).body(
            r#"{"error":"not_found","error_description":"Identity not found: it has not propagated yet"}"#,
        )
    }

    /// The metadata service is being updated: 410, as it answers up to 70 seconds long; usually
    /// [for a while](Self::lasting).
    #[must_use]
    pub fn gone(step: Step) -> Self {
        Self::status(step, 410)
            .body(r#"{"error":"gone","error_description":"The service is being updated: try again later"}"#)
    }

    /// 429 with `Retry-After: 1` to all but so many requests a second, and to all of them
    /// [always](Self::always) unless told otherwise. Other faults of the step happen to those that come through.
    #[must_use]
    pub fn throttle(step: Step, per_second: NonZeroU32) -> Self {
        Self::new(step, Effect::Throttle { per_second }).always()
    }

    /// A fatal alert in place of the server's part of a TLS handshake, by its number (RFC 8446 §6): 40 is
    /// `handshake_failure`, 42 `bad_certificate`, 80 `internal_error`.
    #[must_use]
    pub fn tls_alert(number: u8) -> Self {
        Self::new(Step::Handshake, Effect::TlsAlert(number))
    }

    /// A TLS handshake that refuses the client's certificate, whichever it is, with the alert
    /// `certificate_revoked`. A client without one is served.
    #[must_use]
    pub fn refuse_certificate() -> Self {
        Self::new(Step::Handshake, Effect::RefuseCertificate)
    }

    /// The certificate on the connection is [revoked](crate::Emulator::revoke), for good, before the
    /// request is answered.
    #[must_use]
    pub fn revoke_certificate(step: Step) -> Self {
        Self::new(step, Effect::RevokeCertificate)
    }

    /// The certificate on the connection is replaced by [another one for the same
    /// key](crate::Emulator::renew), and is revoked, before the request is answered.
    #[must_use]
    pub fn renew_certificate(step: Step) -> Self {
        Self::new(step, Effect::RenewCertificate)
    }

    /// The machine [reboots](crate::Emulator::reboot) while it has this request.
    #[must_use]
    pub fn reboot(step: Step) -> Self {
        Self::new(step, Effect::Reboot)
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
        self.limit = Limit::Times(n);
        self
    }

    /// For every request of this long, from the first one that meets it, on the emulator's clock.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.limit = Limit::Lasting(duration);
        self
    }

    /// For every request until the faults are cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.limit = Limit::Always;
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
            .field("limit", &self.limit)
            .finish()
    }
}
