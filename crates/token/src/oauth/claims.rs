//! The `claims` parameter (OIDC Core §5.5), merged from three inputs.

use serde_json::{Map, Value, json};
use symbolon_types::{Error, ErrorKind};

/// Merges the claims of a challenge (`server`), the claims of the client and the client's
/// capabilities into the `claims` parameter; `None` if all are empty
/// (`docs/protocol/token-request.md#claims-and-capabilities`).
///
/// Objects are merged and arrays joined; of two other values the client's replaces the server's. A
/// `null` yields to the other value, because it states no requirement. Capabilities become
/// `access_token.xms_cc.values`, in front of the values in the claims. A single input is returned
/// byte for byte.
///
/// ```
/// # use symbolon_token::merge_claims;
/// let server = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;
/// let merged = merge_claims(Some(server), None, &["cp1".into()])?;
/// assert_eq!(
///     merged.as_deref(),
///     Some(r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"},"xms_cc":{"values":["cp1"]}}}"#),
/// );
/// # Ok::<(), symbolon_token::Error>(())
/// ```
///
/// # Errors
/// `invalid_claims` if an input is not a JSON object. The error does not quote it.
pub fn merge(
    server: Option<&str>,
    client: Option<&str>,
    capabilities: &[String],
) -> Result<Option<String>, Error> {
    let given = |claims: &&str| !claims.trim().is_empty();
    let (mut object, verbatim) = match (server.filter(given), client.filter(given)) {
        (None, None) => (Map::new(), None),
        (Some(one), None) | (None, Some(one)) => (parse(one)?, Some(one)),
        (Some(server), Some(client)) => (overlay(parse(server)?, parse(client)?), None),
    };
    if capabilities.is_empty() {
        if let Some(verbatim) = verbatim {
            return Ok(Some(verbatim.to_owned()));
        }
    } else {
        let Value::Object(declared) = json!({ "access_token": { "xms_cc": { "values": capabilities } } })
        else {
            return Err(invalid());
        };
        object = overlay(declared, object);
    }
    Ok(if object.is_empty() { None } else { Some(Value::Object(object).to_string()) })
}

fn parse(claims: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(claims).map_err(|_| invalid())
}

