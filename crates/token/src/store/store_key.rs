//! The keys of a store.

use symbolon_types::Thumbprint;

use crate::token::CacheKey;

/// The first characters of every key, which change with the encoding.
const PREFIX: &str = "symbolon1:";

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    AccessToken,
    RefreshToken,
}

/// Returns the key of an entry, a digest of the cache key.
///
/// It reveals no client, user or claim, except to a party that can guess all parts and compare.
pub(super) fn store_key(kind: EntryKind, key: &CacheKey<'_>) -> String {
    format!("{PREFIX}{}", Thumbprint::of(&encoded(kind, key)))
}

/// Encodes the parts with their lengths, so that different keys have different encodings.
fn encoded(kind: EntryKind, key: &CacheKey<'_>) -> Vec<u8> {
    let mut parts = KeyEncoder(vec![match kind {
        EntryKind::AccessToken => 1,
        EntryKind::RefreshToken => 2,
    }]);
    parts.flag(key.partition.is_machine_bound());
    parts.text(&key.partition.text());
    parts.optional(key.subject.map(str::as_bytes));
    parts.text(key.audience);
    parts.flag(key.is_bound);
    parts.optional(key.thumbprint.as_ref().map(|thumbprint| thumbprint.as_bytes().as_slice()));
    parts.optional(key.client_claims.map(str::as_bytes));
    parts.length(key.parameters.len());
    for (name, value) in key.parameters {
        parts.text(name);
        parts.text(value);
    }
    parts.0
}

struct KeyEncoder(Vec<u8>);

impl KeyEncoder {
    fn flag(&mut self, is_set: bool) {
        self.0.push(u8::from(is_set));
    }

    fn length(&mut self, length: usize) {
        self.0.extend((length as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.flag(bytes.is_some());
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::token::Partition;

    #[test]
    fn key_is_stable() {
        let partition = Partition::new("app\0https://login.example/\0tenant\0client");
        let key = CacheKey::bearer(&partition, "https://vault.example").about(Some("account user"));
        let text = store_key(EntryKind::AccessToken, &key);
        // Computed with Python's hashlib over the parts, each preceded by its length.
        assert_eq!(text, "symbolon1:8dpaSZz5G_fZt9eu7nB4tkv7D-Wf42NvYQ6eL-SBVUE");
        assert_ne!(text, store_key(EntryKind::RefreshToken, &key));
    }

    /// The parts of a cache key, owned.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct KeyParts {
        partition: String,
        is_machine_bound: bool,
        subject: Option<String>,
        audience: String,
        is_bound: bool,
        thumbprint: Option<u8>,
        client_claims: Option<String>,
        parameters: Vec<(String, String)>,
    }

    impl KeyParts {
        fn store_key(&self) -> String {
            let partition = if self.is_machine_bound {
                Partition::machine_bound(self.partition.clone())
            } else {
                Partition::new(self.partition.clone())
            };
            let thumbprint = self.thumbprint.map(|of| Thumbprint::of(&[of]));
            let mut key = CacheKey::bearer(&partition, &self.audience)
                .about(self.subject.as_deref())
                .with_client_claims(self.client_claims.as_deref())
                .with_parameters(&self.parameters);
            key.is_bound = self.is_bound;
            key.thumbprint = thumbprint.as_ref();
            store_key(EntryKind::AccessToken, &key)
        }
    }

    /// Generates texts that are ambiguous when they are concatenated.
    fn text() -> impl Strategy<Value = String> {
        "[ab\0]{0,3}"
    }

    fn key_parts() -> impl Strategy<Value = KeyParts> {
        (
            (text(), any::<bool>(), proptest::option::of(text()), text()),
            (any::<bool>(), proptest::option::of(0..2_u8), proptest::option::of(text())),
            proptest::collection::vec((text(), text()), 0..3),
        )
            .prop_map(
                |(
                    (partition, is_machine_bound, subject, audience),
                    (is_bound, thumbprint, claims),
                    parameters,
                )| {
                    KeyParts {
                        partition,
                        is_machine_bound,
                        subject,
                        audience,
                        is_bound,
                        thumbprint,
                        client_claims: claims,
                        parameters,
                    }
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn different_keys_have_different_digests(all in proptest::collection::vec(key_parts(), 2..64)) {
            let mut known: HashMap<String, KeyParts> = HashMap::new();
            for parts in all {
                if let Some(other) = known.insert(parts.store_key(), parts.clone()) {
                    prop_assert_eq!(other, parts);
                }
            }
        }
    }

    #[test]
    fn boundaries_of_parts_are_encoded() {
        let base = KeyParts {
            partition: "ab".into(),
            is_machine_bound: false,
            subject: None,
            audience: "cd".into(),
            is_bound: false,
            thumbprint: None,
            client_claims: None,
            parameters: Vec::new(),
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let others = [
            KeyParts { partition: "abc".into(), audience: "d".into(), ..base.clone() },
            KeyParts { is_machine_bound: true, ..base.clone() },
            KeyParts { subject: Some(String::new()), ..base.clone() },
            KeyParts { subject: Some("x".into()), ..base.clone() },
            KeyParts { client_claims: Some("x".into()), ..base.clone() },
            KeyParts { client_claims: Some(String::new()), ..base.clone() },
            KeyParts { is_bound: true, ..base.clone() },
            KeyParts { is_bound: true, thumbprint: Some(0), ..base.clone() },
            KeyParts { is_bound: true, thumbprint: Some(1), ..base.clone() },
            KeyParts { parameters: vec![pair("xb", "Z")], ..base.clone() },
            KeyParts { parameters: vec![pair("x", "bZ")], ..base.clone() },
            KeyParts { parameters: vec![pair("x", ""), pair("bZ", "")], ..base.clone() },
            base,
        ];
        let keys: std::collections::HashSet<_> = others.iter().map(KeyParts::store_key).collect();
        assert_eq!(keys.len(), others.len());
    }
}
