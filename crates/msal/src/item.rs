//! Items of a cache file.

use serde_json::{Map, Value};
use symbolon_token::authority::{Authority, Tenant};
use symbolon_token::{Application, TokenSubject};
use symbolon_types::{Error, ErrorKind};
use url::Url;

/// The members that mark a bound token (of .NET, Go and Python, in this order), or a token that was
/// requested with further parameters (.NET; Go and Python).
const MARKS: [&str; 5] = ["kid", "keyid", "key_id", "ext", "ext_cache_key"];
/// The scopes that requests about a user add, which MSAL does not compare.
const RESERVED_SCOPES: [&str; 3] = ["openid", "profile", "offline_access"];
/// A scope that Entra adds.
const ADDED_SCOPE: &str = "email";
/// The scope of a resource that requests all statically granted permissions.
const DEFAULT_SCOPE: &str = "/.default";
/// The realm of AD FS, which MSAL Python writes.
const ADFS: &str = "adfs";

/// An item, which is a flat object. An absent, null or empty text counts as absent.
#[derive(Clone, Copy)]
pub(crate) struct CacheItem<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> CacheItem<'a> {
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns Unix seconds, which some libraries write as a number instead of a text.
    pub(crate) fn seconds(self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Returns whether the token answers a request that has only scopes.
    pub(crate) fn is_plain(self) -> bool {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        MARKS.iter().all(|name| self.0.get(*name).is_none_or(is_empty))
            && self.text("token_type").is_none_or(|token_type| token_type.eq_ignore_ascii_case("Bearer"))
    }

    pub(crate) fn is_of_type(self, credential_type: &str) -> bool {
        self.text("credential_type").is_none_or(|text| text.eq_ignore_ascii_case(credential_type))
    }

    /// Returns the hash of the assertion, or the key of the session. MSAL Go pads the hash.
    pub(crate) fn assertion_hash(self) -> Option<&'a str> {
        self.text("user_assertion_hash").map(|hash| hash.trim_end_matches('='))
    }

    /// Returns the subject of an access token.
    pub(crate) fn subject(self) -> TokenSubject {
        match (self.assertion_hash(), self.text("home_account_id")) {
            // MSAL and Symbolon use the same hash: SHA-256 in unpadded base64url.
            (Some(hash), _) => match hash.parse() {
                Ok(digest) => TokenSubject::Assertion(digest),
                Err(_) => TokenSubject::Session(hash.to_owned()),
            },
            (None, Some(id)) => TokenSubject::Account(id.to_owned()),
            (None, None) => TokenSubject::Client,
        }
    }

    /// Returns the audiences of the requests that this access token answers, as the cache spells
    /// them.
    pub(crate) fn audiences(self) -> Vec<String> {
        let target = self.text("target").unwrap_or_default();
        let without = |omitted: &[&str]| {
            let mut scopes: Vec<_> =
                target.split_whitespace().filter(|scope| !omitted.contains(scope)).collect();
            scopes.sort_unstable();
            scopes.dedup();
            scopes.join(" ")
        };
        let mut audiences = vec![without(&RESERVED_SCOPES)];
        let added = [&RESERVED_SCOPES[..], &[ADDED_SCOPE]].concat();
        audiences.push(without(&added));
        if let Some(resource) = audiences[0].strip_suffix(DEFAULT_SCOPE)
            && !resource.contains(' ')
        {
            audiences.push(resource.to_owned());
        }
        audiences.retain(|audience| !audience.is_empty());
        audiences.dedup();
        audiences
    }
}

/// Returns the `target` for the audience of a token. A client's own token without a scope was
/// requested for a resource.
pub(crate) fn target(audience: &str, is_for_client: bool) -> String {
    if is_for_client && !audience.ends_with(DEFAULT_SCOPE) {
        format!("{audience}{DEFAULT_SCOPE}")
    } else {
        audience.to_owned()
    }
}

/// The application whose items are read and written.
pub(crate) struct ItemOwner<'a> {
    pub(crate) application: &'a Application,
    authority: &'a Authority,
    /// The configured host of the authority, for which MSAL Python searches.
    pub(crate) environment: String,
}

impl<'a> ItemOwner<'a> {
    pub(crate) fn of(application: &'a Application) -> Result<Self, Error> {
        let authority = application.authority().ok_or_else(no_authority)?;
        let url: Url = authority.as_str().parse().map_err(|_| no_authority())?;
        let environment = url.host_str().unwrap_or_default().to_owned();
        Ok(Self { application, authority, environment })
    }

    pub(crate) fn owns(&self, item: CacheItem<'_>) -> bool {
        let is_client = |id: &str| id.eq_ignore_ascii_case(self.application.client_id());
        item.text("client_id").is_some_and(is_client) && self.is_in_cloud(item)
    }

