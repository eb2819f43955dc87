//! File format of stored bindings.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use symbolon_types::SigningKey;

use crate::Binding;
use crate::issuance::IssuedCredential;

/// Version of the file format.
const VERSION: u32 = 1;

/// Stored binding: the credential as it was issued, without the key.
#[derive(Serialize, Deserialize)]
pub(super) struct StoreEntry {
    version: u32,
    /// Text of the `BindingId`, because the name of the file is only a digest of it.
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) credential: IssuedCredential,
    /// Unix time in seconds.
    minted_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_location: Option<String>,
}

impl StoreEntry {
    pub(super) fn new(credential: &IssuedCredential, binding: &Binding) -> Self {
        let minted_at = binding.minted_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: VERSION,
            id: binding.id().text(),
            credential: credential.clone(),
            minted_at: minted_at.as_secs(),
            key_location: binding.identity().key().location().map(str::to_owned),
        }
    }

    pub(super) fn minted_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.minted_at))
    }

    /// Reads the content of a file; returns `None` if it is damaged or of another version.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let split = bytes.iter().position(|byte| *byte == b'\n')?;
        let (sum, rest) = bytes.split_at(split);
        let json = rest.strip_prefix(b"\n")?;
        if sum != checksum(json).as_bytes() {
            return None;
        }
        let entry: Self = serde_json::from_slice(json).ok()?;
        (entry.version == VERSION).then_some(entry)
    }

    /// Returns the content of a file: a line with a checksum, then JSON.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Serializing strings and numbers cannot fail.
        let json = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        format!("{}\n{json}", checksum(json.as_bytes())).into_bytes()
    }
}

/// Detects damage only; it does not protect against users who can write to the folder, because they
/// can use the key as well.
fn checksum(json: &[u8]) -> String {
    let digest = digest(&SHA256, json);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> StoreEntry {
        StoreEntry {
            version: VERSION,
            id: text.into(),
            credential: IssuedCredential {
                client_id: text.into(),
                tenant_id: text.into(),
                certificate: text.into(),
                mtls_authentication_endpoint: text.into(),
            },
            minted_at: 1_795_500_000,
            key_location: Some(text.into()),
        }
    }

    #[test]
    fn entry_round_trips() {
        for text in ["", "plain", "a|b=c", "\r\n\n", "\0", "\"\\", "häß 🔑 例え.テスト", &"x".repeat(2048)]
        {
            let read = StoreEntry::read(&entry(text).to_bytes()).unwrap();
            let texts = [
                &read.id,
                &read.credential.client_id,
                &read.credential.tenant_id,
                &read.credential.certificate,
                &read.credential.mtls_authentication_endpoint,
            ];
            assert!(texts.iter().all(|read| *read == text), "{text:?}");
            assert_eq!(read.minted_at, 1_795_500_000);
        }
    }

    #[test]
    fn damaged_entry_is_not_read() {
        let whole = entry("text").to_bytes();
        assert!(StoreEntry::read(&whole).is_some());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(StoreEntry::read(&changed).is_none(), "{at}");
            assert!(StoreEntry::read(&whole[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn unknown_members_are_ignored() {
        let read = |json: &str| StoreEntry::read(format!("{}\n{json}", checksum(json.as_bytes())).as_bytes());
        let json = serde_json::to_string(&entry("text")).unwrap();
        assert!(read(&json.replacen('{', r#"{"new":[1],"#, 1)).is_some());
        // Missing members are not.
        assert!(read(&json.replacen("key_location", "other", 1)).is_some());
        for member in ["version", "id", "client_id", "certificate", "minted_at"] {
            let without = json.replacen(&format!(r#""{member}":"#), r#""other":"#, 1);
            assert!(read(&without).is_none(), "{member}");
        }
        assert!(read("null").is_none() && read("").is_none());
    }
}
