//! Bearer tokens from the metadata service: one request, one token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use symbolon_binding::ManagedIdentityId;
use symbolon_binding::imds::{Imds, Leg, Question, invalid_response};
use symbolon_token::{
    CacheKey, Error, ErrorKind, Expiry, Fetched, Partition, Token, TokenCache, merge_claims, resource_name,
};
use symbolon_transport::{Response, RetryPolicy, within};
use symbolon_types::{CorrelationId, Secret};

use crate::ManagedIdentityRequest;

/// 2001-01-01 in Unix seconds. A smaller "absolute" expiry is a lifetime (MSAL.NET
/// `DateTimeHelpers`).
const EARLIEST_EXPIRY: u64 = 978_307_200;

/// The identity's bearer tokens.
#[derive(Debug)]
pub(crate) struct ImdsV1 {
    asking: Arc<Asking>,
    cache: TokenCache,
    partition: Partition,
}

#[derive(Debug)]
struct Asking {
    imds: Imds,
    id: ManagedIdentityId,
    policy: RetryPolicy,
    deadline: Duration,
}

impl ImdsV1 {
    pub(crate) fn new(
        imds: Imds,
        id: ManagedIdentityId,
        policy: RetryPolicy,
        deadline: Duration,
        cache: TokenCache,
        partition: Partition,
    ) -> Self {
        Self { asking: Arc::new(Asking { imds, id, policy, deadline }), cache, partition }
    }

    /// The token, if it is in the cache. Allocates nothing.
    pub(crate) fn cached(&self, request: &ManagedIdentityRequest<'_>) -> Option<Token> {
        if request.force_refresh || request.claims.is_some() || request.client_claims.is_some() {
            return None;
        }
        self.cache.find(&CacheKey::bearer(&self.partition, resource_name(request.resource)))
    }

    pub(crate) async fn acquire(&self, request: ManagedIdentityRequest<'_>) -> Result<Token, Error> {
        let correlation_id = request.correlation_id.unwrap_or_else(CorrelationId::random);
        let resource = resource_name(request.resource);
        check(&request, resource).map_err(|error| error.with_correlation_id(correlation_id))?;
        let key = CacheKey::bearer(&self.partition, resource);
        let fetch = || Arc::clone(&self.asking).fetch(resource.to_owned(), correlation_id);
        if request.force_refresh {
            self.cache.renew(&key, "", fetch).await
        } else {
            self.cache.obtain(&key, fetch).await
        }
    }
}

/// What this source cannot do is refused, never dropped.
fn check(request: &ManagedIdentityRequest<'_>, resource: &str) -> Result<(), Error> {
    if resource.is_empty() || resource.chars().any(char::is_control) {
        let error = "the request names no usable resource";
        return Err(Error::new(ErrorKind::Request, "invalid_scope", error)
            .with_advice("name the resource as its URI, for example https://vault.azure.net"));
    }
    merge_claims(request.claims, request.client_claims, &[])?;
    if request.claims.is_some() || request.client_claims.is_some() {
        let error = "the metadata service takes no claims for bearer tokens; nothing was sent";
        return Err(Error::new(ErrorKind::Request, "claims_not_supported", error)
            .with_advice("ask for a bound token, or force a refresh without claims"));
    }
    Ok(())
}

impl Asking {
    async fn fetch(
        self: Arc<Self>,
        resource: String,
        correlation_id: CorrelationId,
    ) -> Result<Fetched, Error> {
        let clock = self.imds.clock();
        let outcome = within(clock, self.deadline, self.ask(resource, correlation_id)).await;
        outcome.unwrap_or_else(|| {
            let error = "the instance metadata service did not issue a token in time";
            Err(Error::new(ErrorKind::Network, "timeout", error)
                .with_advice("check that this is an Azure machine, or allow more time")
                .with_transient(true)
                .with_correlation_id(correlation_id))
        })
    }

