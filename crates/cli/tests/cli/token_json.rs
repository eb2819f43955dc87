//! Tokens as JSON.

use serde_json::Value;
use symbolon_emulator::{Source, Step};

use crate::run::TestEnv;

const RESOURCE: &str = "https://vault.azure.net";

/// Returns the printed line, with its members in order.
fn tokens(env: &TestEnv, more: &[&str]) -> Vec<Value> {
    let token_request = ["token", "--resource", RESOURCE, "--key", "p-256", "--output", "json"];
    env.run(&[&token_request, more].concat()).json()
}

fn bearer(env: &TestEnv) -> Value {
    tokens(env, &[]).remove(0)
}

fn bound(env: &TestEnv) -> Value {
    tokens(env, &["--pop"]).remove(0)
}

fn claims(token: &Value) -> Value {
    use base64ct::{Base64UrlUnpadded, Encoding};

    let token = token["access_token"].as_str().unwrap();
    let [_, payload, _] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).unwrap()).unwrap()
}

#[test]
fn json_01_to_02_type_and_token() {
    let env = TestEnv::new();
    for (token, token_type) in [(bearer(&env), "Bearer"), (bound(&env), "mtls_pop")] {
        assert_eq!(token["token_type"], token_type);
        assert_eq!(claims(&token)["aud"], RESOURCE);
        assert_eq!(claims(&token)["cnf"]["x5t#S256"], token["binding"]["x5t#S256"]);
    }
}

#[test]
fn json_03_to_04_times_are_unix_seconds() {
    let env = TestEnv::new();
    for token in [bearer(&env), bound(&env)] {
        let (expires, refresh) = (token["expires_on"].as_u64().unwrap(), token["refresh_on"].as_u64());
        let (begins, ends) =
            (claims(&token)["nbf"].as_u64().unwrap(), claims(&token)["exp"].as_u64().unwrap());
        assert!(expires.abs_diff(ends) <= 30, "{expires} {ends}");
        assert!(refresh.is_none_or(|refresh| (begins..expires).contains(&refresh)), "{token}");
        assert!(token["refresh_on"].is_u64() || token["refresh_on"].is_null());
    }
}

#[test]
fn json_05_network_or_cache() {
    let env = TestEnv::new();
    for more in [&["--count", "2"][..], &["--count", "2", "--pop"]] {
        let tokens = tokens(&env, more);
        assert_eq!((&tokens[0]["source"], &tokens[1]["source"]), (&"network".into(), &"cache".into()));
    }
}

#[test]
fn json_06_resource_as_requested() {
    let env = TestEnv::new();
    for resource in ["https://vault.azure.net", "https://Vault.azure.net/", "api://app"] {
        for more in [&[][..], &["--pop"]] {
            let token_request = ["token", "--resource", resource, "--key", "p-256", "--output", "json"];
            let token = env.run(&[&token_request, more].concat()).json().remove(0);
            assert_eq!(token["resource"], resource, "{more:?}");
        }
    }
}

#[test]
fn json_07_to_08_client_and_tenant_if_known() {
    let env = TestEnv::new();
    let (client, tenant) = (Value::from(env.emulator.client_id()), Value::from(env.emulator.tenant_id()));
    let token = bound(&env);
    assert_eq!((&token["client_id"], &token["tenant_id"]), (&client, &tenant));
    let token = bearer(&env);
    assert_eq!((&token["client_id"], token.get("tenant_id")), (&client, Some(&Value::Null)));
    let token = bearer(&TestEnv::with(|emulator| emulator.source(Source::CloudShell)));
    assert_eq!((token.get("client_id"), token.get("tenant_id")), (Some(&Value::Null), Some(&Value::Null)));
}

#[test]
fn json_09_correlation_id_of_the_request() {
    let env = TestEnv::new();
    for (token, step, header) in [
        (bearer(&env), Step::ImdsToken, "x-ms-client-request-id"),
        (bound(&env), Step::Token, "client-request-id"),
    ] {
        let journal = env.emulator.journal();
        let sent = journal.last(step).unwrap().header(header).map(str::to_owned);
        assert_eq!(token["correlation_id"].as_str().map(str::to_owned), sent, "{step}");
        assert_eq!(sent.unwrap().len(), 36);
    }
}

#[test]
fn json_10_to_11_only_bound_tokens_have_a_binding() {
    let env = TestEnv::new();
    assert_eq!(bearer(&env).get("binding"), Some(&Value::Null));
    assert_eq!(tokens(&env, &["--over-mtls"])[0].get("binding"), Some(&Value::Null));
    assert!(bound(&env)["binding"].is_object());
}

#[test]
fn json_12_to_16_members_of_a_binding() {
    let env = TestEnv::new();
    let token = bound(&env);
    let binding = &token["binding"];
    let issued = &env.emulator.issued()[0];
    assert_eq!(binding["x5t#S256"], issued.thumbprint.to_string());
    let pem = binding["certificate"].as_str().unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let first = pem.split_inclusive(end).next().unwrap();
    let (label, der) = pem_rfc7468::decode_vec(first.as_bytes()).unwrap();
    assert_eq!((label, &*der), ("CERTIFICATE", &*issued.der));
    assert!(pem.split_inclusive(end).all(|block| pem_rfc7468::decode_vec(block.as_bytes()).is_ok()));
    let unix = |moment: std::time::SystemTime| {
        moment.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
    };
    let (not_after, usable_until) =
        (binding["not_after"].as_u64().unwrap(), binding["usable_until"].as_u64().unwrap());
    assert_eq!(not_after, unix(issued.not_after));
    let refused_from = unix(issued.token_not_after.unwrap());
    assert!(usable_until <= refused_from && refused_from < not_after, "{binding}");
    assert!(usable_until > claims(&token)["nbf"].as_u64().unwrap(), "{binding}");
    assert_eq!(binding["strength"], "software");
}

#[test]
fn json_17_members_in_order() {
    let members = [
        "token_type",
        "access_token",
        "expires_on",
        "refresh_on",
        "source",
        "resource",
        "client_id",
        "tenant_id",
        "correlation_id",
        "binding",
    ];
    let of_binding = ["x5t#S256", "certificate", "not_after", "usable_until", "strength"];
    let env = TestEnv::new();
    for more in [&[][..], &["--pop"], &["--over-mtls"]] {
        let token_request = ["token", "--resource", RESOURCE, "--key", "p-256", "--output", "json"];
        let printed = env.run(&[&token_request, more].concat()).stdout;
        let places = |names: &[&str]| {
            let place = |name: &&str| printed.find(&format!("\"{name}\":"));
            names.iter().map(place).collect::<Option<Vec<_>>>()
        };
        assert!(places(&members).unwrap().is_sorted(), "{printed}");
        let token: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(token.as_object().unwrap().len(), members.len(), "{printed}");
        if let Some(binding) = token["binding"].as_object() {
            assert!(places(&of_binding).unwrap().is_sorted(), "{printed}");
            assert_eq!(binding.len(), of_binding.len(), "{printed}");
        }
    }
}
