//! The exchange with the token endpoint: the only place that sends token requests.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_lease::LeaseKey;
use symbolon_transport::{Idempotence, Response, TransportError, TransportErrorKind, is_transient_status};
use symbolon_types::advice::entra_advice;
use symbolon_types::{
    Error, ErrorBody, ErrorKind, Event, RefreshReason, RefusalEvent, RefusingParty, RequestMetadata,
    SigningError,
};

use super::owned_request::OwnedRequest;
use super::parts::ClientParts;
use crate::cache::events;
use crate::credential::ClientAuth;
use crate::oauth::{
    CredentialRejection, ErrorResponse, Grant, RoutingHint, TelemetryHeader, TokenRequestBody, TokenResponse,
    advice, concerns_federation, described,
};
use crate::token::{CacheKey, Issuance, IssuedToken, RefreshToken, TokenKey};

/// One exchange, before it is made.
pub(crate) struct TokenExchange {
    pub(super) request: Arc<OwnedRequest>,
    /// The key of the request.
    pub(super) key: TokenKey,
    /// The authentication, if the key depended on it.
    pub(super) auth: Option<ClientAuth>,
    pub(super) reason: RefreshReason,
    pub(super) trace: Arc<Mutex<ExchangeTrace>>,
}

/// The progress of an exchange, for the metadata of its error.
#[derive(Default)]
pub(super) struct ExchangeTrace {
    issuance: Option<Arc<Issuance>>,
    /// The time of HTTP requests that have ended.
    http: Duration,
}

/// A failed attempt; with a rejection if the credential is the cause.
struct FailedAttempt {
    error: Error,
    rejection: Option<CredentialRejection>,
    /// True if the server has provably not processed the grant.
    is_unprocessed: bool,
}

impl FailedAttempt {
    /// The failure before anything is sent.
    fn unsent(error: Error) -> Self {
        Self { error, rejection: None, is_unprocessed: true }
    }
}

/// The reason why a request got no response: it could not be built, or not be sent.
enum SendError {
    Build(Error),
    Transport(TransportError),
}

impl From<TransportError> for SendError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl TokenExchange {
    /// Requests the token, within the time limit of the request.
    pub(super) async fn run(self) -> Result<IssuedToken, Error> {
        let (parts, started, id) =
            (Arc::clone(&self.request.parts), self.request.started, self.request.correlation_id);
        let trace = Arc::clone(&self.trace);
        let is_code = matches!(self.request.grant, Grant::AuthorizationCode(_));
        parts.until(started, "the credential and the token service", self.run_unlimited()).await.map_err(
            |error| {
                // The time limit may have ended an attempt.
                let error = if is_code && error.code() == "timeout" { code_used(error) } else { error };
                let error = error.with_metadata(|metadata| lock(&trace).describe(metadata));
                match error.correlation_id() {
                    Some(_) => error,
                    None => error.with_correlation_id(id),
                }
            },
        )
    }

    /// Sends the token request, and another one if the credential was rejected and has a successor.
    async fn run_unlimited(mut self) -> Result<IssuedToken, Error> {
        let auth = match self.auth.take() {
            Some(auth) => auth,
            None => self.request.authenticate().await?,
        };
        let failed = match self.attempt(&auth).await {
            Ok(issued) => return Ok(issued),
            Err(failed) => failed,
        };
        let Some(rejection) = &failed.rejection else { return Err(self.failure(&auth, failed)) };
        let has_successor = self.request.parts.credential.refused_erased(&auth, rejection).await;
        events::credential_refused(&failed.error, has_successor);
        let refusal = || Event::Refusal(RefusalEvent::new(RefusingParty::TokenService, has_successor));
        self.request.parts.http.context().observer().emit(refusal);
        if has_successor
            && rejection.withdraws_tokens()
            && let Some(identity) = auth.identity()
        {
            self.request.parts.refuse_certificate(identity.thumbprint());
        }
        if !has_successor || self.request.grant.is_one_time() && !failed.is_unprocessed {
            return Err(self.failure(&auth, failed));
        }
        let successor = self.request.authenticate().await?;
        // The credential kept its certificate, and the loss was retried already.
        if *rejection == CredentialRejection::Lost && successor.identity() == auth.identity() {
            return Err(failed.error);
        }
        self.attempt(&successor).await.map_err(|failed| self.failure(&successor, failed))
    }

