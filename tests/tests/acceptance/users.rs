//! Tokens about users, end to end: the emulator verifies assertions and owners of refresh tokens.

use std::time::Duration;

use crate::clients::CLIENT_ID;
use crate::test_env::TestEnv;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::Value;
use symbolon::{ErrorKind, Secret, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_token::{
    Account, Application, AuthorizationCode, ClientCertificate, ClientSecret, TokenClient, TokenEndpoint,
};
use symbolon_transport::{Request, Route};

const SECRET: &str = "the secret of the middle tier";
const SCOPE: &str = "https://vault.example/.default";
/// Another application with the same secret.
const OTHER: &str = "99999999-2222-4333-8444-555555555555";

/// An emulator at which the client has a secret as well.
async fn test_env() -> TestEnv {
    let test_env =
        TestEnv::with(|emulator| emulator.application(CLIENT_ID, SECRET).application(OTHER, SECRET)).await;
    test_env.watch(SECRET);
    test_env
}

/// The token of a user who signed in to another application, which sends it to the client.
async fn assertion(test_env: &TestEnv, user: &str) -> Secret {
    let token = test_env.emulator.user_token_of(user, &format!("api://{CLIENT_ID}")).await.unwrap();
    test_env.watch(&token);
    Secret::new(token)
}

fn secret_client(test_env: &TestEnv, application: Application) -> TokenClient {
    test_env.client_builder(ClientSecret::new(application, Secret::new(SECRET)).unwrap()).build()
}

#[tokio::test]
async fn every_credential_gets_a_user_token() {
    let test_env = test_env().await;
    let identity = test_env.identity();
    let over_mtls =
        ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap().over_mtls();
    for (case, client, has_certificate) in [
        ("a secret", secret_client(&test_env, test_env.application()), false),
        ("a certificate", test_env.certificate_client(test_env.certificate()), false),
        ("a certificate on TLS", test_env.client_builder(over_mtls).build(), true),
        ("an assertion", test_env.assertion_client(&identity), false),
    ] {
        let adele = assertion(&test_env, "adele@contoso.example").await;
        let token = test_env.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        let request = test_env.last_token_request();
        assert_eq!(request.form("requested_token_use"), Some("on_behalf_of"), "{case}");
        assert_eq!(request.certificate().is_some(), has_certificate, "{case}");
        assert_eq!((token.token_type(), token.origin()), ("Bearer", TokenOrigin::Network), "{case}");
        let account = token.account().unwrap();
        assert_eq!(account.username(), Some("adele@contoso.example"), "{case}");
        let tenant_id = test_env.emulator.tenant_id();
        assert!(account.id().ends_with(&format!(".{tenant_id}")), "{case}: as Entra names accounts");
        assert_eq!(account.tenant_id(), Some(tenant_id), "{case}");
        let seen = client.call(&token, test_env.resource_request()).await.unwrap();
        assert_eq!(seen.status(), 200, "{case}");

        let asked = test_env.count(Step::Token);
        let hit = test_env.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        assert_eq!((hit.origin(), test_env.count(Step::Token)), (TokenOrigin::Cache, asked), "{case}");
        let ben = assertion(&test_env, "ben@contoso.example").await;
        let other = test_env.keep(client.on_behalf_of(&ben, SCOPE).await.unwrap());
        assert_eq!(other.origin(), TokenOrigin::Network, "{case}");
        assert_ne!(other.account().map(Account::id), Some(account.id()), "{case}");
    }
}

#[tokio::test]
async fn user_token_over_mtls_is_bound() {
    let test_env = test_env().await;
    let certificate = test_env.certificate();
    let identity = test_env.identity();
    for client in [test_env.certificate_client(certificate.clone()), test_env.assertion_client(&identity)] {
        let adele = assertion(&test_env, "adele@contoso.example").await;
        let ask = || client.on_behalf_of(&adele, SCOPE).proof_of_possession();
        test_env.emulator.inject(Fault::downgrade_to_bearer());
        let error = ask().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("token_type_mismatch", ErrorKind::Response));
        test_env.emulator.inject(Fault::wrong_cnf());
        assert_eq!(ask().await.unwrap_err().code(), "invalid_response");

        let token = test_env.keep(ask().await.unwrap());
        let bound_to = token.bound_to().unwrap().thumbprint();
        assert_eq!(
            (token.token_type(), test_env.last_token_request().certificate()),
            ("mtls_pop", Some(bound_to))
        );
        assert_eq!(client.call(&token, test_env.resource_request()).await.unwrap().status(), 200);
        assert_eq!(test_env.keep(ask().await.unwrap()).origin(), TokenOrigin::Cache);
        // A bearer token of the same assertion is another token.
        let bearer = test_env.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        assert_eq!((bearer.token_type(), bearer.origin()), ("Bearer", TokenOrigin::Network));
    }
}

#[tokio::test]
async fn refresh_token_outlives_the_assertion() {
    let test_env = test_env().await;
    let client = secret_client(&test_env, test_env.application());
    let adele = assertion(&test_env, "adele@contoso.example").await;
    let first = test_env.keep(client.start_session("a session", &adele, SCOPE).await.unwrap());
    let other = "https://other.example/.default";
    // Another resource without the assertion, and another with the refresh token of that response.
    for hours in [0, 2, 24 * 60] {
        test_env.manual_clock.advance(Duration::from_secs(hours * 60 * 60));
        let token = test_env.keep(client.session_token("a session", other).await.unwrap());
        assert_eq!(token.origin(), TokenOrigin::Network, "after {hours} hours");
        assert_eq!(test_env.last_token_request().form("grant_type"), Some("refresh_token"));
        assert_eq!(token.account().map(Account::id), first.account().map(Account::id));
        let hit = test_env.keep(client.session_token("a session", other).await.unwrap());
        assert_eq!(hit.origin(), TokenOrigin::Cache, "after {hours} hours");
    }
    let error = client.on_behalf_of(&adele, SCOPE).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_grant", &[500_133][..]));
    // After ninety days the user must sign in again, and the refresh token is removed.
    test_env.manual_clock.advance(Duration::from_secs(90 * 24 * 60 * 60));
    let error = client.session_token("a session", other).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_grant", &[70_008][..]));
    let error = client.session_token("a session", other).await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test]
