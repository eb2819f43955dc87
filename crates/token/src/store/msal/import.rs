//! From the file into the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use symbolon_types::lease::LeaseKey;
use symbolon_types::{CorrelationId, Error, Secret};

use super::item::{Item, Owner};
use super::{ACCESS_TOKENS, ACCOUNTS, Document, ID_TOKENS, MsalImport, REFRESH_TOKENS};
use crate::account::jwt_payload;
use crate::cache::{Fetched, RefreshToken};
use crate::store::DatedRefreshToken;
use crate::user::Subject;
use crate::{Account, Application, CacheKey, Expiry, TokenCache};

/// An expiry further away is corrupt (MSAL.NET `TokenCache`).
const LONGEST_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

impl TokenCache {
    /// Takes over the tokens of one client from a cache that an MSAL library serialized: what
    /// `SerializableTokenCache.serialize` of MSAL Python returns, or what the serialization callbacks
    /// of MSAL.NET and MSAL Go are given.
    ///
    /// Of two tokens for the same, the one that expires later stays; of two refresh tokens, the one
    /// that was issued later. A token is found by a request for exactly its scopes, in any order and
    /// apart from `openid`, `profile` and `offline_access`; MSAL finds it also by a request for fewer.
    /// Refresh tokens count for the tenant of the application, and go into the store behind the
    /// cache; access tokens stay in memory. What is bound to a key, to claims or to other
    /// parameters is left out. Member names are not read, because libraries spell them differently.
    ///
    /// ```
    /// # use symbolon_token::{Application, TokenCache, authority::Authority};
    /// # use symbolon_types::Context;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), symbolon_token::Error> {
    /// let authority = Authority::parse("https://login.microsoftonline.com/contoso.example")?;
    /// let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
    /// let cache = TokenCache::new(1000, &Context::default());
    /// let imported = cache.import_msal(r#"{"AccessToken":{}}"#, &application).await?;
    /// assert_eq!(imported.access_tokens, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `json_parse_failed` if it is not such a cache, `invalid_authority` if the application has a
    /// fixed token endpoint.
    pub async fn import_msal(&self, json: &str, application: &Application) -> Result<MsalImport, Error> {
        let owner = Owner::of(application)?;
        let document = Document::parse(json)?;
        let accounts = accounts(&document, &owner);
        let mut imported = MsalImport::default();
        let mut users = BTreeSet::new();
        for item in document.items(ACCESS_TOKENS).map(Item) {
            let user = item.text("home_account_id");
            let account = user.and_then(|id| accounts.get(id));
            if self.import_access_token(item, account, &owner) {
                imported.access_tokens += 1;
                users.extend(user);
            } else {
                imported.left_out += 1;
            }
        }
        for item in document.items(REFRESH_TOKENS).map(Item) {
            let user = item.text("home_account_id");
            let account = user.and_then(|id| accounts.get(id));
            if self.import_refresh_token(item, account, &owner).await {
                imported.refresh_tokens += 1;
                users.extend(user);
            } else {
                imported.left_out += 1;
            }
        }
        imported.accounts = users.into_iter().filter_map(|id| accounts.get(id).cloned()).collect();
        Ok(imported)
    }

    fn import_access_token(&self, item: Item<'_>, account: Option<&Account>, owner: &Owner<'_>) -> bool {
        let (Some(secret), Some(expires_on)) = (item.text("secret"), item.seconds("expires_on")) else {
            return false;
        };
        if !owner.owns(item) || !item.is_plain() || !item.is_of_type(ACCESS_TOKENS) {
            return false;
        }
        let now = self.clock().now();
        let life = moment(expires_on).and_then(|expires_on| expires_on.duration_since(now).ok());
        let Some(life) = life.filter(|life| !life.is_zero() && *life <= LONGEST_LIFE) else { return false };
        let refresh_on = item.seconds("refresh_on").and_then(moment);
        // A moment that has passed is no reason to take the hint for none.
        let refresh_in =
            refresh_on.map(|at| at.duration_since(now).unwrap_or_default().max(Duration::from_nanos(1)));
        let tenant = owner.tenant_of(item.text("realm"));
        let partition = owner.application.partition(tenant.as_deref());
        let subject = item.subject();
        let audiences = item.audiences();
        let secret = Secret::new(secret);
        for audience in &audiences {
            let expiry = Expiry::after(life).refreshed_after(refresh_in);
            let fetched = Fetched::bearer(secret.clone(), expiry, CorrelationId::random())
                .with_client_id(Some(owner.application.client_id().into()))
                .with_tenant_id(tenant.as_deref().map(Into::into))
                .about(account.cloned());
            let key = CacheKey::bearer(&partition, audience).about(subject.name());
            let (token, served_until) = fetched.issued(key.to_key(), now, self.jitter());
            let is_newer =
                self.find_even_if_due(&key).is_none_or(|held| held.expires_on() < token.expires_on());
            if is_newer {
                self.insert(token, served_until);
            }
        }
        !audiences.is_empty()
    }

