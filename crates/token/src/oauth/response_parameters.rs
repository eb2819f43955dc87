//! Parameters of a token response that this crate does not interpret.

use serde_json::{Map, Value};
use symbolon_types::Secret;

/// Parameters of OAuth, of OpenID Connect and of Entra that say nothing beyond what a token has.
const KNOWN: [&str; 6] = ["scope", "ext_expires_in", "expires_on", "not_before", "resource", "foci"];
/// The maximum size of the names and values together. Further parameters are left out.
const MAX_SIZE: usize = 4096;

/// Parameters of a token response that this crate does not interpret, sorted by name. A value can
/// be a secret.
#[derive(Clone)]
pub(crate) struct ResponseParameters(Box<[(Box<str>, Secret)]>);

impl ResponseParameters {
    /// Takes texts, numbers and booleans; `None` if there are none.
    pub(crate) fn of(members: Map<String, Value>) -> Option<Self> {
        let mut size = 0;
        let mut parameters: Vec<_> = members
            .into_iter()
            .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
            .filter_map(|(name, value)| {
                let value = match value {
                    Value::String(text) => text,
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => return None,
                };
                Some((name.into_boxed_str(), Secret::new(value)))
            })
            .take_while(|(name, value)| {
                size += name.len() + value.expose().len();
                size <= MAX_SIZE
            })
            .collect();
        parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
        (!parameters.is_empty()).then(|| Self(parameters.into()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

symbolon_types::debug_fields!(ResponseParameters |this| names: this.names().collect::<Vec<_>>());

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(members: Value) -> Option<ResponseParameters> {
        match members {
            Value::Object(members) => ResponseParameters::of(members),
            _ => None,
        }
    }

    #[test]
    fn scalars_are_taken() {
        let members = json!({"z": "text", "a": 7, "b": true, "n": null, "l": [1], "o": {}, "scope": "s"});
        let parameters = of(members).unwrap();
        assert_eq!(parameters.names().collect::<Vec<_>>(), ["a", "b", "z"]);
        let texts = ["a", "b", "z", "scope"].map(|name| parameters.get(name).map(Secret::expose));
        assert_eq!(texts, [Some("7"), Some("true"), Some("text"), None]);
        assert!(of(json!({"scope": "s", "n": null})).is_none());
        assert!(!format!("{parameters:?}").contains("text"));
    }

    #[test]
    fn size_is_limited() {
        let members: Map<_, _> =
            (0..10).map(|number| (format!("{number}"), json!("x".repeat(1000)))).collect();
        assert_eq!(ResponseParameters::of(members).unwrap().names().count(), 4);
    }
}
