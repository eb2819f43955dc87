//! Export of a cache to a file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};
use symbolon_token::{Account, Application, PortableRefreshToken, PortableToken, TokenCache, TokenSubject};
use symbolon_types::{Error, Secret};

use crate::cache_file::{ACCESS_TOKENS, ACCOUNTS, CacheFile, REFRESH_TOKENS, SECTIONS};
use crate::item::{CacheItem, ItemOwner, target};

/// Exports the tokens of one client as a cache that MSAL libraries deserialize.
///
/// `base` is the previous text of the cache, if there is one. Its contents are kept: items of other
/// clients as well as unknown members. An item is changed only if the cache holds a newer token for
/// it, and no item is removed. Exported are the access tokens and refresh tokens in memory that
/// depend on nothing but client, tenant, user and scopes, so neither bound tokens nor tokens that
/// were requested with claims or parameters of the caller's own. The cache holds no ID tokens; they
/// come from `base` only.
///
/// Timestamps are strings, as in the schema. `environment` is the host of the application's
/// authority, and `home_account_id` is null in tokens of the client itself: MSAL Python finds them
/// only in this form.
///
/// # Errors
/// `json_parse_failed` if `base` is not such a cache, `invalid_authority` if the application has a
/// fixed token endpoint.
pub fn export(cache: &TokenCache, application: &Application, base: Option<&str>) -> Result<Secret, Error> {
    let owner = ItemOwner::of(application)?;
    let mut file = base.map(CacheFile::parse).transpose()?.unwrap_or_default();
    for section in SECTIONS {
        file.section_mut(section);
    }
    let now = cache.clock().now();
    let mut users = BTreeMap::new();
    for (key, token) in access_tokens(cache, application) {
        if let Some(account) = &token.account {
            users.insert((account.id().to_owned(), key.tenant.clone()), account.clone());
        }
        if let Some(items) = file.section_mut(ACCESS_TOKENS) {
            put_access_token(items, &owner, &key, &token, now);
        }
    }
    for (key, token) in refresh_tokens(cache, application) {
        if let Some(account) = &token.account {
            users.insert((account.id().to_owned(), key.tenant.clone()), account.clone());
        }
        if let Some(items) = file.section_mut(REFRESH_TOKENS) {
            put_refresh_token(items, &owner, &key, &token);
        }
    }
    for ((_, tenant), account) in &users {
        if let Some(items) = file.section_mut(ACCOUNTS) {
            put_account(items, &owner, tenant, account);
        }
    }
    Ok(Secret::new(Value::Object(file.0).to_string()))
}

/// Returns each access token once: the cache may hold a token under several spellings of its
/// audience.
fn access_tokens(cache: &TokenCache, application: &Application) -> BTreeMap<ItemKey, PortableToken> {
    let mut tokens: BTreeMap<ItemKey, PortableToken> = BTreeMap::new();
    for token in cache.portable_tokens(application) {
        let user = ItemUser::of(&token.subject, token.account.as_ref());
        let target = target(&token.audience, token.subject == TokenSubject::Client);
        let key = ItemKey { tenant: token.tenant.clone(), user, target };
        if tokens.get(&key).is_none_or(|known| known.expires_on < token.expires_on) {
            tokens.insert(key, token);
        }
    }
    tokens
}

/// Returns one refresh token for each user, independent of the tenant, as in the schema.
fn refresh_tokens(cache: &TokenCache, application: &Application) -> Vec<(ItemKey, PortableRefreshToken)> {
    let mut tokens: BTreeMap<ItemUser, PortableRefreshToken> = BTreeMap::new();
    for token in cache.portable_refresh_tokens(application) {
        let user = ItemUser::of(&token.subject, token.account.as_ref());
        if tokens.get(&user).is_none_or(|known| known.issued_at < token.issued_at) {
            tokens.insert(user, token);
        }
    }
    let with_key = |(user, token): (ItemUser, PortableRefreshToken)| {
        (ItemKey { tenant: token.tenant.clone(), user, target: String::new() }, token)
    };
    tokens.into_iter().map(with_key).collect()
}

