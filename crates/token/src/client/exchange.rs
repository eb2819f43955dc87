//! The one exchange: every token that a token endpoint issues comes through here.

use std::sync::Arc;
use std::time::SystemTime;

use symbolon_lease::LeaseKey;
use symbolon_transport::{Response, TransportError, TransportErrorKind, is_transient_status, timeout};
use symbolon_types::{CorrelationId, Error, ErrorKind, SigningError};

use super::parts::{ClientParts, timed_out};
use crate::authority::RegionOutcome;
use crate::cache::events;
use crate::credential::{ClientAuth, CredentialRequest, Purpose};
use crate::oauth::{
    CredentialRejection, ErrorResponse, FetchReason, Grant, Parameters, RoutingHint, Subject,
    TelemetryHeader, TokenRequestBody, TokenResponse,
};
use crate::token::{CacheKey, IssuedToken, RefreshToken};

/// One exchange to be made.
pub(crate) struct Exchange {
    pub(crate) parts: Arc<ClientParts>,
    pub(crate) proof_of_possession: bool,
    pub(crate) tenant: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) subject: Subject,
    /// What the token is cached under.
    pub(crate) audience: String,
    /// The scopes that are asked for.
    pub(crate) scope: String,
    pub(crate) client_claims: Option<String>,
    /// All claims, merged.
    pub(crate) claims: Option<String>,
    pub(crate) parameters: Parameters,
    pub(crate) routing_hint: Option<RoutingHint>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) reason: FetchReason,
    /// What the look-up found out about the region.
    pub(crate) region: RegionOutcome,
}

/// A failed attempt, and whether it is the credential that failed.
struct Attempt {
    error: Error,
    refusal: Option<CredentialRejection>,
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self { error, refusal: None }
    }
}

/// Why a request got no response: it could not be made, or not be sent.
enum Unsent {
    Unmade(Error),
    Unanswered(TransportError),
}

impl From<TransportError> for Unsent {
    fn from(error: TransportError) -> Self {
        Self::Unanswered(error)
    }
}

impl Exchange {
    /// Gets the token, within the deadline.
    pub(crate) async fn run(self) -> Result<IssuedToken, Error> {
        let parts = Arc::clone(&self.parts);
        let correlation_id = self.correlation_id;
        let outcome = timeout(parts.http.context().clock(), parts.deadline, self.recovering()).await;
        outcome.unwrap_or_else(|| Err(timed_out().with_correlation_id(correlation_id)))
    }

    /// An attempt; and, when the credential was refused and has a successor, one more.
    async fn recovering(self) -> Result<IssuedToken, Error> {
        let auth = self.resolve().await?;
        let Attempt { error, refusal } = match self.attempt(&auth).await {
            Ok(fetched) => return Ok(fetched),
            Err(attempt) => attempt,
        };
        let Some(refusal) = refusal else { return Err(error) };
        let has_successor = self.parts.credential.refused_erased(&auth, &refusal).await;
        events::credential_refused(&error, has_successor);
        if !has_successor {
            return Err(error);
        }
        let successor = self.resolve().await?;
        self.attempt(&successor).await.map_err(|attempt| attempt.error)
    }

    async fn resolve(&self) -> Result<ClientAuth, Error> {
        let parts = &self.parts;
        let wanted = CredentialRequest {
            purpose: Purpose::Exchange,
            proof_of_possession: self.proof_of_possession,
            for_user: self.grant.is_for_user(),
            tenant: self.tenant.as_deref(),
            correlation_id: Some(self.correlation_id),
            now: parts.http.context().clock().now(),
            http: &parts.http,
        };
        let auth = parts.credential.resolve_erased(&wanted).await?;
        check(&auth, self.proof_of_possession, parts.http.context().clock().now())?;
        Ok(auth)
    }

    async fn attempt(&self, auth: &ClientAuth) -> Result<IssuedToken, Attempt> {
        let ClientParts { http, retry, cache, caller, .. } = &*self.parts;
        let key = self.key(auth);
        let stored = self.stored_refresh_token(auth).await?;
        let grant = stored.as_ref().map(|stored| Grant::RefreshToken { token: stored.secret.clone() });
        let scheme = auth.scheme();
        let telemetry = TelemetryHeader {
            grant: &self.grant,
            subject: &self.subject,
            managed_identity: auth.managed_identity(),
            is_bound: scheme.bound_to().is_some(),
            reason: self.reason,
            // The lookup detected the region; the exchange only remembers it.
            region: if self.region.is_new() { &self.region } else { auth.region() }.telemetry_fields(),
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
                credentials: auth.parameters(http.context().clock().now()).map_err(Unsent::Unmade)?,
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
            Err(Unsent::Unmade(error)) => Err(error.into()),
            Err(Unsent::Unanswered(error)) => Err(unanswered(error)),
        };
        match outcome {
            Ok((granted, attempts, took)) => {
                Ok(self.fetched(auth, granted, stored).await.after(attempts, took))
            }
            Err(attempt) => {
                self.parts.throttle.note(key.to_key(), &attempt.error);
                if let (Some(stored), "invalid_grant", Some(subject)) =
                    (&stored, attempt.error.code(), self.subject.name())
                {
                    cache.forget_refresh_token(auth.partition(), subject, Some(&stored.secret)).await;
                }
                Err(Attempt { error: attempt.error.with_correlation_id(self.correlation_id), ..attempt })
            }
        }
    }

