//! One item of the file, and whose it is.

use serde_json::{Map, Value};
use symbolon_token::authority::{Authority, Tenant};
use symbolon_token::{Application, TokenSubject};
use symbolon_types::{Error, ErrorKind};
use url::Url;

/// Marks of a token that is for more, or for less, than its scopes say: bound to a key (of .NET, Go
/// and Python, in this order), or asked for with components (.NET; Go and Python).
const EXTENSIONS: [&str; 5] = ["kid", "keyid", "key_id", "ext", "ext_cache_key"];
/// What user requests add to every set of scopes; MSAL does not compare them.
/// (MSAL.NET `ScopeHelper`.)
const RESERVED_SCOPES: [&str; 3] = ["openid", "profile", "offline_access"];
/// A scope that Entra adds by itself.
const ADDED_SCOPE: &str = "email";
/// The scope value that asks for everything that was granted statically.
const DEFAULT_SCOPE: &str = "/.default";
/// The name of AD FS where a tenant would stand. (MSAL Python.)
const ADFS: &str = "adfs";

/// An item: a flat object. Texts are read without distinction between absent, null and empty.
#[derive(Clone, Copy)]
pub(crate) struct CacheItem<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> CacheItem<'a> {
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Seconds since 1970: a text by the schema, a number by some writers.
    pub(crate) fn seconds(self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Whether a request that asks for nothing but scopes may have it.
    pub(crate) fn is_plain(self) -> bool {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        EXTENSIONS.iter().all(|name| self.0.get(*name).is_none_or(is_empty))
            && self.text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("Bearer"))
    }

    pub(crate) fn is_of_type(self, credential_type: &str) -> bool {
        self.text("credential_type").is_none_or(|it| it.eq_ignore_ascii_case(credential_type))
    }

    /// The hash of the user's assertion, or the key of the session. Go pads the hash.
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

    /// What a request may ask for that this access token answers, as our cache spells it.
    pub(crate) fn audiences(self) -> Vec<String> {
        let target = self.text("target").unwrap_or_default();
        let without = |left_out: &[&str]| {
            let mut scopes: Vec<_> =
                target.split_whitespace().filter(|scope| !left_out.contains(scope)).collect();
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

/// The scopes of the schema for what one of our tokens was asked for. A token of the client itself
/// that was not asked for by a scope was asked for by a resource.
pub(crate) fn target(audience: &str, is_for_client: bool) -> String {
    if is_for_client && !audience.ends_with(DEFAULT_SCOPE) {
        audience.trim_end_matches('/').to_owned() + DEFAULT_SCOPE
    } else {
        audience.to_owned()
    }
}

/// The client whose items are meant.
pub(crate) struct ItemOwner<'a> {
    pub(crate) application: &'a Application,
    authority: &'a Authority,
    /// The host of the authority, as it was configured: what MSAL Python looks for.
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

    /// Whether the item is of the same cloud, whichever of its names it uses.
    pub(crate) fn is_in_cloud(&self, item: CacheItem<'_>) -> bool {
        let Some(environment) = item.text("environment") else { return false };
        environment.eq_ignore_ascii_case(&self.environment)
            || Authority::parse(&format!("https://{environment}/organizations"))
                .is_ok_and(|other| other.cache_environment() == self.authority.cache_environment())
    }

    /// The tenant of our cache for a realm of the schema.
    pub(crate) fn tenant_of(&self, realm: Option<&str>) -> Option<String> {
        let own = self.authority.tenant().map(Tenant::as_str)?;
        let realm = realm.filter(|realm| !realm.eq_ignore_ascii_case(ADFS));
        Some(realm.unwrap_or(own).to_ascii_lowercase())
    }

    pub(crate) fn is_realm(&self, item: CacheItem<'_>, tenant: &str) -> bool {
        self.tenant_of(item.text("realm")).unwrap_or_default() == tenant
    }
}

fn no_authority() -> Error {
    let error = "an application with a fixed token endpoint has no tokens in an MSAL cache file";
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
    fn what_is_bound_or_extended_is_not_plain() {
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
    fn a_target_answers_what_was_asked_for_without_what_was_added() {
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
        assert_eq!(target("https://vault.example/", true), "https://vault.example/.default");
        assert_eq!(target("https://vault.example/.default", true), "https://vault.example/.default");
        assert_eq!(target("ItemUser.Read", false), "ItemUser.Read");
    }

    #[test]
    fn the_hash_of_an_assertion_is_ours_with_or_without_padding() {
        let ours = TokenSubject::Assertion(Thumbprint::of(b"user-assertion"));
        // The vectors of MSAL.NET and of MSAL Go.
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
    fn all_names_of_a_cloud_own_an_item_and_no_other_does() {
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
