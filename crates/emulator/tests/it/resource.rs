//! Tests of the resource.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Fault, Server};
use symbolon_types::{ManualClock, SharedClock};

use crate::client::{Answer, Client, Identity, alert, authorized, get};
use crate::csr::Key;
use crate::fixtures::{bound_token, certified, token_request};

fn reason(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["reason"].clone())
}

#[tokio::test]
async fn bound_token_needs_scheme_and_certificate() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::rsa();
    let identity = certified(&emulator, &key).await;
    // Another certificate with the same key.
    let renewed = emulator.certify(emulator.client_id(), &key.spki()).unwrap();
    let renewed = Identity { certificate: renewed.der.to_vec(), pkcs8: key.pkcs8() };
    let token = bound_token(&emulator, &identity).await.unwrap();
    let url = format!("{}/secrets/1?api-version=7", emulator.resource_url());

    let with = Client::new(&emulator, Some(&identity));
    let answer = with.send(authorized(&url, "mtls_pop", &token)).await.unwrap();
    assert_eq!(answer.status, 200);
    let seen = answer.json();
    assert_eq!(seen["scheme"], "mtls_pop");
    assert_eq!(seen["aud"], "https://vault.azure.net");
    assert_eq!(seen["bound"], true);
    assert_eq!(seen["x5t#S256"], identity.thumbprint().to_string());

    let mut corrupted = token.clone();
    corrupted.replace_range(
        token.len() - 8..token.len() - 4,
        if token.ends_with("AAAA") { "BBBB" } else { "AAAA" },
    );
    let without = Client::new(&emulator, None);
    for (client, request, expected) in [
        (&with, get(&url), "missing_token"),
        (&with, authorized(&url, "Bearer", &token), "wrong_scheme"),
        (&with, authorized(&url, "PoP", &token), "wrong_scheme"),
        (&with, authorized(&url, "mtls_pop", &corrupted), "bad_signature"),
        (&with, authorized(&url, "mtls_pop", "not a token"), "bad_signature"),
        (&without, authorized(&url, "mtls_pop", &token), "certificate_missing"),
        (
            &Client::new(&emulator, Some(&renewed)),
            authorized(&url, "mtls_pop", &token),
            "certificate_mismatch",
        ),
    ] {
        let answer = client.send(request).await.unwrap();
        assert_eq!(reason(&answer), (401, json!(expected)));
        assert!(answer.header("www-authenticate").contains(expected));
        assert!(!String::from_utf8_lossy(&answer.body).contains(&token));
    }

    emulator.revoke(identity.thumbprint());
    let answer = with.send(authorized(&url, "mtls_pop", &token)).await.unwrap();
    assert_eq!(reason(&answer), (401, json!("certificate_revoked")));
}

#[tokio::test]
async fn certificate_is_refused_at_the_resource() {
    let scripted = Emulator::builder()
        .faults_toml("[[fault]]\nkind = \"refuse-certificate\"\nserver = \"resource\"\ntimes = \"always\"")
        .unwrap();
    let emulator = scripted.start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    // The token service accepts the certificate, also after the refusal.
    for _ in 0..2 {
        let token = bound_token(&emulator, &identity).await.unwrap();
        let error = client.send(authorized(emulator.resource_url(), "mtls_pop", &token)).await.err().unwrap();
        assert_eq!(alert(&*error), Some(rustls::AlertDescription::CertificateRevoked));
    }
    emulator.clear_faults();
    emulator.inject(Fault::refuse_certificate().at_server(Server::Token));
    let answer = client.send(get(emulator.resource_url())).await.unwrap();
    assert_eq!(answer.status, 401);
    bound_token(&emulator, &identity).await.unwrap_err();
}