async fn assertion_for_another_client_is_refused() {
    let test_env = test_env().await;
    let client = secret_client(&test_env, test_env.application());
    let refresh_token = refresh_token(&test_env).await;
    let redeemed = test_env.keep(client.redeem_refresh_token(&refresh_token, SCOPE).await.unwrap());
    assert_eq!(redeemed.account().and_then(Account::username), Some("adele@contoso.example"));

    let endpoint = TokenEndpoint::parse(&test_env.emulator.token_endpoint()).unwrap();
    let other = secret_client(&test_env, Application::at(endpoint, OTHER).unwrap());
    let application = test_env.keep(client.token(&format!("{CLIENT_ID}/.default")).await.unwrap());
    let adele = assertion(&test_env, "adele@contoso.example").await;
    for (error, code, number) in [
        (other.redeem_refresh_token(&refresh_token, SCOPE).await.unwrap_err(), "invalid_grant", 70_000),
        (
            client.redeem_refresh_token(&Secret::new("of nobody"), SCOPE).await.unwrap_err(),
            "invalid_grant",
            70_000,
        ),
        (other.on_behalf_of(&adele, SCOPE).await.unwrap_err(), "invalid_grant", 500_131),
        (client.on_behalf_of(&Secret::new("no token"), SCOPE).await.unwrap_err(), "invalid_grant", 50_013),
        (
            client.on_behalf_of(application.secret(), SCOPE).await.unwrap_err(),
            "unauthorized_client",
            7_000_114,
        ),
        (client.on_behalf_of(&adele, "api://a/b api://c/d").await.unwrap_err(), "invalid_scope", 28_000),
    ] {
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Service), "{error}");
        assert_eq!((error.server_codes(), error.status()), (&[number][..], Some(400)), "{error}");
        assert!(!error.is_transient());
    }
}

/// The server receives each request completely, and resets its connection, new or kept.
#[tokio::test]
async fn http_09_one_time_grants_are_sent_once() {
    let test_env = test_env().await;
    let refresh_token = refresh_token(&test_env).await;
    let code = AuthorizationCode::new(Secret::new("a code of one use"), "https://app.example/");
    test_env.watch("a code of one use");
    for is_kept in [false, true] {
        for is_code in [true, false] {
            let client = secret_client(&test_env, test_env.application());
            if is_kept {
                let adele = assertion(&test_env, "adele@contoso.example").await;
                test_env.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
            }
            let before = test_env.count(Step::Token);
            test_env.emulator.inject(Fault::reset(Step::Token).always());
            let redeemed = match is_code {
                true => client.redeem_code(&code, SCOPE).await,
                false => client.redeem_refresh_token(&refresh_token, SCOPE).await,
            };
            test_env.emulator.clear_faults();
            let error = redeemed.unwrap_err();
            assert_eq!((error.code(), error.is_transient()), ("transport_error", !is_code), "{error}");
            assert_eq!(test_env.count(Step::Token), before + 1, "kept: {is_kept}, code: {is_code}");
        }
    }
}

/// A refresh token of the client from another library.
async fn refresh_token(test_env: &TestEnv) -> Secret {
    let adele = assertion(test_env, "adele@contoso.example").await;
    let scope = format!("{SCOPE} offline_access");
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("client_id", CLIENT_ID),
            ("client_secret", SECRET),
            ("assertion", adele.expose()),
            ("requested_token_use", "on_behalf_of"),
            ("scope", &scope),
        ])
        .finish();
    let url = test_env.emulator.token_endpoint().parse().unwrap();
    let mut request = Request::new(Method::POST, url, Route::Public).with_body(body);
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    let answer = test_env.send(request).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let token = body["refresh_token"].as_str().unwrap();
    test_env.watch(token);
    Secret::new(token)
}

/// A request on behalf of a user, and one of a session that was started with the same part.
#[tokio::test]
async fn cache_10_part_separates_tokens_of_a_user() {
    let test_env = test_env().await;
    let client = test_env.certificate_client(test_env.certificate());
    let assertion = assertion(&test_env, "adele@contoso.example").await;
    let mut tokens = Vec::new();
    for tenant in ["one", "two"] {
        let requests = || {
            [
                client.on_behalf_of(&assertion, SCOPE).cache_key_part("customer", tenant),
                client.session_token("session", SCOPE).cache_key_part("customer", tenant),
            ]
        };
        let started = client.start_session("session", &assertion, SCOPE).cache_key_part("customer", tenant);
        test_env.keep(started.await.unwrap());
        for (request, again) in requests().into_iter().zip(requests()) {
            let token = test_env.keep(request.await.unwrap());
            let again = again.await.unwrap();
            assert_eq!(
                (again.origin(), again.secret().expose()),
                (TokenOrigin::Cache, token.secret().expose())
            );
            tokens.push(token.secret().expose().to_owned());
        }
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
}