    async fn import_refresh_token(
        &self,
        item: Item<'_>,
        account: Option<&Account>,
        owner: &Owner<'_>,
    ) -> bool {
        let Some(secret) = item.text("secret") else { return false };
        if !owner.owns(item) || !item.is_plain() || !item.is_of_type(REFRESH_TOKENS) {
            return false;
        }
        let subject = match (item.assertion_hash(), item.text("home_account_id")) {
            (Some(session), _) => Subject::session(session),
            (None, Some(id)) => Subject::account(id),
            (None, None) => return false,
        };
        let Some(subject) = subject.name() else { return false };
        let token = RefreshToken { secret: Secret::new(secret), account: account.cloned() };
        // Without a date, whatever else there is was issued later.
        let issued_at = item.seconds("last_modification_time").and_then(moment);
        let issued_at = issued_at.unwrap_or(SystemTime::UNIX_EPOCH);
        let partition = owner.application.partition(owner.tenant_of(None).as_deref());
        self.keep_dated_refresh_token(&partition, subject, DatedRefreshToken { token, issued_at }).await;
        true
    }
}

/// The users that are named anywhere in the file, under their ids. What the ID token says goes
/// before what the account item says, and that of the home tenant before that of others.
fn accounts(document: &Document, owner: &Owner<'_>) -> BTreeMap<String, Account> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    let of_tokens = [ACCESS_TOKENS, REFRESH_TOKENS].into_iter().flat_map(|object| document.items(object));
    for item in of_tokens.map(Item).filter(|item| owner.owns(*item)) {
        if let Some(id) = item.text("home_account_id") {
            accounts.insert(id.to_owned(), Account::kept(id.to_owned(), None, None));
        }
    }
    let is_at_home = |item: Item<'_>, id: &str| {
        item.text("realm").is_some_and(|realm| id.rsplit('.').next().is_some_and(|tenant| tenant == realm))
    };
    let mut at_home: Vec<_> =
        document.items(ACCOUNTS).map(Item).filter(|item| owner.is_in_cloud(*item)).collect();
    at_home.sort_by_key(|item| item.text("home_account_id").is_some_and(|id| is_at_home(*item, id)));
    for item in at_home {
        let Some(id) = item.text("home_account_id") else { continue };
        let (username, tenant) = (item.text("username"), item.text("realm"));
        let account = Account::kept(id.to_owned(), username.map(str::to_owned), tenant.map(str::to_owned));
        accounts.insert(id.to_owned(), account);
    }
    let mut id_tokens: Vec<_> =
        document.items(ID_TOKENS).map(Item).filter(|item| owner.owns(*item)).collect();
    id_tokens.sort_by_key(|item| item.text("home_account_id").is_some_and(|id| is_at_home(*item, id)));
    for item in id_tokens {
        let Some(id) = item.text("home_account_id") else { continue };
        let Some(claims) = item.text("secret").and_then(jwt_payload) else { continue };
        let claim = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
        if let Some(known) = accounts.get_mut(id) {
            let username = claim("preferred_username").or_else(|| known.username().map(str::to_owned));
            let tenant = claim("tid").or_else(|| known.tenant_id().map(str::to_owned));
            *known = Account::kept(id.to_owned(), username, tenant);
        }
    }
    accounts
}

fn moment(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