    /// Returns the error of the exchange. A refusal of the credential is remembered, because the
    /// same credential would be refused again.
    fn failure(&self, auth: &ClientAuth, failed: FailedAttempt) -> Error {
        let FailedAttempt { error, rejection, .. } = failed;
        let is_refusal =
            matches!(rejection, Some(CredentialRejection::Tls | CredentialRejection::Client { .. }));
        if is_refusal && !error.is_transient() {
            let key = self.key_of(auth, self.request.subject.name());
            self.request.parts.throttle.refused.insert(key, auth.digest(), &error);
        }
        error
    }

    async fn attempt(&self, auth: &ClientAuth) -> Result<IssuedToken, FailedAttempt> {
        let ClientParts { http, retry, cache, caller, .. } = &*self.request.parts;
        let stored = self.stored_refresh_token(auth).await.map_err(FailedAttempt::unsent)?;
        let grant = stored.as_ref().map(|stored| Grant::RefreshToken { token: stored.secret.clone() });
        let scheme = auth.scheme();
        let telemetry = TelemetryHeader {
            grant: &self.request.grant,
            subject: &self.request.subject,
            managed_identity: auth.managed_identity(),
            is_bound: scheme.bound_to().is_some(),
            reason: self.reason,
            region: auth.region().telemetry_fields(),
            has_store: cache.has_full_store(),
            caller,
            parameters: &self.request.parameters,
        };
        let telemetry = telemetry.value();
        let routing_hint = self.routing_hint(auth, stored.as_ref());
        let idempotence = match (self.request.grant.is_one_time(), auth.has_fresh_parameters()) {
            (true, _) => Idempotence::None,
            (false, true) => Idempotence::Operation,
            (false, false) => Idempotence::Message,
        };
        let clock = http.context().clock();
        let issuance = self.request.parts.issuance(auth);
        lock(&self.trace).issuance = Some(Arc::clone(&issuance));
        let began = clock.steady_now();
        let make = || {
            let body = TokenRequestBody {
                client_id: auth.client_id(),
                credentials: auth.parameters(clock.now()).map_err(SendError::Build)?,
                scheme,
                grant: grant.as_ref().unwrap_or(&self.request.grant),
                scope: &self.request.scope,
                claims: self.request.claims.as_deref(),
                parameters: &self.request.parameters,
                correlation_id: self.request.correlation_id,
                telemetry: telemetry.clone(),
                routing_hint: routing_hint.as_ref(),
            };
            let request = body.to_request(auth.token_endpoint()).with_identity(auth.identity().cloned());
            Ok(request.with_idempotence(idempotence))
        };
        let sent = http.send(retry, make).await;
        let took = clock.steady_now().since(began);
        lock(&self.trace).http += took;
        let outcome = match sent {
            Ok(sent) => self.read(auth, &sent.response).map(|granted| (granted, sent.attempts, took)),
            Err(SendError::Build(error)) => Err(FailedAttempt::unsent(error)),
            Err(SendError::Transport(error)) => Err(unanswered(error)),
        };
        match outcome {
            Ok((granted, attempts, took)) => {
                self.request.parts.throttle.refused.remove(&self.key_of(auth, self.request.subject.name()));
                Ok(self.fetched(auth, granted, stored, issuance).await.after(attempts, took))
            }
            Err(mut failed) => {
                if matches!(self.request.grant, Grant::AuthorizationCode(_))
                    && failed.error.is_transient()
                    && !failed.is_unprocessed
                {
                    failed.error = code_used(failed.error);
                }
                self.request
                    .parts
                    .throttle
                    .note(self.key_of(auth, self.request.subject.name()), &failed.error);
                if let (Some(stored), "invalid_grant", Some(subject)) =
                    (&stored, failed.error.code(), self.request.subject.name())
                {
                    cache.forget_refresh_token(auth.partition(), subject, Some(&stored.secret)).await;
                }
                Err(failed)
            }
        }
    }

