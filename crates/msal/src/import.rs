//! Import of a file into a cache.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};
use symbolon_token::{Account, Application, PortableRefreshToken, PortableToken, TokenCache, TokenSubject};
use symbolon_types::{Error, Secret};

use crate::cache_file::{ACCESS_TOKENS, ACCOUNTS, CacheFile, ID_TOKENS, REFRESH_TOKENS};
use crate::item::{CacheItem, ItemOwner};

/// The numbers of tokens that [`import`] read, and their users.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImportSummary {
    /// Number of access tokens.
    pub access_tokens: usize,
    /// Number of refresh tokens.
    pub refresh_tokens: usize,
    /// Number of skipped tokens: those of other clients or clouds, expired ones, and those that
    /// are bound to a key, to claims or to other parameters.
    pub skipped: usize,
    /// The users of these tokens, for
    /// [`TokenClient::token_for_account`](symbolon_token::TokenClient::token_for_account).
    pub accounts: Vec<Account>,
}

/// Imports the tokens of one client from a cache that an MSAL library serialized: the text that
/// `SerializableTokenCache.serialize` of MSAL Python returns, or that the serialization callbacks
/// of MSAL.NET and MSAL Go receive.
///
/// Of two access tokens for the same request, the one that expires later is kept; of two refresh
/// tokens, the one that was issued later. An imported token serves requests for exactly its scopes,
/// in any order and apart from `openid`, `profile` and `offline_access`; MSAL serves requests for
/// fewer scopes as well. Refresh tokens belong to the tenant of the application, and go into the
/// store behind the cache; access tokens stay in memory. Tokens that are bound to a key, to claims
/// or to other parameters are skipped. The names of items are ignored, because the libraries spell
/// them differently.
///
/// # Errors
/// `json_parse_failed` if the text is not such a cache, `invalid_authority` if the application has
/// a fixed token endpoint.
pub async fn import(
    cache: &TokenCache,
    application: &Application,
    json: &str,
) -> Result<ImportSummary, Error> {
    let owner = ItemOwner::of(application)?;
    let file = CacheFile::parse(json)?;
    let accounts = accounts(&file, &owner);
    let mut imported = ImportSummary::default();
    let mut users = BTreeSet::new();
    for item in file.items(ACCESS_TOKENS) {
        let user = item.text("home_account_id");
        let account = user.and_then(|id| accounts.get(id));
        if import_access_token(cache, item, account, &owner) {
            imported.access_tokens += 1;
            users.extend(user);
        } else {
            imported.skipped += 1;
        }
    }
    for item in file.items(REFRESH_TOKENS) {
        let user = item.text("home_account_id");
        let account = user.and_then(|id| accounts.get(id));
        match refresh_token(item, account, &owner) {
            Some(token) => {
                cache.insert_portable_refresh_token(application, token).await;
                imported.refresh_tokens += 1;
                users.extend(user);
            }
            None => imported.skipped += 1,
        }
    }
    imported.accounts = users.into_iter().filter_map(|id| accounts.get(id).cloned()).collect();
    Ok(imported)
}

fn import_access_token(
    cache: &TokenCache,
    item: CacheItem<'_>,
    account: Option<&Account>,
    owner: &ItemOwner<'_>,
) -> bool {
    if !owner.owns(item) || !item.is_plain() || !item.is_of_type(ACCESS_TOKENS) {
        return false;
    }
    let (Some(secret), Some(expires_on)) = (item.text("secret"), item.seconds("expires_on")) else {
        return false;
    };
    let Some(expires_on) = time_from(expires_on) else { return false };
    // One token is inserted for each spelling of its audience.
    let inserted = item.audiences().into_iter().map(|audience| {
        let token = PortableToken {
            tenant: owner.tenant_of(item.text("realm")).unwrap_or_default(),
            subject: item.subject(),
            audience,
            secret: Secret::new(secret),
            expires_on,
            refresh_on: item.seconds("refresh_on").and_then(time_from),
            account: account.cloned(),
        };
        cache.insert_portable(owner.application, token)
    });
    inserted.fold(false, |any, is_inserted| any | is_inserted)
}

fn refresh_token(
    item: CacheItem<'_>,
    account: Option<&Account>,
    owner: &ItemOwner<'_>,
) -> Option<PortableRefreshToken> {
    if !owner.owns(item) || !item.is_plain() || !item.is_of_type(REFRESH_TOKENS) {
        return None;
    }
    // Without a date, any other refresh token counts as issued later.
    let issued_at = item.seconds("last_modification_time").and_then(time_from);
    Some(PortableRefreshToken {
        tenant: owner.tenant_of(None).unwrap_or_default(),
        subject: match (item.assertion_hash(), item.text("home_account_id")) {
            (Some(session), _) => TokenSubject::Session(session.to_owned()),
            (None, Some(id)) => TokenSubject::Account(id.to_owned()),
            (None, None) => return None,
        },
        secret: Secret::new(item.text("secret")?),
        issued_at: issued_at.unwrap_or(SystemTime::UNIX_EPOCH),
        account: account.cloned(),
    })
}

/// Returns the users of the file, by id. An ID token takes precedence over an account item, and the
/// home tenant over other tenants.
fn accounts(file: &CacheFile, owner: &ItemOwner<'_>) -> BTreeMap<String, Account> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for item in [ACCESS_TOKENS, REFRESH_TOKENS].into_iter().flat_map(|section| file.items(section)) {
        if let Some(id) = item.text("home_account_id").filter(|_| owner.owns(item)) {
            accounts.insert(id.to_owned(), Account::from_id(id));
        }
    }
    for (id, item) in home_tenant_last(file.items(ACCOUNTS).filter(|item| owner.is_in_cloud(*item))) {
        let (username, tenant) = (item.text("username"), item.text("realm"));
        let account = Account::new(id, username.map(str::to_owned), tenant.map(str::to_owned));
        accounts.insert(id.to_owned(), account);
    }
    for (id, item) in home_tenant_last(file.items(ID_TOKENS).filter(|item| owner.owns(*item))) {
        let Some(claims) = item.text("secret").and_then(jwt_payload) else { continue };
        let claim = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
        if let Some(known) = accounts.get_mut(id) {
            let username = claim("preferred_username").or_else(|| known.username().map(str::to_owned));
            let tenant = claim("tid").or_else(|| known.tenant_id().map(str::to_owned));
            *known = Account::new(id, username, tenant);
        }
    }
    accounts
}

/// Returns items with their account ids, those of the account's home tenant last.
fn home_tenant_last<'a>(items: impl Iterator<Item = CacheItem<'a>>) -> Vec<(&'a str, CacheItem<'a>)> {
    let mut items: Vec<_> =
        items.filter_map(|item| item.text("home_account_id").map(|id| (id, item))).collect();
    items.sort_by_key(|(id, item)| item.text("realm") == id.rsplit('.').next());
    items
}

fn time_from(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Returns the claims of a signed JWT (RFC 7519), unverified.
fn jwt_payload(token: &str) -> Option<Map<String, Value>> {
    let [_header, payload, _signature] = *token.split('.').collect::<Vec<_>>() else { return None };
    let json = Base64UrlUnpadded::decode_vec(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}
