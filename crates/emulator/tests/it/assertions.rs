//! Tests of client assertions.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use symbolon_emulator::Emulator;

use crate::client::{Client, Identity, authorized, form};
use crate::csr::Key;
use crate::fixtures::{SCOPE, certified, token_request, v1_token_request};

const CLIENT: &str = "11111111-2222-4333-8444-555555555555";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// Issues a certificate of [`CLIENT`] for this key.
fn application(emulator: &Emulator, key: &Key) -> Identity {
    let certificate = emulator.certify(CLIENT, &key.spki()).unwrap().der.to_vec();
    Identity { certificate, pkcs8: key.pkcs8() }
}

fn valid_claims(emulator: &Emulator) -> Value {
    json!({
        "iss": CLIENT, "sub": CLIENT, "aud": emulator.token_endpoint(), "exp": 4_000_000_000_u64, "nbf": 1_000,
    })
}

/// Signs an assertion with RSA, by a library that the emulator does not use.
fn signed(key: &Key, algorithm: Algorithm, header: Value, claims: &Value) -> String {
    let mut described = Header::new(algorithm);
    described.x5t_s256 = header["x5t#S256"].as_str().map(str::to_owned);
    described.x5c = header["x5c"]
        .as_array()
        .map(|chain| chain.iter().map(|certificate| certificate.as_str().unwrap().to_owned()).collect());
    let Key::Rsa(key) = key else { unreachable!() };
    // The library reads the PKCS#1 encoding.
    let pkcs8 = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(key).unwrap();
    let (_, rsa) = pkcs8.as_ref().split_at(26);
    encode(&described, claims, &EncodingKey::from_rsa_der(rsa)).unwrap()
}

fn request(emulator: &Emulator, kind: &str, assertion: &str, more: &[(&str, &str)]) -> http::Request<String> {
    let mut parameters = vec![
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("scope", SCOPE),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
    ];
    parameters.extend_from_slice(more);
    form(&emulator.token_endpoint(), &parameters)
}

#[tokio::test]
async fn rsa_assertion_gets_a_bearer_token() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::rsa();
    let identity = application(&emulator, &key);
    let by_thumbprint = json!({ "x5t#S256": identity.thumbprint().to_string() });
    let by_chain = json!({ "x5c": [Base64::encode_string(&identity.certificate)] });
    let client = Client::new(&emulator, None);
    // As MSAL for Python, for Go and for .NET write them.
    let padded = json!({ "x5t#S256": format!("{}=", identity.thumbprint()) });
    let plain = json!({ "x5t#S256": Base64::encode_string(identity.thumbprint().as_bytes()) });
    let claims = valid_claims(&emulator);
    let dated = |dates: Value| {
        let mut claims = claims.clone();
        (claims["exp"], claims["nbf"]) = (dates[1].clone(), dates[0].clone());
        claims
    };
    let (fractions, texts) =
        (dated(json!([1_000.5, 4_000_000_000.25])), dated(json!(["1000", "4000000000"])));
    for (algorithm, header, claims) in [
        (Algorithm::PS256, &by_thumbprint, &claims),
        (Algorithm::RS256, &by_chain, &claims),
        (Algorithm::PS256, &padded, &fractions),
        (Algorithm::PS256, &plain, &texts),
    ] {
        let assertion = signed(&key, algorithm, header.clone(), claims);
        let answer = client.send(request(&emulator, JWT_BEARER, &assertion, &[])).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["token_type"]),
            (200, &json!("Bearer")),
            "{}",
            answer.json()
        );
    }
    for (name, value) in [
        ("iss", json!("someone else")),
        ("sub", json!("someone else")),
        ("aud", json!("https://login.example/token")),
        ("exp", json!(1_000)),
        ("exp", json!(1_000.5)),
        ("exp", json!("1000")),
        ("exp", json!("never")),
        ("exp", json!([4_000_000_000_u64])),
        ("exp", Value::Null),
        ("nbf", json!("4000000000")),
        ("nbf", json!("never")),
        ("nbf", json!(4_000_000_000_u64)),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let assertion = signed(&key, Algorithm::PS256, by_thumbprint.clone(), &claims);
        let body = client.send(request(&emulator, JWT_BEARER, &assertion, &[])).await.unwrap().json();
        assert_eq!(body["error_codes"], json!([700_023]), "{name}: {body}");
    }
    let by_stranger = signed(&Key::rsa(), Algorithm::PS256, by_thumbprint.clone(), &claims);
    let body = client.send(request(&emulator, JWT_BEARER, &by_stranger, &[])).await.unwrap().json();
    assert_eq!(body["error_codes"], json!([700_027]));

    let right = signed(&key, Algorithm::PS256, by_thumbprint, &claims);
    for (kind, more, code) in [
        ("urn:other", &[][..], 90_100),
        (JWT_BEARER, &[("client_secret", "s")], 90_100),
        (JWT_BEARER, &[("token_type", "mtls_pop")], 90_100),
        (JWT_POP, &[("token_type", "mtls_pop")], 392_200),
    ] {
        let body = client.send(request(&emulator, kind, &right, more)).await.unwrap().json();
        assert_eq!(body["error_codes"], json!([code]), "{kind} {more:?}: {body}");
    }
    emulator.revoke(identity.thumbprint());
    assert_eq!(client.send(request(&emulator, JWT_BEARER, &right, &[])).await.unwrap().status, 401);
}