    async fn ask(&self, resource: String, correlation_id: CorrelationId) -> Result<Fetched, Error> {
        let question = Question {
            leg: Leg::BearerToken,
            id: &self.id,
            resource: Some(&resource),
            bypass_cache: false,
            body: None,
            policy: &self.policy,
            correlation_id,
        };
        let began = self.imds.clock().now();
        let sent = self.imds.ask(&question).await;
        let sent = sent.map_err(|error| error.with_correlation_id(correlation_id))?;
        let now = self.imds.clock().now();
        let fetched = read(&sent.response, now, correlation_id)
            .map_err(|error| error.with_correlation_id(correlation_id))?;
        Ok(fetched.after(sent.attempts, now.duration_since(began).unwrap_or_default()))
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: Option<String>,
    #[serde(default)]
    expires_on: Value,
    #[serde(default)]
    expires_in: Value,
    client_id: Option<String>,
}

fn read(response: &Response, now: SystemTime, id: CorrelationId) -> Result<Fetched, Error> {
    let issued: Issued = serde_json::from_slice(response.body())
        .map_err(|_| invalid_response("answered something that is not a token response"))?;
    let secret = issued.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| invalid_response("answered without a token"))?;
    let lifetime =
        lifetime(&issued.expires_on, &issued.expires_in, now).filter(|lifetime| !lifetime.is_zero());
    let lifetime =
        lifetime.ok_or_else(|| invalid_response("did not say how long its token lives, or it has ended"))?;
    Ok(Fetched::bearer(secret, Expiry::after(lifetime), id).with_client_id(issued.client_id.map(Into::into)))
}

/// `expires_on` counts, and `expires_in` where it is missing, whichever comes first in the text
/// (managed-identity sources DEV-4).
fn lifetime(expires_on: &Value, expires_in: &Value, now: SystemTime) -> Option<Duration> {
    if let Some(seconds) = seconds(expires_on) {
        if seconds < EARLIEST_EXPIRY {
            return Some(Duration::from_secs(seconds));
        }
        let ends = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        return ends.duration_since(now).ok();
    }
    seconds(expires_in).map(Duration::from_secs)
}

/// Seconds as a number or as its text, with a fraction or without.
fn seconds(value: &Value) -> Option<u64> {
    let whole = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.as_secs());
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lifetime_is_read_in_every_form_whatever_the_order() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (expires_on, expires_in, expected) in [
            (json!("1700003600"), json!("99"), Some(3600)),
            (json!(1_700_003_600), Value::Null, Some(3600)),
            (json!("1700003600.75"), Value::Null, Some(3600)),
            (json!(""), json!("3599"), Some(3599)),
            (Value::Null, json!(3599), Some(3599)),
            (json!("3600"), Value::Null, Some(3600)),
            (json!("1600000000"), json!("3599"), None),
            (json!("soon"), Value::Null, None),
            (json!(-1), Value::Null, None),
            (Value::Null, Value::Null, None),
        ] {
            let read = lifetime(&expires_on, &expires_in, now).map(|lifetime| lifetime.as_secs());
            assert_eq!(read, expected, "{expires_on} {expires_in}");
        }
    }

    #[test]
    fn an_answer_without_a_token_or_a_life_is_refused() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (body, code) in [
            (r#"{"access_token":"t","expires_on":"1700003600"}"#, None),
            (r#"{"access_token":"t","expires_in":"3599","client_id":"c","token_type":"Bearer"}"#, None),
            (r#"{"access_token":"","expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"access_token":"t"}"#, Some("invalid_response")),
            (r#"{"access_token":"t","expires_in":"0"}"#, Some("invalid_response")),
            (r#"{"access_token":"t","expires_on":"1700000000"}"#, Some("invalid_response")),
            (r#"{"access_token":7,"expires_in":"3599"}"#, Some("invalid_response")),
            ("[]", Some("invalid_response")),
            ("<html>", Some("invalid_response")),
        ] {
            let response = Response::new(http::StatusCode::OK, body);
            let refused = read(&response, now, CorrelationId::random()).err();
            assert_eq!(refused.as_ref().map(Error::code), code, "{body}");
        }
    }
}
