//! Scripted faults: step, effect and limit.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{ExpiryFormat, Server, Step};

/// A scripted fault at one [`Step`], for [one request](Self::once) by default.
///
/// Of several faults for one step the oldest applies first, one per request.
///
/// ```
/// # use symbolon_emulator::{Fault, Step};
/// # use std::time::Duration;
/// let busy = Fault::status(Step::Token, 429).header("retry-after", "1").times(2);
/// let slow = Fault::delay(Step::PlatformMetadata, Duration::from_secs(3)).always();
/// ```
#[derive(Clone)]
#[must_use]
pub struct Fault {
    pub(crate) step: Step,
    /// The only server whose handshakes the fault applies to.
    pub(crate) server: Option<Server>,
    /// The kind in fault files and in the journal.
    pub(crate) name: &'static str,
    pub(crate) effect: FaultEffect,
    pub(crate) delay: Duration,
    pub(crate) limit: FaultLimit,
}

/// The number of requests that a fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultLimit {
    Times(u64),
    /// Starting at the first matching request.
    Lasting(Duration),
    Always,
    /// Until a request has a token with the claims of the challenge.
    UntilSatisfied,
}

/// The effect of a fault on the request or the response.
#[derive(Clone)]
pub(crate) enum FaultEffect {
    /// The correct response, for a fault that only delays.
    None,
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    Reset,
    Stall,
    TornBody,
    GoAway,
    RefuseStream,
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

impl FaultEffect {
    /// Returns the parameter of the effect, if it can be shown.
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

/// A defect of the response to `issuecredential`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The certificate has another key.
    WrongKey,
    /// The validity ended an hour ago.
    Expired,
    /// The validity begins in an hour.
    NotYetValid,
    /// The validity ends after this time.
    Lifetime(Duration),
    /// The token service refuses the certificate after this time; with zero, at once.
    TokenNotAfter(Duration),
    /// The certificate has no `token_not_after`.
    WithoutTokenNotAfter,
    /// `certificate` is base64 of octets that are not DER.
    Garbage,
    /// An octet follows the certificate.
    TrailingData,
    /// `client_id` differs from the one in the certificate and in the metadata.
    OtherClientId,
    /// `mtls_authentication_endpoint` has the scheme `http`.
    InsecureEndpoint,
}

impl Fault {
    fn new(step: Step, name: &'static str, effect: FaultEffect) -> Self {
        Self { step, server: None, name, effect, delay: Duration::ZERO, limit: FaultLimit::Times(1) }
    }

    /// Replaces the response by an HTTP status, with the [`header`](Self::header)s and the
    /// [`body`](Self::body) that are added.
    pub fn status(step: Step, status: u16) -> Self {
        Self::new(step, "status", FaultEffect::Status { status, headers: Vec::new(), body: Bytes::new() })
    }

    /// Delays the correct response, on the emulator's clock.
    pub fn delay(step: Step, delay: Duration) -> Self {
        Self::new(step, "delay", FaultEffect::None).after(delay)
    }

    /// Resets the TCP connection before the first octet of the response, or before the handshake.
    pub fn reset(step: Step) -> Self {
        Self::new(step, "reset", FaultEffect::Reset)
    }

    /// Never responds; the connection stays open.
    pub fn stall(step: Step) -> Self {
        Self::new(step, "stall", FaultEffect::Stall)
    }

    /// Closes an HTTP/2 connection with `GOAWAY`, whose last stream is before that of the request:
    /// the request was not processed (RFC 9113 §6.8). Responses under way on the connection are
    /// lost. Closes an HTTP/1.1 connection without a response.
    pub fn go_away(step: Step) -> Self {
        Self::new(step, "go-away", FaultEffect::GoAway)
    }

