//! From the cache into the file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};
use symbolon_types::{Error, Secret};

use super::item::{Item, Owner, target};
use super::{ACCESS_TOKENS, ACCOUNTS, Document, OBJECTS, REFRESH_TOKENS};
use crate::store::DatedRefreshToken;
use crate::user::Subject;
use crate::{Account, Application, Token, TokenCache};

impl TokenCache {
    /// Writes the tokens of one client as a cache that MSAL libraries deserialize.
    ///
    /// `base` is the cache as it was before, if there is one: what stands in it and is not known here
    /// stays, items of other clients and unknown members alike. An item is changed only if this cache
    /// has a newer token for it, and none is removed. Written are the access tokens and refresh
    /// tokens in memory that depend on nothing but client, tenant, user and scopes: neither bound
    /// tokens nor those asked for with claims or parameters of the client's own. ID tokens are not
    /// kept here, so they come from `base` only.
    ///
    /// Timestamps are texts, as the schema has them. `environment` is the host of the application's
    /// authority, and `home_account_id` is null in tokens of the client itself: MSAL Python finds
    /// them only so.
    ///
    /// # Errors
    /// `json_parse_failed` if `base` is no such cache, `invalid_authority` if the application has a
    /// fixed token endpoint.
    pub fn export_msal(&self, application: &Application, base: Option<&str>) -> Result<Secret, Error> {
        let owner = Owner::of(application)?;
        let mut document = match base {
            Some(json) => Document::parse(json)?,
            None => Document(Map::new()),
        };
        for object in OBJECTS {
            document.members_mut(object);
        }
        let now = self.clock().now();
        let mut users = BTreeMap::new();
        for (place, token) in self.exported_access_tokens(&owner) {
            if let Some(account) = token.account() {
                users.insert((account.id().to_owned(), place.tenant.clone()), account.clone());
            }
            if let Some(items) = document.members_mut(ACCESS_TOKENS) {
                put_access_token(items, &owner, &place, &token, now);
            }
        }
        for (place, dated) in self.exported_refresh_tokens(&owner) {
            if let Some(account) = &dated.token.account {
                users.insert((account.id().to_owned(), place.tenant.clone()), account.clone());
            }
            if let Some(items) = document.members_mut(REFRESH_TOKENS) {
                put_refresh_token(items, &owner, &place, &dated);
            }
        }
        for ((_, tenant), account) in &users {
            if let Some(items) = document.members_mut(ACCOUNTS) {
                put_account(items, &owner, tenant, account);
            }
        }
        Ok(Secret::new(Value::Object(document.0).to_string()))
    }

    /// The access tokens, each once: a token may be held under more than one spelling of its audience.
    fn exported_access_tokens(&self, owner: &Owner<'_>) -> BTreeMap<Place, Token> {
        let mut tokens: BTreeMap<Place, Token> = BTreeMap::new();
        for (key, lease) in self.leases().snapshot() {
            let key = key.borrowed();
            let is_plain = !key.is_bound && key.client_claims.is_none() && key.parameters.is_empty();
            let token = lease.value();
            let Some(tenant) = owner.application.tenant_of(key.partition).filter(|_| is_plain) else { continue };
            let Some(user) = User::of(key.subject, token.account()) else { continue };
            let is_for_client = user == User::default();
            let place = Place { tenant: tenant.to_owned(), user, target: target(key.audience, is_for_client) };
            let is_newer =
                tokens.get(&place).is_none_or(|known| known.expires_on() < token.expires_on());
            if is_newer {
                tokens.insert(place, token.clone());
            }
        }
        tokens
    }

    /// The refresh tokens: one for each user, whatever the tenant, as the schema has it.
    fn exported_refresh_tokens(&self, owner: &Owner<'_>) -> Vec<(Place, DatedRefreshToken)> {
        let mut tokens: BTreeMap<User, (Place, DatedRefreshToken)> = BTreeMap::new();
        for (key, lease) in self.refresh_leases().snapshot() {
            let key = key.borrowed();
            let dated = lease.value();
            let Some(tenant) = owner.application.tenant_of(key.partition) else { continue };
            let Some(user) = User::of(key.subject, dated.token.account.as_ref()) else { continue };
            let place = Place { tenant: tenant.to_owned(), user: user.clone(), target: String::new() };
            let is_newer = tokens.get(&user).is_none_or(|(_, known)| known.issued_at < dated.issued_at);
            if is_newer {
                tokens.insert(user, (place, dated.clone()));
            }
        }
        tokens.into_values().collect()
    }
}

/// Where a token belongs in the schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tenant: String,
    user: User,
    target: String,
}

/// Whom a token is about; nobody if it is the client itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct User {
    home_account_id: Option<String>,
    assertion_hash: Option<String>,
}

impl User {
    /// `None` for a subject that the schema has no place for.
    fn of(subject: Option<&str>, account: Option<&Account>) -> Option<Self> {
        let account_id = account.map(|account| account.id().to_owned());
        match Subject::named(subject)? {
            Subject::Client => Some(Self::default()),
            Subject::Account(_) => Some(Self { home_account_id: account_id, assertion_hash: None }),
            _ => None,
        }
    }
}