    /// Returns whether the item is of the same cloud, by any of its names.
    pub(crate) fn is_in_cloud(&self, item: CacheItem<'_>) -> bool {
        let Some(environment) = item.text("environment") else { return false };
        environment.eq_ignore_ascii_case(&self.environment)
            || Authority::parse(&format!("https://{environment}/organizations"))
                .is_ok_and(|other| other.cache_environment() == self.authority.cache_environment())
    }

    /// Returns the tenant in the cache key for a `realm`.
    pub(crate) fn tenant_of(&self, realm: Option<&str>) -> Option<String> {
        let own = self.authority.tenant().map(Tenant::as_str)?;
        let realm = realm.filter(|realm| !realm.eq_ignore_ascii_case(ADFS));
        Some(realm.unwrap_or(own).to_ascii_lowercase())
    }

    pub(crate) fn has_realm(&self, item: CacheItem<'_>, tenant: &str) -> bool {
        self.tenant_of(item.text("realm")).unwrap_or_default() == tenant
    }
}

fn no_authority() -> Error {
    let error = "an MSAL cache file cannot hold tokens of an application with a fixed token endpoint";
    Error::new(ErrorKind::Request, "invalid_authority", error)
        .with_advice("create the application with an authority instead of a token endpoint")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use symbolon_types::Thumbprint;

    use super::*;

    fn with<T>(item: Value, read: impl FnOnce(CacheItem<'_>) -> T) -> T {
        read(CacheItem(item.as_object().unwrap()))
    }

    #[test]
    fn bound_or_extended_item_is_not_plain() {
        for (item, is_plain) in [
            (json!({}), true),
            (json!({"token_type": "bearer", "kid": null, "ext": {}, "ext_cache_key": ""}), true),
            (json!({"token_type": "mtls_pop"}), false),
            (json!({"token_type": "pop"}), false),
            (json!({"kid": "k"}), false),
            (json!({"keyid": "k"}), false),
            (json!({"key_id": "k"}), false),
            (json!({"ext": {"client_claims": "{}"}}), false),
            (json!({"ext_cache_key": "9zkmm"}), false),
            (json!({"ext_cache_key": 7}), false),
        ] {
            assert_eq!(with(item.clone(), |item| item.is_plain()), is_plain, "{item}");
        }
    }

    #[test]
    fn audiences_omit_added_scopes() {
        for (target, audiences) in [
            (
                "https://vault.example/.default",
                &["https://vault.example/.default", "https://vault.example"][..],
            ),
            ("b a", &["a b"]),
            ("openid profile ItemUser.Read", &["ItemUser.Read"]),
            ("email openid profile ItemUser.Read", &["ItemUser.Read email", "ItemUser.Read"]),
            ("openid profile", &[]),
            ("", &[]),
        ] {
            assert_eq!(with(json!({"target": target}), |item| item.audiences()), audiences, "{target}");
        }
        assert_eq!(target("https://vault.example/", true), "https://vault.example//.default");
        assert_eq!(target("https://vault.example/.default", true), "https://vault.example/.default");
        assert_eq!(target("ItemUser.Read", false), "ItemUser.Read");
    }

    #[test]
    fn assertion_hash_may_be_padded() {
        let ours = TokenSubject::Assertion(Thumbprint::of(b"user-assertion"));
        // From the tests of MSAL.NET and MSAL Go.
        for hash in
            ["AVnoMMZEZIKpTyFH2XA_PK6Z6ypyowRUKc4KD5HP-Og", "AVnoMMZEZIKpTyFH2XA_PK6Z6ypyowRUKc4KD5HP-Og="]
        {
            let item = json!({"user_assertion_hash": hash, "home_account_id": "u.t"});
            assert_eq!(with(item, |item| item.subject()), ours);
        }
        let item = json!({"user_assertion_hash": "my session"});
        let session = TokenSubject::Session("my session".to_owned());
        assert_eq!(with(item, |item| item.subject()), session);
    }

    #[test]
    fn items_match_by_client_and_cloud() {
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
        let application = Application::new(authority, "client").unwrap();
        let owner = ItemOwner::of(&application).unwrap();
        for (client_id, environment, owns) in [
            ("client", "login.microsoftonline.com", true),
            ("CLIENT", "login.windows.net", true),
            ("client", "sts.windows.net", true),
            ("other", "login.windows.net", false),
            ("client", "login.microsoftonline.us", false),
            ("client", "login.microsoftonline.com.foo.bar", false),
            ("client", "", false),
        ] {
            let item = json!({"client_id": client_id, "environment": environment});
            assert_eq!(with(item, |item| owner.owns(item)), owns, "{client_id} {environment}");
        }
    }
}