/// The members of an item that identify its token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ItemKey {
    tenant: String,
    user: ItemUser,
    target: String,
}

/// The members of an item that identify its user; all are absent for the client itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct ItemUser {
    home_account_id: Option<String>,
    assertion_hash: Option<String>,
}

impl ItemUser {
    fn of(subject: &TokenSubject, account: Option<&Account>) -> Self {
        let account = account.map(|account| account.id().to_owned());
        let (home_account_id, assertion_hash) = match subject {
            TokenSubject::Account(id) => (Some(id.clone()), None),
            TokenSubject::Assertion(digest) => (account, Some(digest.to_string())),
            TokenSubject::Session(key) => (account, Some(key.clone())),
            _ => (None, None),
        };
        Self { home_account_id, assertion_hash }
    }

    fn matches(&self, item: CacheItem<'_>) -> bool {
        // The response to an assertion may not have identified the account.
        let is_same_account = item.text("home_account_id") == self.home_account_id.as_deref()
            || (self.home_account_id.is_none() && self.assertion_hash.is_some());
        is_same_account && item.assertion_hash() == self.assertion_hash.as_deref()
    }

    /// Returns the members. MSAL Python searches for null if there is no account.
    fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = vec![("home_account_id", Value::from(self.home_account_id.clone()))];
        members.extend(self.assertion_hash.clone().map(|hash| ("user_assertion_hash", hash.into())));
        members
    }
}

fn put_access_token(
    items: &mut Map<String, Value>,
    owner: &ItemOwner<'_>,
    key: &ItemKey,
    token: &PortableToken,
    now: SystemTime,
) {
    let secret = token.secret.expose();
    let expires_on = seconds(token.expires_on);
    let is_same = |item: CacheItem<'_>| {
        owner.owns(item)
            && item.is_plain()
            && item.is_of_type(ACCESS_TOKENS)
            && owner.has_realm(item, &key.tenant)
            && key.user.matches(item)
            && item.audiences().contains(&key.target)
    };
    let changes = [
        ("secret", secret.to_owned()),
        ("cached_at", seconds(now).to_string()),
        ("expires_on", expires_on.to_string()),
        ("extended_expires_on", expires_on.to_string()),
        ("ext_expires_on", expires_on.to_string()),
    ];
    if let Some(known) = find_mut(items, is_same) {
        let is_older = CacheItem(known).seconds("expires_on").is_none_or(|known| known < expires_on);
        if CacheItem(known).text("secret") != Some(secret) && is_older {
            known.extend(changes.map(|(name, text)| (name.to_owned(), text.into())));
            // `refresh_on` was that of the old token.
            known.remove("refresh_on");
        }
        return;
    }
    let mut item = new_item(owner, ACCESS_TOKENS, &key.user);
    item.extend(changes.map(|(name, text)| (name.to_owned(), text.into())));
    for (name, text) in [("realm", &*key.tenant), ("target", &*key.target), ("token_type", "Bearer")] {
        item.insert(name.to_owned(), text.into());
    }
    add(
        items,
        owner,
        &key.user,
        &format!("accesstoken-{}-{}-{}", client(owner), key.tenant, key.target),
        item,
    );
}

fn put_refresh_token(
    items: &mut Map<String, Value>,
    owner: &ItemOwner<'_>,
    key: &ItemKey,
    token: &PortableRefreshToken,
) {
    let secret = token.secret.expose();
    let issued_at = seconds(token.issued_at);
    let is_same = |item: CacheItem<'_>| {
        owner.owns(item) && item.is_plain() && item.is_of_type(REFRESH_TOKENS) && key.user.matches(item)
    };
    let changes = [("secret", secret.to_owned()), ("last_modification_time", issued_at.to_string())];
    if let Some(known) = find_mut(items, is_same) {
        let is_older =
            CacheItem(known).seconds("last_modification_time").is_none_or(|known| known <= issued_at);
        if CacheItem(known).text("secret") != Some(secret) && is_older {
            known.extend(changes.map(|(name, text)| (name.to_owned(), text.into())));
        }
        return;
    }
    let mut item = new_item(owner, REFRESH_TOKENS, &key.user);
    item.extend(changes.map(|(name, text)| (name.to_owned(), text.into())));
    add(items, owner, &key.user, &format!("refreshtoken-{}--", client(owner)), item);
}

