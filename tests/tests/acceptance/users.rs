//! Tokens about users, from end to end: the emulator verifies the assertion and knows whose a refresh token is.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::Value;
use symbolon::{ErrorKind, Secret, TokenSource};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::{CLIENT_ID, World};
use symbolon_token::{Account, Application, ClientCertificate, ClientSecret, TokenClient, TokenEndpoint};
use symbolon_transport::{Request, Route};

const SECRET: &str = "the secret of the middle tier";
const SCOPE: &str = "https://vault.example/.default";
/// Another application with the same secret.
const OTHER: &str = "99999999-2222-4333-8444-555555555555";

/// A world in which the client has a secret, too.
async fn world() -> World {
    let world =
        World::with(|emulator| emulator.application(CLIENT_ID, SECRET).application(OTHER, SECRET)).await;
    world.watch(SECRET);
    world
}

/// The token of a user who signed in to another application, which sends it to the client.
async fn assertion(world: &World, user: &str) -> Secret {
    let token = world.emulator.user_token_of(user, &format!("api://{CLIENT_ID}")).await.unwrap();
    world.watch(&token);
    Secret::new(token)
}

fn secret_client(world: &World, application: Application) -> TokenClient {
    world.client_builder(ClientSecret::new(application, Secret::new(SECRET)).unwrap()).build()
}

#[tokio::test]
async fn every_credential_gets_a_users_token_once_and_the_resource_takes_it() {
    let world = world().await;
    let identity = world.identity();
    let over_mtls = ClientCertificate::new(world.application(), world.certificate()).unwrap().over_mtls();
    for (case, client, has_certificate) in [
        ("a secret", secret_client(&world, world.application()), false),
        ("a certificate", world.certificate_client(world.certificate()), false),
        ("a certificate on TLS", world.client_builder(over_mtls).build(), true),
        ("an assertion", world.assertion_client(&identity), false),
    ] {
        let adele = assertion(&world, "adele@contoso.example").await;
        let token = world.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        let request = world.last_token_request();
        assert_eq!(request.form("requested_token_use"), Some("on_behalf_of"), "{case}");
        assert_eq!(request.certificate().is_some(), has_certificate, "{case}");
        assert_eq!((token.token_type(), token.source()), ("Bearer", TokenSource::Network), "{case}");
        let account = token.account().unwrap();
        assert_eq!(account.username(), Some("adele@contoso.example"), "{case}");
        let tenant_id = world.emulator.tenant_id();
        assert!(account.id().ends_with(&format!(".{tenant_id}")), "{case}: as Entra names accounts");
        assert_eq!(account.tenant_id(), Some(tenant_id), "{case}");
        let seen = client.call(&token, world.resource_request()).await.unwrap();
        assert_eq!(seen.status(), 200, "{case}");

        let asked = world.count(Step::Token);
        let hit = world.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        assert_eq!((hit.source(), world.count(Step::Token)), (TokenSource::Cache, asked), "{case}");
        let ben = assertion(&world, "ben@contoso.example").await;
        let other = world.keep(client.on_behalf_of(&ben, SCOPE).await.unwrap());
        assert_eq!(other.source(), TokenSource::Network, "{case}");
        assert_ne!(other.account().map(Account::id), Some(account.id()), "{case}");
    }
}

#[tokio::test]
async fn a_users_token_over_mtls_is_bound_and_a_downgraded_one_is_refused() {
    let world = world().await;
    let certificate = world.certificate();
    let identity = world.identity();
    for client in [world.certificate_client(certificate.clone()), world.assertion_client(&identity)] {
        let adele = assertion(&world, "adele@contoso.example").await;
        let ask = || client.on_behalf_of(&adele, SCOPE).proof_of_possession();
        world.emulator.inject(Fault::downgrade_to_bearer());
        let error = ask().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("token_type_mismatch", ErrorKind::Response));
        world.emulator.inject(Fault::wrong_cnf());
        assert_eq!(ask().await.unwrap_err().code(), "invalid_response");

        let token = world.keep(ask().await.unwrap());
        let bound_to = token.bound_to().unwrap().thumbprint();
        assert_eq!(
            (token.token_type(), world.last_token_request().certificate()),
            ("mtls_pop", Some(bound_to))
        );
        assert_eq!(client.call(&token, world.resource_request()).await.unwrap().status(), 200);
        assert_eq!(world.keep(ask().await.unwrap()).source(), TokenSource::Cache);
        // A bearer token of the same assertion is another token.
        let bearer = world.keep(client.on_behalf_of(&adele, SCOPE).await.unwrap());
        assert_eq!((bearer.token_type(), bearer.source()), ("Bearer", TokenSource::Network));
    }
}

#[tokio::test]
async fn a_session_outlives_its_assertion_by_the_refresh_token() {
    let world = world().await;
    let client = secret_client(&world, world.application());
    let adele = assertion(&world, "adele@contoso.example").await;
    let first = world.keep(client.start_session("a session", &adele, SCOPE).await.unwrap());
    let other = "https://other.example/.default";
    // Another resource, without the assertion; and again, with what that answer had for a refresh token.
    for hours in [0, 2, 24 * 60] {
        world.hands.advance(Duration::from_secs(hours * 60 * 60));
        let token = world.keep(client.session_token("a session", other).await.unwrap());
        assert_eq!(token.source(), TokenSource::Network, "after {hours} hours");
        assert_eq!(world.last_token_request().form("grant_type"), Some("refresh_token"));
        assert_eq!(token.account().map(Account::id), first.account().map(Account::id));
        let hit = world.keep(client.session_token("a session", other).await.unwrap());
        assert_eq!(hit.source(), TokenSource::Cache, "after {hours} hours");
    }
    let error = client.on_behalf_of(&adele, SCOPE).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_grant", &[500_133][..]));
    // Ninety days after the last one the user has to sign in again, and the refresh token is forgotten.
    world.hands.advance(Duration::from_secs(90 * 24 * 60 * 60));
    let error = client.session_token("a session", other).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_grant", &[70_008][..]));
    let error = client.session_token("a session", other).await.unwrap_err();
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test]
async fn what_is_not_for_this_client_is_refused_and_the_credential_is_not_blamed() {
    let world = world().await;
    let client = secret_client(&world, world.application());
    let refresh_token = refresh_token(&world).await;
    let redeemed = world.keep(client.redeem_refresh_token(&refresh_token, SCOPE).await.unwrap());
    assert_eq!(redeemed.account().and_then(Account::username), Some("adele@contoso.example"));

    let endpoint = TokenEndpoint::parse(&world.emulator.token_endpoint()).unwrap();
    let other = secret_client(&world, Application::at(endpoint, OTHER).unwrap());
    let application = world.keep(client.token(&format!("{CLIENT_ID}/.default")).await.unwrap());
    let adele = assertion(&world, "adele@contoso.example").await;
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

/// A refresh token of the client, which some other library got.
async fn refresh_token(world: &World) -> Secret {
    let adele = assertion(world, "adele@contoso.example").await;
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
    let url = world.emulator.token_endpoint().parse().unwrap();
    let mut request = Request::new(Method::POST, url, Route::Public).with_body(body);
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    let answer = world.send(request).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let token = body["refresh_token"].as_str().unwrap();
    world.watch(token);
    Secret::new(token)
}
