//! The JSON structure of a cache file (`docs/protocol/token-request.md#msal-cache-format`).

use serde_json::{Map, Value};
use symbolon_types::{Error, ErrorKind};

use crate::item::CacheItem;

// The sections of a file. Each member of a section is an item.
pub(crate) const ACCESS_TOKENS: &str = "AccessToken";
pub(crate) const REFRESH_TOKENS: &str = "RefreshToken";
pub(crate) const ID_TOKENS: &str = "IdToken";
pub(crate) const ACCOUNTS: &str = "Account";
const APP_METADATA: &str = "AppMetadata";
pub(crate) const SECTIONS: [&str; 5] = [ACCESS_TOKENS, REFRESH_TOKENS, ID_TOKENS, ACCOUNTS, APP_METADATA];

/// A parsed cache file. Names of sections are compared without case.
#[derive(Default)]
pub(crate) struct CacheFile(pub(crate) Map<String, Value>);

impl CacheFile {
    pub(crate) fn parse(json: &str) -> Result<Self, Error> {
        let file: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| unreadable("it is not a JSON object"))?;
        for (name, value) in &file {
            let is_section = SECTIONS.iter().any(|section| name.eq_ignore_ascii_case(section));
            if is_section && !value.is_object() && !value.is_null() {
                return Err(unreadable("one of its sections is not a JSON object"));
            }
        }
        Ok(Self(file))
    }

    /// Returns the items of a section.
    pub(crate) fn items(&self, section: &str) -> impl Iterator<Item = CacheItem<'_>> {
        let section = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(section));
        let members = section.and_then(|(_, value)| value.as_object());
        members.into_iter().flat_map(Map::values).filter_map(Value::as_object).map(CacheItem)
    }

    /// Returns the members of a section, which is created if the file does not have it.
    pub(crate) fn section_mut(&mut self, section: &str) -> Option<&mut Map<String, Value>> {
        let known = self.0.keys().find(|name| name.eq_ignore_ascii_case(section));
        let name = known.cloned().unwrap_or_else(|| section.to_owned());
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
