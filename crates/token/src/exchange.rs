//! The one exchange: every token that a token endpoint issues comes through here.

use std::sync::Arc;
use std::time::Duration;

use symbolon_transport::{HttpClient, Response, RetryPolicy, TransportError, TransportErrorKind, within};
use symbolon_types::lease::LeaseKey;
use symbolon_types::{CorrelationId, Error, ErrorKind};
use tracing::debug;

use crate::cache::Fetched;
use crate::credential::ErasedCredential;
use crate::form::{Grant, token_request};
use crate::response::{Denied, denied, granted};
use crate::{CacheKey, ClientAuth, CredentialRequest, Refusal};

/// What all exchanges of a client share.
#[derive(Debug)]
pub(crate) struct Exchanger {
    pub(crate) http: HttpClient,
    pub(crate) credential: Arc<dyn ErasedCredential>,
    pub(crate) retry: RetryPolicy,
    pub(crate) deadline: Duration,
}

/// One exchange to be made.
pub(crate) struct Exchange {
    pub(crate) exchanger: Arc<Exchanger>,
    pub(crate) auth: ClientAuth,
    pub(crate) wanted: CredentialRequest,
    pub(crate) audience: String,
    pub(crate) scope: String,
    pub(crate) client_claims: Option<String>,
    /// All claims, merged.
    pub(crate) claims: Option<String>,
    pub(crate) correlation_id: CorrelationId,
}

/// A failed attempt, and whether it is the credential that failed.
struct Attempt {
    error: Error,
    refusal: Option<Refusal>,
}

impl Exchange {
    /// Gets the token, within the deadline.
    pub(crate) async fn run(self) -> Result<Fetched, Error> {
        let exchanger = Arc::clone(&self.exchanger);
        let correlation_id = self.correlation_id;
        let outcome = within(exchanger.http.clock(), exchanger.deadline, self.recovering()).await;
        outcome.unwrap_or_else(|| Err(timed_out().with_correlation_id(correlation_id)))
    }

    /// An attempt; and, when the credential was refused and has a successor, one more.
    async fn recovering(mut self) -> Result<Fetched, Error> {
        let Attempt { error, refusal } = match self.attempt().await {
            Ok(fetched) => return Ok(fetched),
            Err(attempt) => attempt,
        };
        let Some(refusal) = refusal else { return Err(error) };
        let credential = &self.exchanger.credential;
        let has_successor = credential.refused_erased(&self.auth, &refusal).await;
        debug!(code = error.code(), has_successor, "the credential was refused");
        if !has_successor {
            return Err(error);
        }
        self.auth = credential.resolve_erased(&self.wanted).await?;
        let fetched = self.attempt().await.map_err(|attempt| attempt.error)?;
        let key = CacheKey::of(&self.auth, &self.audience, self.client_claims.as_deref()).to_key();
        Ok(fetched.stored_under(key))
    }

    async fn attempt(&self) -> Result<Fetched, Attempt> {
        let Exchanger { http, retry, .. } = &*self.exchanger;
        let grant =
            Grant { scope: &self.scope, claims: self.claims.as_deref(), correlation_id: self.correlation_id };
        let sent = http.send(retry, || Ok::<_, TransportError>(token_request(&self.auth, &grant))).await;
        let outcome = match sent {
            Ok(sent) => self.read(&sent.response),
            Err(error) => Err(unanswered(error)),
        };
        outcome.map_err(|attempt| {
            debug!(code = attempt.error.code(), status = attempt.error.status(), "no token was issued");
            Attempt { error: attempt.error.with_correlation_id(self.correlation_id), ..attempt }
        })
    }

    fn read(&self, response: &Response) -> Result<Fetched, Attempt> {
        // RFC 6749 §5.1: a success is 200.
        if response.status() != http::StatusCode::OK {
            return Err(self.refused(response));
        }
        let granted = granted(response, self.auth.scheme())
            .map_err(|error| Attempt { error: error.with_status(200), refusal: None })?;
        debug!(token_type = self.auth.scheme().token_type(), "a token was issued");
        let scheme = self.auth.scheme().clone();
        let fetched =
            Fetched::new(granted.secret, granted.expiry, scheme, self.audience.clone(), self.correlation_id);
        Ok(fetched
            .with_client_id(Some(self.auth.client_id().to_owned()))
            .with_tenant_id(self.auth.tenant_id().map(str::to_owned)))
    }

    fn refused(&self, response: &Response) -> Attempt {
        let status = response.status();
        let is_transient = matches!(status.as_u16(), 408 | 429 | 500..=599);
        let retry_after = response.retry_after(self.exchanger.http.clock().now());
        let Some(Denied { code, server_codes, claims, description }) = denied(response) else {
            let error = "the token service answered something that is not an OAuth error";
            let error = Error::new(ErrorKind::Service, "invalid_response", error)
                .with_advice("check that the endpoint is a token endpoint and not a proxy in front of it")
                .with_status(status.as_u16())
                .with_transient(is_transient)
                .with_retry_after(retry_after)
                .with_excerpt(&String::from_utf8_lossy(response.body()));
            return Attempt { error, refusal: None };
        };
        let refusal = Refusal::of(&code, &server_codes);
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
            .with_retry_after(retry_after)
            .with_excerpt(description.as_deref().unwrap_or_default());
        Attempt { error, refusal }
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

pub(crate) fn timed_out() -> Error {
    Error::new(ErrorKind::Network, "timeout", "no token was issued in time")
        .with_advice("check that the services involved are reachable from here, or allow more time")
        .with_transient(true)
}

fn unanswered(error: TransportError) -> Attempt {
    let refusal = (error.kind() == TransportErrorKind::IdentityRejected).then_some(Refusal::Tls);
    let error = error.into_error("the token service could not be asked for a token");
    Attempt { error, refusal }
}
