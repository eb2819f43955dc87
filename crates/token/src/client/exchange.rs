//! The exchange with the token endpoint: the only place that sends token requests.

use std::sync::Arc;

use symbolon_lease::LeaseKey;
use symbolon_transport::{Response, TransportError, TransportErrorKind, is_transient_status};
use symbolon_types::{CorrelationId, Error, ErrorKind, SigningError};

use super::authenticate::authenticate;
use super::parts::{ClientParts, Started};
use crate::cache::events;
use crate::credential::{ClientAuth, CredentialRequest};
use crate::oauth::{
    CredentialRejection, ErrorResponse, FetchReason, Grant, Parameters, RoutingHint, Subject,
    TelemetryHeader, TokenRequestBody, TokenResponse,
};
use crate::token::{CacheKey, IssuedToken, RefreshToken, TokenKey};

/// One exchange, before it is made.
pub(crate) struct TokenExchange {
    pub(super) parts: Arc<ClientParts>,
    /// The key of the request.
    pub(super) key: TokenKey,
    /// The authentication, if the key depended on it.
    pub(super) auth: Option<ClientAuth>,
    pub(super) proof_of_possession: bool,
    pub(super) tenant: Option<String>,
    pub(super) grant: Grant,
    pub(super) subject: Subject,
    pub(super) scope: String,
    /// All claims, merged.
    pub(super) claims: Option<String>,
    pub(super) parameters: Parameters,
    pub(super) routing_hint: Option<RoutingHint>,
    pub(super) correlation_id: CorrelationId,
    pub(super) reason: FetchReason,
    pub(super) started: Started,
}

/// A failed attempt; with a rejection if the credential is the cause.
struct FailedAttempt {
    error: Error,
    rejection: Option<CredentialRejection>,
}

impl From<Error> for FailedAttempt {
    fn from(error: Error) -> Self {
        Self { error, rejection: None }
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
        let (parts, started, id) = (Arc::clone(&self.parts), self.started, self.correlation_id);
        parts.until(started, self.run_unlimited()).await.map_err(|error| match error.correlation_id() {
            Some(_) => error,
            None => error.with_correlation_id(id),
        })
    }

    /// Sends the token request, and another one if the credential was rejected and has a successor.
    async fn run_unlimited(mut self) -> Result<IssuedToken, Error> {
        let auth = match self.auth.take() {
            Some(auth) => auth,
            None => self.authenticate().await?,
        };
        let FailedAttempt { error, rejection } = match self.attempt(&auth).await {
            Ok(issued) => return Ok(issued),
            Err(failed) => failed,
        };
        let Some(rejection) = rejection else { return Err(error) };
        let has_successor = self.parts.credential.refused_erased(&auth, &rejection).await;
        events::credential_refused(&error, has_successor);
        if !has_successor {
            return Err(error);
        }
        let successor = self.authenticate().await?;
        self.attempt(&successor).await.map_err(|failed| failed.error)
    }

    async fn authenticate(&self) -> Result<ClientAuth, Error> {
        let request = CredentialRequest {
            proof_of_possession: self.proof_of_possession,
            for_user: self.grant.is_for_user(),
            tenant: self.tenant.as_deref(),
            correlation_id: Some(self.correlation_id),
            now: self.parts.http.context().clock().now(),
            http: &self.parts.http,
        };
        authenticate(&self.parts, &request).await
    }

    async fn attempt(&self, auth: &ClientAuth) -> Result<IssuedToken, FailedAttempt> {
        let ClientParts { http, retry, cache, caller, .. } = &*self.parts;
        let stored = self.stored_refresh_token(auth).await?;
        let grant = stored.as_ref().map(|stored| Grant::RefreshToken { token: stored.secret.clone() });
        let scheme = auth.scheme();
        let telemetry = TelemetryHeader {
            grant: &self.grant,
            subject: &self.subject,
            managed_identity: auth.managed_identity(),
            is_bound: scheme.bound_to().is_some(),
            reason: self.reason,
            region: auth.region().telemetry_fields(),
            has_store: cache.has_store(),
            caller,
            parameters: &self.parameters,
        };
        let telemetry = telemetry.value();
        let routing_hint = self.routing_hint(stored.as_ref());
        let began = http.context().clock().now();
        let make = || {
            let body = TokenRequestBody {
                client_id: auth.client_id(),
                credentials: auth.parameters(http.context().clock().now()).map_err(SendError::Build)?,
                scheme,
                grant: grant.as_ref().unwrap_or(&self.grant),
                scope: &self.scope,
                claims: self.claims.as_deref(),
                parameters: &self.parameters,
                correlation_id: self.correlation_id,
                telemetry: telemetry.clone(),
                routing_hint: routing_hint.as_ref(),
            };
            Ok(body.to_request(auth.token_endpoint()).with_identity(auth.identity().cloned()))
        };
        let outcome = match http.send(retry, make).await {
            Ok(sent) => {
                let took = http.context().clock().now().duration_since(began).unwrap_or_default();
                self.read(auth, &sent.response).map(|granted| (granted, sent.attempts, took))
            }
            Err(SendError::Build(error)) => Err(error.into()),
            Err(SendError::Transport(error)) => Err(unanswered(error)),
        };
        match outcome {
            Ok((granted, attempts, took)) => {
                Ok(self.fetched(auth, granted, stored).await.after(attempts, took))
            }
            Err(failed) => {
                self.parts.throttle.note(self.key_of(auth, self.subject.name()), &failed.error);
                if let (Some(stored), "invalid_grant", Some(subject)) =
                    (&stored, failed.error.code(), self.subject.name())
                {
                    cache.forget_refresh_token(auth.partition(), subject, Some(&stored.secret)).await;
                }
                Err(failed)
            }
        }
    }