    /// Returns the stored refresh token, for a grant that uses one.
    async fn stored_refresh_token(&self, auth: &ClientAuth) -> Result<Option<RefreshToken>, Error> {
        if !matches!(self.request.grant, Grant::StoredRefreshToken) {
            return Ok(None);
        }
        let subject = self.request.subject.name().unwrap_or_default();
        let stored = self.request.parts.cache.refresh_token(auth.partition(), subject).await;
        stored.map(Some).ok_or_else(|| {
            let error = "no refresh token is stored for this user; nothing was sent";
            Error::new(ErrorKind::Request, "no_tokens_found", error).with_advice("let the user sign in again")
        })
    }

    /// Returns the routing hint of the caller, of the grant, or of the account of the refresh
    /// token.
    fn routing_hint(&self, auth: &ClientAuth, used: Option<&RefreshToken>) -> Option<RoutingHint> {
        let OwnedRequest { grant, routing_hint, .. } = &*self.request;
        if !grant.is_for_user() {
            return None;
        }
        let of_account = || RoutingHint::of_account(used?.account.as_ref()?);
        routing_hint.clone().or_else(|| grant.routing_hint(auth.tenant_id())).or_else(of_account)
    }

    /// Stores the refresh token, and returns the access token with its cache key.
    async fn fetched(
        &self,
        auth: &ClientAuth,
        granted: TokenResponse,
        used: Option<RefreshToken>,
        issuance: Arc<Issuance>,
    ) -> IssuedToken {
        let cache = &self.request.parts.cache;
        let account = granted.account.or_else(|| used.as_ref().and_then(|used| used.account.clone()));
        let subject = self.request.subject.about(account.as_ref());
        if self.request.subject.keeps_refresh_token(account.as_ref())
            && let (Some(secret), Some(subject)) = (granted.refresh_token, &subject)
        {
            let token = RefreshToken { secret, account: account.clone() };
            cache.keep_refresh_token(auth.partition(), subject, token).await;
        }
        let key = self.key_of(auth, subject.as_deref());
        // A token that the request leads to under another key is not recorded by the request.
        if let (Some(identity), true) = (auth.scheme().bound_to(), key != self.key) {
            self.request.parts.bound_tokens.record(&key, identity);
        }
        IssuedToken::new(granted.token, granted.expiry, auth.scheme().clone(), self.request.correlation_id)
            .with_owner(auth.owner())
            .about(account)
            .with_issuance(match granted.parameters {
                None => issuance,
                parameters => Arc::new(Issuance { parameters, ..(*issuance).clone() }),
            })
            .stored_under(key)
    }

    /// Returns the key under which the token of this authentication is cached.
    fn key_of(&self, auth: &ClientAuth, subject: Option<&str>) -> TokenKey {
        let requested = self.key.borrowed();
        let identity = auth.cache_identity();
        let key = CacheKey {
            subject,
            client_claims: requested.client_claims,
            parameters: requested.parameters,
            ..identity.key(requested.audience)
        };
        key.to_key()
    }

    fn read(&self, auth: &ClientAuth, response: &Response) -> Result<TokenResponse, FailedAttempt> {
        // RFC 6749 §5.1: a success is 200.
        if response.status() != http::StatusCode::OK {
            return Err(self.refused(auth, response));
        }
        let read = TokenResponse::read(response, auth.scheme(), auth.client_id(), self.request.grant.nonce());
        read.map_err(|error| FailedAttempt {
            error: error.with_status(200),
            rejection: None,
            is_unprocessed: false,
        })
    }