#[tokio::test]
async fn ecdsa_assertion_gets_a_bearer_token() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    let identity = application(&emulator, &key);
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.pkcs8()).unwrap();
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    for header in [
        json!({ "alg": "ES256", "x5t#S256": identity.thumbprint().to_string() }),
        // MSAL.NET writes the chain as one text.
        json!({ "alg": "ES256", "x5c": Base64::encode_string(&identity.certificate) }),
    ] {
        let message = format!("{}.{}", part(&header), part(&valid_claims(&emulator)));
        let signature = signer.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        let assertion = format!("{message}.{}", Base64UrlUnpadded::encode_string(signature.as_ref()));
        let request = request(&emulator, JWT_BEARER, &assertion, &[]);
        let answer = Client::new(&emulator, None).send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{header}: {}", answer.json());
    }
}

#[tokio::test]
async fn bound_assertion_needs_its_certificate() {
    let emulator = Emulator::builder().federated_application(CLIENT).start().await.unwrap();
    let key = Key::p256();
    let (machine, other) = (certified(&emulator, &key).await, certified(&emulator, &key).await);
    let exchange = form(
        &emulator.token_endpoint(),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", emulator.client_id()),
            ("scope", "api://AzureADTokenExchange/.default"),
            ("token_type", "mtls_pop"),
        ],
    );
    let client = Client::new(&emulator, Some(&machine));
    let assertion = client.send(exchange).await.unwrap().json()["access_token"].as_str().unwrap().to_owned();

    let pop = [("token_type", "mtls_pop")];
    let answer = client.send(request(&emulator, JWT_POP, &assertion, &pop)).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["token_type"]), (200, &json!("mtls_pop")), "{body}");
    let token = body["access_token"].as_str().unwrap();
    let seen = client.send(authorized(emulator.resource_url(), "mtls_pop", token)).await.unwrap().json();
    assert_eq!((&seen["bound"], &seen["appid"]), (&json!(true), &json!(CLIENT)));
    let body = client.send(request(&emulator, JWT_POP, &assertion, &[])).await.unwrap().json();
    assert_eq!(body["token_type"], "Bearer");

    let refused =
        Client::new(&emulator, Some(&other)).send(request(&emulator, JWT_POP, &assertion, &pop)).await;
    assert_eq!(refused.unwrap().json()["error_codes"], json!([500_181]));
    // A token for another audience is not an assertion.
    let body = client.send(token_request(&emulator, &pop)).await.unwrap().json();
    let body = client.send(request(&emulator, JWT_POP, body["access_token"].as_str().unwrap(), &pop)).await;
    assert_eq!(body.unwrap().json()["error_codes"], json!([700_023]));
}

#[tokio::test]
async fn service_token_needs_a_federated_client() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let token = client.send(v1_token_request(&emulator, "api://AzureADTokenExchange")).await.unwrap().json();
    let body =
        client.send(request(&emulator, JWT_BEARER, token["access_token"].as_str().unwrap(), &[])).await;
    assert_eq!(body.unwrap().json()["error_codes"], json!([700_023]));
}