    /// Returns the stored refresh token, for a grant that uses one.
    async fn stored_refresh_token(&self, auth: &ClientAuth) -> Result<Option<RefreshToken>, Error> {
        if !matches!(self.grant, Grant::StoredRefreshToken) {
            return Ok(None);
        }
        let subject = self.subject.name().unwrap_or_default();
        let stored = self.parts.cache.refresh_token(auth.partition(), subject).await;
        stored.map(Some).ok_or_else(|| {
            let error = "no refresh token is stored for this user; nothing was sent";
            Error::new(ErrorKind::Request, "no_tokens_found", error).with_advice("let the user sign in again")
        })
    }

    /// Returns the routing hint of the caller, or of the account of the refresh token.
    fn routing_hint(&self, used: Option<&RefreshToken>) -> Option<RoutingHint> {
        if !self.grant.is_for_user() {
            return None;
        }
        let of_account = || RoutingHint::of_account(used?.account.as_ref()?);
        self.routing_hint.clone().or_else(of_account)
    }

    /// Stores the refresh token, and returns the access token with its cache key.
    async fn fetched(
        &self,
        auth: &ClientAuth,
        granted: TokenResponse,
        used: Option<RefreshToken>,
    ) -> IssuedToken {
        let cache = &self.parts.cache;
        let account = granted.account.or_else(|| used.as_ref().and_then(|used| used.account.clone()));
        let subject = self.subject.about(account.as_ref());
        if self.subject.keeps_refresh_token()
            && let (Some(secret), Some(subject)) = (granted.refresh_token, &subject)
        {
            let token = RefreshToken { secret, account: account.clone() };
            cache.keep_refresh_token(auth.partition(), subject, token).await;
        }
        let key = self.key_of(auth, subject.as_deref());
        IssuedToken::new(granted.secret, granted.expiry, auth.scheme().clone(), self.correlation_id)
            .with_owner(auth.owner())
            .about(account)
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
            return Err(self.refused(response));
        }
        TokenResponse::read(response, auth.scheme(), self.grant.nonce())
            .map_err(|error| error.with_status(200).into())
    }

    fn refused(&self, response: &Response) -> FailedAttempt {
        let status = response.status();
        let is_transient = is_transient_status(status);
        let retry_after = response.retry_after(self.parts.http.context().clock().now());
        let Some(ErrorResponse { code, server_codes, claims, description }) = ErrorResponse::read(response)
        else {
            let error = "the response of the token service is not an OAuth error";
            return Error::new(ErrorKind::Service, "invalid_response", error)
                .with_advice("check that the endpoint is a token endpoint and not a proxy in front of it")
                .with_status(status.as_u16())
                .with_transient(is_transient)
                .with_retry_after(retry_after)
                .with_excerpt(&String::from_utf8_lossy(response.body()), response.sent_secrets())
                .into();
        };
        let rejection = CredentialRejection::of(&code, &server_codes);
        let (kind, summary) = match rejection {
            Some(_) => (ErrorKind::Credential, "the token service refused the credential of this client"),
            None => (ErrorKind::Service, "the token service refused the request"),
        };
        let error = Error::new(kind, code, summary)
            .with_advice(advice(&server_codes, claims.is_some(), is_transient))
            .with_status(status.as_u16())
            .with_server_codes(server_codes)
            .with_claims(claims)
            .with_transient(is_transient)
            .with_retry_after(retry_after);
        let error = match description {
            Some(description) => error.with_excerpt(&description, response.sent_secrets()),
            None => error,
        };
        FailedAttempt { error, rejection }
    }
}

/// Returns the advice for an error (`docs/protocol/errors.md#aadsts-codes`).
fn advice(server_codes: &[u32], is_challenge: bool, is_transient: bool) -> &'static str {
    if is_challenge {
        return "repeat the request with the claims of this error";
    }
    for code in server_codes {
        return match code {
            7_000_215 | 7_000_222 => "check the client secret, and that it has not expired",
            700_016 | 7_000_229 => "check the client id, and that the application exists in this tenant",
            700_027 => {
                "check that the certificate is registered for the application, and the clock of this machine"
            }
            90_002 => "check the tenant",
            500_011 | 650_057 => "check the resource, and that the client is allowed to request it",
            392_196 => "the resource does not accept bound tokens; request a bearer token",
            392_200 => {
                "the client certificate did not reach the service; check for a proxy that terminates TLS"
            }
            51_000 => "mutual-TLS client authentication is not enabled for this client",
            1_000_901 => "the certificate is no longer accepted for new tokens; renew it",
            _ => continue,
        };
    }
    if is_transient {
        "try again later"
    } else {
        "look up the code in the documentation of the token service"
    }
}

fn unanswered(error: TransportError) -> FailedAttempt {
    let rejection = match error.kind() {
        TransportErrorKind::IdentityRejected => Some(CredentialRejection::Tls),
        TransportErrorKind::IdentityUnusable if is_key_gone(&error) => Some(CredentialRejection::KeyGone),
        _ => None,
    };
    let error = error.into_error("the token request could not be sent");
    FailedAttempt { error, rejection }
}

fn is_key_gone(error: &TransportError) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.any(|cause| matches!(cause.downcast_ref(), Some(SigningError::Gone(_))))
}