    /// The refresh token to use, for a grant that is founded on one that we keep.
    async fn stored_refresh_token(&self, auth: &ClientAuth) -> Result<Option<RefreshToken>, Error> {
        if !matches!(self.grant, Grant::StoredRefreshToken) {
            return Ok(None);
        }
        let subject = self.subject.name().unwrap_or_default();
        let stored = self.parts.cache.refresh_token(auth.partition(), subject).await;
        stored.map(Some).ok_or_else(|| {
            let error = "there is no refresh token for this user; nothing was sent";
            Error::new(ErrorKind::Request, "no_tokens_found", error).with_advice("let the user sign in again")
        })
    }

    /// Where the user is: as the caller says, or as the account of the refresh token that is used.
    fn routing_hint(&self, used: Option<&RefreshToken>) -> Option<RoutingHint> {
        if !self.grant.is_for_user() {
            return None;
        }
        let of_account = || RoutingHint::of_account(used?.account.as_ref()?);
        self.routing_hint.clone().or_else(of_account)
    }

    /// What was granted, stored where it belongs.
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
        let key = self.key(auth).about(subject.as_deref()).to_key();
        IssuedToken::new(granted.secret, granted.expiry, auth.scheme().clone(), self.correlation_id)
            .with_client_id(Some(auth.shared_client_id()))
            .with_tenant_id(auth.shared_tenant_id())
            .about(account)
            .stored_under(key)
    }

    fn key<'k>(&'k self, auth: &'k ClientAuth) -> CacheKey<'k> {
        auth.cache_key(&self.audience, self.proof_of_possession)
            .about(self.subject.name())
            .with_client_claims(self.client_claims.as_deref())
            .with_parameters(self.parameters.keyed())
    }

    fn read(&self, auth: &ClientAuth, response: &Response) -> Result<TokenResponse, Attempt> {
        // RFC 6749 §5.1: a success is 200.
        if response.status() != http::StatusCode::OK {
            return Err(self.refused(response));
        }
        TokenResponse::read(response, auth.scheme(), self.grant.nonce())
            .map_err(|error| error.with_status(200).into())
    }

    fn refused(&self, response: &Response) -> Attempt {
        let status = response.status();
        let is_transient = is_transient_status(status);
        let retry_after = response.retry_after(self.parts.http.context().clock().now());
        let Some(ErrorResponse { code, server_codes, claims, description }) = ErrorResponse::read(response)
        else {
            let error = "the token service answered something that is not an OAuth error";
            return Error::new(ErrorKind::Service, "invalid_response", error)
                .with_advice("check that the endpoint is a token endpoint and not a proxy in front of it")
                .with_status(status.as_u16())
                .with_transient(is_transient)
                .with_retry_after(retry_after)
                .with_excerpt(&String::from_utf8_lossy(response.body()))
                .into();
        };
        let refusal = CredentialRejection::of(&code, &server_codes);
        let (kind, summary) = match refusal {
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
            Some(description) => error.with_excerpt(&description),
            None => error,
        };
        Attempt { error, refusal }
    }
}

/// A credential that would be refused, or a token that would not be what was asked for.
fn check(auth: &ClientAuth, wants_bound: bool, now: SystemTime) -> Result<(), Error> {
    if wants_bound && auth.scheme().bound_to().is_none() {
        let error = "this credential cannot bind a token to a certificate; nothing was sent";
        return Err(Error::new(ErrorKind::Request, "mtls_certificate_not_provided", error)
            .with_advice("use a credential with a certificate, or ask for a bearer token"));
    }
    match auth.identity() {
        Some(identity) if now >= identity.usable_until() => {
            let error = "the client certificate has expired; nothing was sent";
            Err(Error::new(ErrorKind::Credential, "invalid_certificate", error)
                .with_advice("renew the certificate, and check the clock of this machine"))
        }
        _ => Ok(()),
    }
}

/// What to do about the codes that people meet. (Entra's documentation of AADSTS codes.)
fn advice(server_codes: &[u32], is_challenge: bool, is_transient: bool) -> &'static str {
    if is_challenge {
        return "ask again with the claims of this error";
    }
    for code in server_codes {
        return match code {
            7_000_215 | 7_000_222 => "check the client secret, and that it has not expired",
            700_016 | 7_000_229 => "check the client id, and that the application exists in this tenant",
            700_027 => {
                "check that the certificate is registered for the application, and the clock of this machine"
            }
            90_002 => "check the tenant",
            500_011 | 650_057 => "check the resource, and that the client may ask for it",
            392_196 => "the resource does not accept bound tokens; ask for a bearer token",
            392_200 => {
                "the client certificate did not reach the service; a proxy that ends TLS would cause this"
            }
            51_000 => "mutual-TLS client authentication is not enabled for this client",
            1_000_901 => "the certificate is past the time until which it gets tokens",
            _ => continue,
        };
    }
    if is_transient {
        "try again later"
    } else {
        "look up the code in the documentation of the token service"
    }
}

fn unanswered(error: TransportError) -> Attempt {
    let refusal = match error.kind() {
        TransportErrorKind::IdentityRejected => Some(CredentialRejection::Tls),
        TransportErrorKind::IdentityUnusable if is_key_gone(&error) => Some(CredentialRejection::KeyGone),
        _ => None,
    };
    let error = error.into_error("the token service could not be asked for a token");
    Attempt { error, refusal }
}

fn is_key_gone(error: &TransportError) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.any(|cause| matches!(cause.downcast_ref(), Some(SigningError::Gone(_))))
}