    /// Resets the HTTP/2 stream with `REFUSED_STREAM`: the request was not processed (RFC 9113
    /// §8.7). Closes an HTTP/1.1 connection without a response.
    pub fn refuse_stream(step: Step) -> Self {
        Self::new(step, "refuse-stream", FaultEffect::RefuseStream)
    }

    /// Sends half of the body that `Content-Length` announces, and closes the connection; in
    /// HTTP/2, resets the stream.
    pub fn torn_body(step: Step) -> Self {
        Self::new(step, "torn-body", FaultEffect::TornBody)
    }

    /// Appends white space to the correct response, to more than 1 MiB. Only a size limit refuses
    /// it.
    pub fn oversized_body(step: Step) -> Self {
        Self::new(step, "oversized-body", FaultEffect::OversizedBody)
    }

    /// Omits the last brace of the correct response.
    pub fn malformed_json(step: Step) -> Self {
        Self::new(step, "malformed-json", FaultEffect::MalformedJson)
    }

    /// Redirects to this URL with a 307.
    pub fn redirect(step: Step, location: &str) -> Self {
        Self::status(step, 307).header("location", location)
    }

    /// Returns an OAuth error from the token endpoint with these AADSTS codes. The status is 401
    /// for `invalid_client` (RFC 6749 §5.2), and 400 otherwise.
    pub fn oauth_error(error: &str, codes: &[u64]) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        Self::new(
            Step::Token,
            "oauth-error",
            FaultEffect::OAuthError {
                status,
                error: error.to_owned(),
                codes: codes.to_vec(),
                headers: Vec::new(),
            },
        )
    }

    /// Returns a claims challenge: `interaction_required` with `claims` from the token endpoint, or
    /// a 401 with `insufficient_claims` from the resource.
    pub fn claims_challenge(step: Step, claims: &str) -> Self {
        Self::new(step, "claims-challenge", FaultEffect::ClaimsChallenge(claims.to_owned()))
    }

    /// Returns a bearer token without `cnf` to a request for a bound token.
    pub fn downgrade_to_bearer() -> Self {
        Self::new(Step::Token, "downgrade-to-bearer", FaultEffect::DowngradeToBearer)
    }

    /// Returns a bound token that confirms another certificate.
    pub fn wrong_cnf() -> Self {
        Self::new(Step::Token, "wrong-cnf", FaultEffect::WrongConfirmation)
    }

    /// Omits `token_type` from a token response.
    pub fn without_token_type(step: Step) -> Self {
        Self::new(step, "without-token-type", FaultEffect::WithoutTokenType)
    }

    /// Changes the format of the expiry in the token response of a host other than a virtual
    /// machine.
    pub fn expiry(step: Step, format: ExpiryFormat) -> Self {
        Self::new(step, "expiry", FaultEffect::Expiry(format))
    }

    /// Omits `access_token` from a token response.
    pub fn without_access_token(step: Step) -> Self {
        Self::new(step, "without-access-token", FaultEffect::WithoutAccessToken)
    }

    /// Omits the `Server` header that identifies the metadata service.
    pub fn without_server_header(step: Step) -> Self {
        Self::new(step, "without-server-header", FaultEffect::WithoutServerHeader)
    }

    /// Returns a 404, as while an assigned identity has not reached the metadata service yet.
    /// Usually [for a period](Self::lasting).
    pub fn identity_not_found(step: Step) -> Self {
        Self::status(step, 404).body(
            r#"{"error":"not_found","error_description":"Identity not found: it has not propagated yet"}"#,
        )
    }