#[tokio::test]
async fn claims_challenge_lasts_until_satisfied() {
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}"#;
    let more =
        r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"},"xms_cc":{"values":["cp1"]}}}"#;
    let scripted = format!(
        "[[fault]]\nkind = \"claims-challenge\"\nstep = \"resource\"\nclaims = '{claims}'\ntimes = \"until-satisfied\""
    );
    let emulator = Emulator::builder().faults_toml(&scripted).unwrap().start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    for (requested, status) in [(None, 401), (None, 401), (Some(more), 200), (None, 401), (Some(claims), 200)]
    {
        let mut parameters = vec![("token_type", "mtls_pop")];
        parameters.extend(requested.map(|claims| ("claims", claims)));
        let token = client.send(token_request(&emulator, &parameters)).await.unwrap().json();
        let token = token["access_token"].as_str().unwrap();
        let answer = client.send(authorized(emulator.resource_url(), "mtls_pop", token)).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("www-authenticate").contains("insufficient_claims"), status == 401);
    }
    let elsewhere = scripted.replace("resource", "token");
    assert!(Emulator::builder().faults_toml(&elsewhere).is_err());
}

#[tokio::test]
async fn challenge_is_that_of_key_vault() {
    for (settings, audience) in [
        ("", "https://vault.azure.net"),
        ("audience = \"https://managedhsm.azure.net\"", "https://managedhsm.azure.net"),
    ] {
        let settings = format!("[host]\nkey_vault_challenge = true\n{settings}");
        let emulator = Emulator::builder().faults_toml(&settings).unwrap().start().await.unwrap();
        let answer = Client::new(&emulator, None).send(get(emulator.resource_url())).await.unwrap();
        let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
        let expected = format!(r#"Bearer authorization="{authority}", resource="{audience}""#);
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, expected.as_str()));
    }
}

#[tokio::test]
async fn bearer_token_is_not_accepted_as_bound() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    let token = client.send(token_request(&emulator, &[])).await.unwrap().json();
    let token = token["access_token"].as_str().unwrap();
    let url = emulator.resource_url();
    let answer = Client::new(&emulator, None).send(authorized(url, "Bearer", token)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["bound"]), (200, &json!(false)));
    assert_eq!(
        reason(&client.send(authorized(url, "mtls_pop", token)).await.unwrap()),
        (401, json!("wrong_scheme"))
    );
}

#[tokio::test]
async fn audience_and_expiry_are_checked() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let shared = SharedClock::new(clock.clone());
    let strict =
        Emulator::builder().clock(shared.clone()).audience("https://other.example").start().await.unwrap();
    let identity = certified(&strict, &Key::p256()).await;
    let token = bound_token(&strict, &identity).await.unwrap();
    let answer = Client::new(&strict, Some(&identity))
        .send(authorized(strict.resource_url(), "mtls_pop", &token))
        .await
        .unwrap();
    assert_eq!(reason(&answer), (401, json!("wrong_audience")));

    let emulator = Emulator::builder().clock(shared).start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let token = bound_token(&emulator, &identity).await.unwrap();
    let client = Client::new(&emulator, Some(&identity));
    for (advance, status) in [(3598, 200), (1, 401)] {
        clock.advance(Duration::from_secs(advance));
        let answer = client.send(authorized(emulator.resource_url(), "mtls_pop", &token)).await.unwrap();
        assert_eq!(answer.status, status);
    }
    let answer = client.send(authorized(emulator.resource_url(), "mtls_pop", &token)).await.unwrap();
    assert_eq!(reason(&answer).1, "expired");
}

#[tokio::test]
async fn token_of_other_emulator_is_refused() {
    let (emulator, elsewhere) = (Emulator::start().await.unwrap(), Emulator::start().await.unwrap());
    let foreign = certified(&elsewhere, &Key::p256()).await;
    let token = bound_token(&elsewhere, &foreign).await.unwrap();
    let own = certified(&emulator, &Key::p256()).await;
    let answer = Client::new(&emulator, Some(&own))
        .send(authorized(emulator.resource_url(), "mtls_pop", &token))
        .await
        .unwrap();
    assert_eq!(reason(&answer), (401, json!("bad_signature")));
}
