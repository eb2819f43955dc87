//! Export and import of an application's tokens, for other cache formats.

use std::time::{Duration, SystemTime};

use symbolon_lease::LeaseKey;
use symbolon_types::{CorrelationId, Secret, Thumbprint};

use super::token_cache::TokenCache;
use crate::credential::Application;
use crate::oauth::{AccessToken, Account, Expiry, Subject};
use crate::token::{CacheKey, DatedRefreshToken, Delivery, IssuedToken, RefreshToken, Token};

/// The client itself, or the user that a cached token is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSubject {
    /// The client itself.
    Client,
    /// The user of an account, by [`Account::id`].
    Account(String),
    /// The user of an assertion ([`on_behalf_of`](crate::TokenClient::on_behalf_of)), by the
    /// SHA-256 digest of the assertion.
    Assertion(Thumbprint),
    /// The user of a session ([`start_session`](crate::TokenClient::start_session)), by its key.
    Session(String),
}

/// A bearer token that depends only on client, tenant, subject and audience.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "built by its callers, member by member")]
pub struct PortableToken {
    /// The tenant in lower case; empty for an authority without tenants.
    pub tenant: String,
    /// The subject.
    pub subject: TokenSubject,
    /// The scopes, or the resource, as the request named them.
    pub audience: String,
    /// The access token.
    pub secret: Secret,
    /// The time at which it expires.
    pub expires_on: SystemTime,
    /// The time at which it should be renewed, if the issuer named one.
    pub refresh_on: Option<SystemTime>,
    /// The user's account.
    pub account: Option<Account>,
}

/// A refresh token of one user.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "built by its callers, member by member")]
pub struct PortableRefreshToken {
    /// The tenant in lower case; empty for an authority without tenants.
    pub tenant: String,
    /// The subject, which is never the client itself.
    pub subject: TokenSubject,
    /// The refresh token.
    pub secret: Secret,
    /// The time at which it was issued. Of two, the later one is kept.
    pub issued_at: SystemTime,
    /// The user's account.
    pub account: Option<Account>,
}

impl TokenCache {
    /// Returns the application's bearer tokens in memory, except those that were requested with
    /// claims or parameters of the caller's own.
    #[must_use]
    pub fn portable_tokens(&self, application: &Application) -> Vec<PortableToken> {
        let portable = |key: CacheKey<'_>, token: &Token| {
            let is_plain = !key.is_bound && key.client_claims.is_none() && key.parameters.is_empty();
            Some(PortableToken {
                tenant: application.tenant_of(&key).filter(|_| is_plain)?.to_owned(),
                subject: TokenSubject::named(key.subject)?,
                audience: key.audience.to_owned(),
                secret: token.secret().clone(),
                expires_on: token.expires_on(),
                refresh_on: Some(token.refresh_on()),
                account: token.account().cloned(),
            })
        };
        let all = self.snapshot();
        all.iter().filter_map(|(key, lease)| portable(key.borrowed(), lease.value())).collect()
    }

    /// Returns the application's refresh tokens in memory.
    #[must_use]
    pub fn portable_refresh_tokens(&self, application: &Application) -> Vec<PortableRefreshToken> {
        let portable = |key: CacheKey<'_>, dated: &DatedRefreshToken| {
            Some(PortableRefreshToken {
                tenant: application.tenant_of(&key)?.to_owned(),
                subject: TokenSubject::named(key.subject)?,
                secret: dated.token.secret.clone(),
                issued_at: dated.issued_at,
                account: dated.token.account.clone(),
            })
        };
        let all = self.refresh_token_snapshot();
        all.iter().filter_map(|(key, lease)| portable(key.borrowed(), lease.value())).collect()
    }

    /// Puts a token of the application into memory, unless one that expires later is there.
    ///
    /// Returns `false` for a token that has expired, that expires in more than ten years, or whose
    /// text is not an [`AccessToken`].
    pub fn insert_portable(&self, application: &Application, token: PortableToken) -> bool {
        let now = self.clock().read();
        let life = now.until(token.expires_on);
        if life.is_zero() || life > Expiry::LONGEST_LIFE {
            return false;
        }
        let Some(secret) = AccessToken::parse(token.secret) else { return false };
        // A zero would be ignored, so a time that has passed becomes the shortest wait.
        let shortest = Duration::from_nanos(1);
        let refresh_in = token.refresh_on.map(|at| now.until(at).max(shortest));
        let tenant = Some(token.tenant.as_str()).filter(|tenant| !tenant.is_empty());
        let partition = application.partition(tenant);
        let subject = token.subject.to_subject();
        let key = CacheKey::bearer(&partition, &token.audience).about(subject.name());
        let expiry = Expiry::after(life).refreshed_after(refresh_in);
        let issued = IssuedToken::bearer(secret, expiry, CorrelationId::random())
            .with_client_id(Some(application.client_id().into()))
            .with_tenant_id(tenant.map(Into::into))
            .about(token.account);
        let lease = issued.into_lease(key.to_key(), Delivery::MEMORY, now, self.jitter());
        let is_earlier = |held: Token| held.expires_on() < lease.value().expires_on();
        if self.find_even_if_due(&key).is_none_or(is_earlier) {
            self.insert(lease);
        }
        true
    }

    /// Puts a refresh token of the application into memory and into the store, unless one that was
    /// issued later is there. A token without a user is not stored.
    pub async fn insert_portable_refresh_token(
        &self,
        application: &Application,
        token: PortableRefreshToken,
    ) {
        let tenant = Some(token.tenant.as_str()).filter(|tenant| !tenant.is_empty());
        let partition = application.partition(tenant);
        let subject = token.subject.to_subject();
        let Some(subject) = subject.name() else { return };
        let issued_at = token.issued_at;
        let token = RefreshToken { secret: token.secret, account: token.account };
        self.keep_dated_refresh_token(&partition, subject, DatedRefreshToken { token, issued_at }).await;
    }
}

impl TokenSubject {
    /// Returns the subject with this name in a cache key; the inverse of [`Subject::name`].
    fn named(name: Option<&str>) -> Option<Self> {
        let Some(name) = name else { return Some(Self::Client) };
        match name.split_once(' ')? {
            ("account", id) => Some(Self::Account(id.to_owned())),
            ("assertion", digest) => Some(Self::Assertion(digest.parse().ok()?)),
            ("session", key) => Some(Self::Session(key.to_owned())),
            _ => None,
        }
    }

    fn to_subject(&self) -> Subject {
        match self {
            Self::Client => Subject::Client,
            Self::Account(id) => Subject::account(id),
            Self::Assertion(digest) => Subject::Assertion(format!("assertion {digest}")),
            Self::Session(key) => Subject::session(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_survives_its_cache_key_name() {
        let digest = Thumbprint::of(b"assertion");
        let of_assertion = Subject::of_assertion(&Secret::new("assertion"));
        assert_eq!(TokenSubject::named(of_assertion.name()), Some(TokenSubject::Assertion(digest)));
        for subject in [
            TokenSubject::Client,
            TokenSubject::Account("u.t".to_owned()),
            TokenSubject::Assertion(digest),
            TokenSubject::Session("my session".to_owned()),
        ] {
            assert_eq!(TokenSubject::named(subject.to_subject().name()), Some(subject));
        }
    }
}
