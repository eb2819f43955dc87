//! The cache file that MSAL libraries share ("unified schema"), read and written.

mod export;
mod import;
mod item;

use serde_json::{Map, Value};
use symbolon_types::{Error, ErrorKind};

use crate::Account;

/// The objects of the file, in which each member is an item. (Unified schema.)
const ACCESS_TOKENS: &str = "AccessToken";
const REFRESH_TOKENS: &str = "RefreshToken";
const ID_TOKENS: &str = "IdToken";
const ACCOUNTS: &str = "Account";
const APP_METADATA: &str = "AppMetadata";
const OBJECTS: [&str; 5] = [ACCESS_TOKENS, REFRESH_TOKENS, ID_TOKENS, ACCOUNTS, APP_METADATA];

/// What [`TokenCache::import_msal`](crate::TokenCache::import_msal) took over.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MsalImport {
    /// How many access tokens.
    pub access_tokens: usize,
    /// How many refresh tokens.
    pub refresh_tokens: usize,
    /// How many tokens of the file were left out: those of another client or cloud, expired ones,
    /// and those that are bound to a key, to claims or to other parameters.
    pub left_out: usize,
    /// The users whose tokens these are, for
    /// [`TokenClient::token_for_account`](crate::TokenClient::token_for_account).
    pub accounts: Vec<Account>,
}

/// The file: an object of objects of items.
struct Document(Map<String, Value>);

impl Document {
    fn parse(json: &str) -> Result<Self, Error> {
        let document: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| unreadable("it is not an object in JSON"))?;
        for (name, value) in &document {
            let is_ours = OBJECTS.iter().any(|object| name.eq_ignore_ascii_case(object));
            if is_ours && !value.is_object() && !value.is_null() {
                return Err(unreadable("what should be an object of items is not"));
            }
        }
        Ok(Self(document))
    }

    /// The items of one kind. Names are compared without case (MSAL.NET
    /// `CacheSerializationContract`).
    fn items(&self, object: &str) -> impl Iterator<Item = &Map<String, Value>> {
        self.members(object).into_iter().flat_map(Map::values).filter_map(Value::as_object)
    }

    fn members(&self, object: &str) -> Option<&Map<String, Value>> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(object))?.1.as_object()
    }

    fn members_mut(&mut self, object: &str) -> Option<&mut Map<String, Value>> {
        let known = self.0.keys().find(|name| name.eq_ignore_ascii_case(object));
        let name = known.cloned().unwrap_or_else(|| object.to_owned());
        let value = self.0.entry(name).or_insert(Value::Null);
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        value.as_object_mut()
    }
}

fn unreadable(why: &'static str) -> Error {
    let error = format!("the MSAL cache could not be read: {why}");
    Error::new(ErrorKind::Request, "json_parse_failed", error)
        .with_advice("pass the text that MSAL's serialization wrote, decrypted")
}

fn no_authority() -> Error {
    let error = "a client of a fixed token endpoint has no tokens in a cache of MSAL";
    Error::new(ErrorKind::Request, "invalid_authority", error)
        .with_advice("make the application of an authority instead of a token endpoint")
}
