//! The file as JSON: an object of objects of items.

use serde_json::{Map, Value};
use symbolon_types::{Error, ErrorKind};

/// The objects of the file; each of their members is an item
/// (`docs/protocol/token-request.md#msal-cache-format`).
pub(crate) const ACCESS_TOKENS: &str = "AccessToken";
pub(crate) const REFRESH_TOKENS: &str = "RefreshToken";
pub(crate) const ID_TOKENS: &str = "IdToken";
pub(crate) const ACCOUNTS: &str = "Account";
const APP_METADATA: &str = "AppMetadata";
pub(crate) const OBJECTS: [&str; 5] = [ACCESS_TOKENS, REFRESH_TOKENS, ID_TOKENS, ACCOUNTS, APP_METADATA];

/// A parsed cache file.
pub(crate) struct CacheFile(pub(crate) Map<String, Value>);

impl CacheFile {
    pub(crate) fn parse(json: &str) -> Result<Self, Error> {
        let document: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| unreadable("it is not a JSON object"))?;
        for (name, value) in &document {
            let is_ours = OBJECTS.iter().any(|object| name.eq_ignore_ascii_case(object));
            if is_ours && !value.is_object() && !value.is_null() {
                return Err(unreadable("one of its sections is not a JSON object"));
            }
        }
        Ok(Self(document))
    }

    /// Returns the items of one kind. Names are compared without case
    /// (`docs/protocol/token-request.md#msal-cache-format`).
    pub(crate) fn items(&self, object: &str) -> impl Iterator<Item = &Map<String, Value>> {
        self.members(object).into_iter().flat_map(Map::values).filter_map(Value::as_object)
    }

    fn members(&self, object: &str) -> Option<&Map<String, Value>> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(object))?.1.as_object()
    }

    pub(crate) fn members_mut(&mut self, object: &str) -> Option<&mut Map<String, Value>> {
        let known = self.0.keys().find(|name| name.eq_ignore_ascii_case(object));
        let name = known.cloned().unwrap_or_else(|| object.to_owned());
        let value = self.0.entry(name).or_insert(Value::Null);
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        value.as_object_mut()
    }
}

fn unreadable(reason: &'static str) -> Error {
    let error = format!("the MSAL cache file could not be read: {reason}");
    Error::new(ErrorKind::Request, "json_parse_failed", error)
        .with_advice("pass the decrypted text that MSAL serialized")
}