/// Adds the account, if the file does not have it.
fn put_account(items: &mut Map<String, Value>, owner: &ItemOwner<'_>, tenant: &str, account: &Account) {
    let is_known = items.values().filter_map(Value::as_object).map(CacheItem).any(|item| {
        owner.is_in_cloud(item)
            && item.text("home_account_id") == Some(account.id())
            && owner.has_realm(item, tenant)
    });
    if is_known {
        return;
    }
    let local_account_id = account.id().split('.').next().unwrap_or_default();
    let members = [
        ("home_account_id", account.id()),
        ("environment", &owner.environment),
        ("realm", tenant),
        ("local_account_id", local_account_id),
        ("username", account.username().unwrap_or_default()),
        ("authority_type", "MSSTS"),
    ];
    let item = members.map(|(name, text)| (name.to_owned(), text.into())).into_iter().collect();
    // Names of accounts keep their case.
    items.insert(format!("{}-{}-{tenant}", account.id(), owner.environment), Value::Object(item));
}

fn new_item(owner: &ItemOwner<'_>, credential_type: &str, user: &ItemUser) -> Map<String, Value> {
    let mut item = Map::new();
    for (name, text) in [
        ("environment", &*owner.environment),
        ("client_id", client(owner)),
        ("credential_type", credential_type),
    ] {
        item.insert(name.to_owned(), text.into());
    }
    item.extend(user.members().into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// Adds an item under its name in the schema, or a longer one if that name is taken: different
/// items can have the same name, and readers ignore it.
fn add(
    items: &mut Map<String, Value>,
    owner: &ItemOwner<'_>,
    user: &ItemUser,
    name: &str,
    item: Map<String, Value>,
) {
    let home = user.home_account_id.as_deref().unwrap_or_default();
    let mut name = format!("{home}-{}-{name}", owner.environment).to_lowercase();
    if let Some(hash) = &user.assertion_hash {
        name = format!("{name}-{hash}");
    }
    while items.contains_key(&name) {
        name.push('-');
    }
    items.insert(name, Value::Object(item));
}

fn find_mut(
    items: &mut Map<String, Value>,
    is_match: impl Fn(CacheItem<'_>) -> bool,
) -> Option<&mut Map<String, Value>> {
    items.values_mut().filter_map(Value::as_object_mut).find(|item| is_match(CacheItem(item)))
}

fn client<'a>(owner: &ItemOwner<'a>) -> &'a str {
    owner.application.client_id()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use symbolon_types::Thumbprint;

    use super::*;

    #[test]
    fn each_subject_has_its_members() {
        let account = Account::from_id("u.t");
        let digest = Thumbprint::of(b"assertion");
        let hash = digest.to_string();
        for (subject, home_account_id, assertion_hash) in [
            (TokenSubject::Client, None, None),
            (TokenSubject::Account("u.t".to_owned()), Some("u.t"), None),
            (TokenSubject::Assertion(digest), Some("u.t"), Some(&*hash)),
            (TokenSubject::Session("my session".to_owned()), Some("u.t"), Some("my session")),
        ] {
            let user = ItemUser::of(&subject, Some(&account));
            assert_eq!(user.home_account_id.as_deref(), home_account_id, "{subject:?}");
            assert_eq!(user.assertion_hash.as_deref(), assertion_hash, "{subject:?}");
        }
    }
}