    fn refused(&self, auth: &ClientAuth, response: &Response) -> FailedAttempt {
        let status = response.status();
        let is_transient = is_transient_status(status);
        let retry_after = response.retry_after(self.request.parts.http.context().clock().now());
        let Some(ErrorResponse { code, server_codes, claims, suberror, description }) =
            ErrorResponse::read(response)
        else {
            let (code, summary, advice) = if is_transient {
                let summary = format!("the token service is not available (HTTP status {})", status.as_u16());
                (
                    "temporarily_unavailable",
                    summary,
                    "try again later; if it lasts, look for a proxy in front of it",
                )
            } else {
                let summary = "the response of the token service is not an OAuth error".to_owned();
                (
                    "invalid_response",
                    summary,
                    "check that the endpoint is a token endpoint and not a proxy in front of it",
                )
            };
            let body = ErrorBody::parse(response.body()).filter(|body| !body.is_empty());
            let (text, server_codes) = match body {
                Some(body) => (body.to_string().into(), body.server_codes(response.sent_secrets())),
                None => (String::from_utf8_lossy(response.body()), Vec::new()),
            };
            let error = Error::new(ErrorKind::Service, code, summary)
                .with_advice(entra_advice(&server_codes).unwrap_or(advice))
                .with_status(status.as_u16())
                .with_server_codes(server_codes)
                .with_transient(is_transient)
                .with_retry_after(retry_after)
                .with_excerpt(&text, response.sent_secrets());
            return FailedAttempt { error, rejection: None, is_unprocessed: response.is_unprocessed() };
        };
        let rejection = CredentialRejection::of(&code, &server_codes);
        let (kind, summary) = match rejection {
            Some(_) => (ErrorKind::Credential, "the token service refused the credential of this client"),
            None => (ErrorKind::Service, "the token service refused the request"),
        };
        let advice = match &claims {
            Some(_) => "repeat the request with the claims of this error",
            None => advice(&code, &server_codes, is_transient),
        };
        let concerns_assertion = claims.is_none() && concerns_federation(&server_codes);
        let assertion = auth.foreign_assertion().filter(|_| concerns_assertion);
        let advice = match assertion.and_then(|assertion| described(assertion.expose())) {
            Some(assertion) => Cow::Owned(format!("{advice}; {assertion}")),
            None => Cow::Borrowed(advice),
        };
        let error = Error::new(kind, code, summary)
            .with_advice(advice)
            .with_status(status.as_u16())
            .with_server_codes(server_codes)
            .with_claims(claims)
            .with_suberror(suberror)
            .with_transient(is_transient)
            .with_retry_after(retry_after);
        let error = match description {
            Some(description) => error.with_excerpt(&description, response.sent_secrets()),
            None => error,
        };
        // The client is authenticated before its grant is processed (RFC 6749 §3.2.1).
        let is_unprocessed = rejection.is_some() || response.is_unprocessed();
        FailedAttempt { error, rejection, is_unprocessed }
    }
}

impl ExchangeTrace {
    fn describe(&self, metadata: &mut RequestMetadata) {
        metadata.http_duration = self.http;
        if let Some(issuance) = &self.issuance {
            issuance.describe(metadata);
        }
    }
}

fn lock(trace: &Mutex<ExchangeTrace>) -> MutexGuard<'_, ExchangeTrace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the error of an authorization code that the server may have processed. The same request
/// must not be sent again (RFC 6749 §4.1.2).
fn code_used(error: Error) -> Error {
    error
        .with_transient(false)
        .with_advice("let the user sign in again: the authorization code may have been used, and counts once")
}

fn unanswered(error: TransportError) -> FailedAttempt {
    let rejection = rejection(&error);
    let is_unprocessed = error.is_unprocessed();
    let error = error.into_error("the token request got no response");
    FailedAttempt { error, rejection, is_unprocessed }
}

/// Returns the rejection of a certificate that a request without a response stands for, if any.
pub(super) fn rejection(error: &TransportError) -> Option<CredentialRejection> {
    match error.kind() {
        TransportErrorKind::IdentityRejected if is_loss(error) => Some(CredentialRejection::Lost),
        TransportErrorKind::IdentityRejected => Some(CredentialRejection::Tls),
        TransportErrorKind::IdentityUnusable if is_key_gone(error) => Some(CredentialRejection::KeyGone),
        _ => None,
    }
}

fn is_key_gone(error: &TransportError) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(SigningError::Gone(_))))
}

/// Returns `true` if the connection was lost without an alert. Implementations of TLS report an
/// alert as invalid data.
fn is_loss(error: &TransportError) -> bool {
    let is_alert = |cause: &io::Error| cause.kind() == io::ErrorKind::InvalidData;
    causes(error).next().is_some() && !causes(error).any(|cause| cause.downcast_ref().is_some_and(is_alert))
}

/// Iterates over the causes of an error. The source of an `io::Error` is that of the error which it
/// wraps, so the wrapped error itself is added.
fn causes(error: &TransportError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| match cause.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|wrapped| wrapped as _),
        None => cause.source(),
    })
}