/// Returns the error without the parser's message, which would quote the claims.
fn invalid() -> Error {
    Error::new(ErrorKind::Request, "invalid_claims", "the claims are not a JSON object")
        .with_advice(r#"pass a claims request such as {"access_token":{"name":{"essential":true}}}"#)
}

/// Merges two objects; the members of `over` take precedence.
fn overlay(mut under: Map<String, Value>, over: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in over {
        let merged = match (under.remove(&name), value) {
            (Some(Value::Object(under)), Value::Object(over)) => Value::Object(overlay(under, over)),
            (Some(Value::Array(mut under)), Value::Array(over)) => {
                under.extend(over);
                Value::Array(under)
            }
            (Some(kept), Value::Null) => kept,
            (_, value) => value,
        };
        under.insert(name, merged);
    }
    under
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OIDC: &str = r#"{"userinfo":{"given_name":{"essential":true},"nickname":null,"email":{"essential":true},
        "picture":null},"id_token":{"auth_time":{"essential":true},"acr":{"values":["urn:mace:incommon:iap:silver"]}}}"#;
    const NBF: &str = r#"{"access_token":{"nbf":{"essential":true, "value":"1701477303"}}}"#;
    const CAPABLE: &str = r#"{"access_token":{"xms_cc":{"values":["cp1","cp2"]}}}"#;
    const BOTH: &[&str] = &["cp1", "cp2"];

    fn merged(server: Option<&str>, client: Option<&str>, names: &[&str]) -> Result<Option<Value>, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        match merge(server, client, &names) {
            Ok(text) => Ok(text.map(|text| serde_json::from_str(&text).unwrap())),
            Err(error) => Err(error.code().to_owned()),
        }
    }

    /// Cases that MSAL.NET 4.x (CM1 to CM19) and MSAL Go 1.x (CM20 to CM27) test.
    #[test]
    fn claims_are_merged() {
        let nwp = r#"{"access_token":{"xms_az_nwperimid":{"essential":true}}}"#;
        let id_token = r#"{"id_token":{"auth_time":{"essential":true}}}"#;
        let oidc_with_capabilities = {
            let mut value: Value = serde_json::from_str(OIDC).unwrap();
            value["access_token"] = serde_json::json!({"xms_cc": {"values": ["cp1", "cp2"]}});
            value.to_string()
        };
        type MergeCase<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [&'a str], Option<&'a str>);
        let rows: &[MergeCase<'_>] = &[
            ("CM1", None, None, &[], None),
            ("CM2", None, Some(nwp), &[], Some(nwp)),
            ("CM3", Some(nwp), None, &[], Some(nwp)),
            ("CM4", Some(r#"{"a":1}"#), Some(r#"{"b":2}"#), &[], Some(r#"{"a":1,"b":2}"#)),
            ("CM5", Some(r#"{"a":{"v":1}}"#), Some(r#"{"a":{"v":2}}"#), &[], Some(r#"{"a":{"v":2}}"#)),
            ("CM6", Some(""), Some(nwp), &[], Some(nwp)),
            ("CM6 reversed", Some(nwp), Some(" "), &[], Some(nwp)),
            ("CM9", Some(OIDC), None, BOTH, Some(&oidc_with_capabilities)),
            (
                "CM10",
                Some(NBF),
                None,
                BOTH,
                Some(
                    r#"{"access_token":{"xms_cc":{"values":["cp1","cp2"]},"nbf":{"essential":true,"value":"1701477303"}}}"#,
                ),
            ),
            ("CM11", Some("{}"), None, BOTH, Some(CAPABLE)),
            (
                "CM12",
                Some(r#"{"access_token":{"nbf":1,"additional_claim":{"key":"v"}}}"#),
                None,
                BOTH,
                Some(
                    r#"{"access_token":{"xms_cc":{"values":["cp1","cp2"]},"nbf":1,"additional_claim":{"key":"v"}}}"#,
                ),
            ),
            (
                "CM13, CM19",
                Some(r#"{"some_other_key":{"k":"v"},"access_token":{"new_claim":{"k":"v"}}}"#),
                None,
                BOTH,
                Some(
                    r#"{"access_token":{"xms_cc":{"values":["cp1","cp2"]},"new_claim":{"k":"v"}},"some_other_key":{"k":"v"}}"#,
                ),
            ),
            ("CM16", None, None, BOTH, Some(CAPABLE)),
            (
                "CM21",
                Some(id_token),
                Some(nwp),
                &[],
                Some(
                    r#"{"id_token":{"auth_time":{"essential":true}},"access_token":{"xms_az_nwperimid":{"essential":true}}}"#,
                ),
            ),
            (
                "CM22",
                Some(r#"{"access_token":{"nbf":{"value":"server"}}}"#),
                Some(r#"{"access_token":{"nbf":{"value":"client"}}}"#),
                &[],
                Some(r#"{"access_token":{"nbf":{"value":"client"}}}"#),
            ),
            (
                "CM23",
                None,
                Some(nwp),
                &["cp1"],
                Some(
                    r#"{"access_token":{"xms_cc":{"values":["cp1"]},"xms_az_nwperimid":{"essential":true}}}"#,
                ),
            ),
            (
                "CM24",
                Some(id_token),
                Some(nwp),
                &["cp1"],
                Some(
                    r#"{"id_token":{"auth_time":{"essential":true}},"access_token":{"xms_cc":{"values":["cp1"]},"xms_az_nwperimid":{"essential":true}}}"#,
                ),
            ),
            (
                "CM26",
                Some(r#"{"access_token":{"a":1}}"#),
                Some(r#"{"access_token":{"b":2}}"#),
                &[],
                Some(r#"{"access_token":{"a":1,"b":2}}"#),
            ),
            (
                "joined",
                Some(r#"{"access_token":{"xms_cc":{"values":["cp3"]}}}"#),
                None,
                BOTH,
                Some(r#"{"access_token":{"xms_cc":{"values":["cp1","cp2","cp3"]}}}"#),
            ),
            (
                "null yields",
                Some(r#"{"a":{"essential":true}}"#),
                Some(r#"{"a":null,"b":null}"#),
                &[],
                Some(r#"{"a":{"essential":true},"b":null}"#),
            ),
        ];
        for (case, server, client, names, expected) in rows {
            let expected = expected.map(|text| serde_json::from_str::<Value>(text).unwrap());
            assert_eq!(merged(*server, *client, names), Ok(expected), "{case}");
        }
    }

    #[test]
    fn single_input_is_unchanged() {
        for (case, claims) in
            [("CM14", r#"{"a": {"k":1}}"#), ("CM15, CM17", OIDC), ("CM18", NBF), ("empty", "{}")]
        {
            assert_eq!(merge(Some(claims), None, &[]).unwrap().as_deref(), Some(claims), "{case}");
            assert_eq!(merge(None, Some(claims), &[]).unwrap().as_deref(), Some(claims), "{case}");
        }
    }

    #[test]
    fn malformed_claims_are_refused_unquoted() {
        for (case, server, client, names) in [
            ("CM7", Some("not-json"), Some("{}"), &[][..]),
            ("CM8 array", Some("[]"), Some("{}"), &[]),
            ("CM8 string", Some(r#""string""#), Some("{}"), &[]),
            ("CM20", Some("eyJhIjoxfQ=="), None, &["cp1"]),
            ("CM25", None, Some("not-json"), &["cp1"]),
            ("CM27", Some("null"), Some("{}"), &[]),
            ("alone", Some("not-json"), None, &[]),
            ("alone, from the client", None, Some("not-json"), &[]),
        ] {
            assert_eq!(merged(server, client, names), Err("invalid_claims".to_owned()), "{case}");
        }
        let error = merge(Some(r#"{"secret-claim": oops}"#), None, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret-claim"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn merge_keeps_members_of_both_inputs(server in json(), client in json()) {
            let (server, client) = (serde_json::json!({"s": server, "x": 1}), serde_json::json!({"s": client, "y": 2}));
            let merged = merged(Some(&server.to_string()), Some(&client.to_string()), &["cp1"]).unwrap().unwrap();
            prop_assert_eq!(&merged["access_token"]["xms_cc"]["values"], &serde_json::json!(["cp1"]));
            prop_assert_eq!((&merged["x"], &merged["y"]), (&Value::from(1), &Value::from(2)));
            if !client["s"].is_null() && !client["s"].is_object() && !client["s"].is_array() {
                prop_assert_eq!(&merged["s"], &client["s"]);
            }
        }

        #[test]
        fn arbitrary_text_does_not_panic(server in ".*", client in ".*") {
            let _outcome = merge(Some(&server), Some(&client), &["cp1".to_owned()]);
        }
    }
}