    /// Returns a 410, as the metadata service does for up to 70 seconds during an update. Usually
    /// [for a period](Self::lasting).
    pub fn gone(step: Step) -> Self {
        Self::status(step, 410)
            .body(r#"{"error":"gone","error_description":"The service is being updated: try again later"}"#)
    }

    /// Returns a 429 with `Retry-After: 1` to requests above this number per second,
    /// [always](Self::always) by default. Other faults of the step apply to the remaining requests.
    pub fn throttle(step: Step, per_second: NonZeroU32) -> Self {
        Self::new(step, "throttle", FaultEffect::Throttle { per_second }).always()
    }

    /// Answers a TLS handshake with a fatal alert, by its number (RFC 8446 §6): 40 is
    /// `handshake_failure`, 42 `bad_certificate`, 80 `internal_error`.
    pub fn tls_alert(number: u8) -> Self {
        Self::new(Step::Handshake, "tls-alert", FaultEffect::TlsAlert(number))
    }

    /// Refuses every client certificate in a TLS handshake, with the alert `certificate_revoked`. A
    /// client without a certificate is served.
    pub fn refuse_certificate() -> Self {
        Self::new(Step::Handshake, "refuse-certificate", FaultEffect::RefuseCertificate)
    }

    /// [Revokes](crate::Emulator::revoke) the client certificate permanently, before the request is
    /// processed.
    pub fn revoke_certificate(step: Step) -> Self {
        Self::new(step, "revoke-certificate", FaultEffect::RevokeCertificate)
    }

    /// [Renews](crate::Emulator::renew) the client certificate and revokes the old one, before the
    /// request is processed.
    pub fn renew_certificate(step: Step) -> Self {
        Self::new(step, "renew-certificate", FaultEffect::RenewCertificate)
    }

    /// [Reboots](crate::Emulator::reboot) the machine during the request.
    pub fn reboot(step: Step) -> Self {
        Self::new(step, "reboot", FaultEffect::Reboot)
    }

    /// Issues a defective certificate.
    pub fn certificate(fault: CertificateFault) -> Self {
        Self::new(Step::IssueCredential, "certificate", FaultEffect::Certificate(fault))
    }

    /// Adds a header to a [`status`](Self::status) or an [`oauth_error`](Self::oauth_error). Faults
    /// of other kinds do not change.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let FaultEffect::Status { headers, .. } | FaultEffect::OAuthError { headers, .. } =
            &mut self.effect
        {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body of a [`status`](Self::status), sent as JSON unless a header is added. Faults
    /// of other kinds do not change.
    pub fn body(mut self, text: impl Into<Bytes>) -> Self {
        if let FaultEffect::Status { body, .. } = &mut self.effect {
            *body = text.into();
        }
        self
    }

    /// Sets the HTTP status of an [`oauth_error`](Self::oauth_error). Faults of other kinds do not
    /// change.
    pub fn with_status(mut self, code: u16) -> Self {
        if let FaultEffect::OAuthError { status, .. } = &mut self.effect {
            *status = code;
        }
        self
    }

    /// Limits a fault of [`Step::Handshake`] to one server: the resource then refuses a certificate
    /// that the token service accepts. Faults of other steps do not change.
    pub fn at_server(mut self, server: Server) -> Self {
        self.server = Some(server).filter(|_| self.step == Step::Handshake);
        self
    }

    /// Delays the fault, on the emulator's clock.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Applies to one request, the default.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Applies to `n` requests.
    pub fn times(mut self, n: u64) -> Self {
        self.limit = FaultLimit::Times(n);
        self
    }

    /// Applies to every request for this period, starting at the first one, on the emulator's
    /// clock.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.limit = FaultLimit::Lasting(duration);
        self
    }

    /// Applies a [claims challenge](Self::claims_challenge) of the resource to each request whose
    /// token was not issued with these claims. Other faults do not change.
    pub fn until_satisfied(mut self) -> Self {
        if self.step == Step::Resource && matches!(self.effect, FaultEffect::ClaimsChallenge(_)) {
            self.limit = FaultLimit::UntilSatisfied;
        }
        self
    }

    /// Applies to every request until the faults are cleared.
    pub fn always(mut self) -> Self {
        self.limit = FaultLimit::Always;
        self
    }
}

// Omits bodies and claims.
symbolon_types::debug_fields!(Fault: step, name, delay, limit);
