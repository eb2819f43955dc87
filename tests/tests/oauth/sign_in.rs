//! A user signs in through their browser, and the server insists on PKCE.

use crate::clients::REDIRECT_URI;
use crate::provider::{Issuer, OAuthServer};
use symbolon_test_logs::CapturedLogs;
use symbolon_tests::RESOURCE;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, AuthorizationCode, ClientSecret, ErrorKind, PendingAuthorization, Prompt, TokenClient,
    TokenOrigin,
};
use symbolon_types::Secret;

use crate::browser::Browser;
use crate::server::{claims, client, server, ways_in};

const USER: &str = "a.user";

/// The application that signs users in, with its client.
fn web(server: &OAuthServer, issuer: &Issuer) -> (Application, TokenClient) {
    let web = &server.clients.web;
    let application = Application::new(Authority::oidc(&issuer.issuer).unwrap(), web.id).unwrap();
    let credential = ClientSecret::new(application.clone(), Secret::new(web.secret)).unwrap();
    (application, client(server, credential))
}

fn scope() -> String {
    format!("{RESOURCE}/.default")
}

#[tokio::test]
async fn user_signs_in_and_stays_signed_in() {
    let Some(server) = server().await else { return };
    let logs = CapturedLogs::begin();
    let scope = scope();
    let mut secrets = Vec::new();
    for (way, issuer) in ways_in(server) {
        let (application, client) = web(server, issuer);
        let request = client.authorization_request(&application, REDIRECT_URI, &scope);
        // The server issues a refresh token only after consent.
        let (url, pending) = request.prompt(Prompt::Consent).await.unwrap();
        let session = pending.to_session();
        let query = Browser::of(USER, server).sign_in(url).await;
        assert!(query.contains("iss="), "{way}: the server says who it is (RFC 9207): {query}");

        let pending = PendingAuthorization::from_session(&session).unwrap();
        let code = pending.receive(&query).unwrap_or_else(|error| panic!("{way}: {error}"));
        let token = client.redeem_code(&code, &scope).await;
        let token = token.unwrap_or_else(|error| panic!("{way}: {error} {:?}", error.excerpt()));
        let payload = claims(&token);
        assert_eq!((&payload["aud"], &payload["sub"]), (&RESOURCE.into(), &USER.into()), "{way}");
        assert_eq!(payload["client_id"], server.clients.web.id, "{way}");

        let account = token.account().unwrap_or_else(|| panic!("{way}: no account"));
        assert_eq!(account.id(), USER, "{way}");
        let hit = client.token_for_account(account, &scope).await.unwrap();
        assert_eq!(hit.origin(), TokenOrigin::Cache, "{way}");
        let renewed = client.token_for_account(account, &scope).force_refresh().await;
        let renewed = renewed.unwrap_or_else(|error| panic!("{way}: {error} {:?}", error.excerpt()));
        assert_eq!(claims(&renewed)["sub"], USER, "{way}");
        assert_ne!(renewed.secret().expose(), token.secret().expose(), "{way}");

        let again = client.redeem_code(&code, &scope).await.expect_err("a code is good once");
        assert_eq!((again.kind(), again.code()), (ErrorKind::Service, "invalid_grant"), "{way}: {again}");
        secrets
            .extend([pending.state(), pending.nonce(), pending.verifier(), token.secret()].map(Clone::clone));
    }
    let logs = logs.text();
    assert!(logs.contains("fetched a token"), "{logs}");
    for secret in secrets {
        assert!(!logs.contains(secret.expose()), "a secret was logged:\n{logs}");
    }
    assert!(!logs.contains(USER), "somebody is named:\n{logs}");
}

#[tokio::test]
async fn code_needs_its_verifier() {
    let Some(server) = server().await else { return };
    let scope = scope();
    for (way, issuer) in ways_in(server) {
        let (application, client) = web(server, issuer);
        let mut browser = Browser::of(USER, server);
        for verifier in [None, Some("another-verifier-which-is-as-long-as-it-has-to-be")] {
            let request = client.authorization_request(&application, REDIRECT_URI, &scope);
            let (url, pending) = request.await.unwrap();
            let query = browser.sign_in(url).await;
            pending.receive(&query).unwrap();
            // An attacker has the code, but not the verifier.
            let seen =
                url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").unwrap();
            let code = AuthorizationCode::new(Secret::new(seen.1), REDIRECT_URI);
            let code = match verifier {
                Some(verifier) => code.with_verifier(Secret::new(verifier)),
                None => code,
            };
            let refused = client.redeem_code(&code, &scope).await.expect_err(way);
            let outcome = (refused.kind(), refused.code(), refused.status());
            assert_eq!(outcome, (ErrorKind::Service, "invalid_grant", Some(400)), "{way}: {refused}");
        }
    }
}

#[tokio::test]
async fn authorization_request_has_a_challenge() {
    let Some(server) = server().await else { return };
    for (way, issuer) in ways_in(server) {
        let (application, client) = web(server, issuer);
        let scope = scope();
        let (url, pending) = client.authorization_request(&application, REDIRECT_URI, &scope).await.unwrap();
        let mut stripped = url.clone();
        let kept: Vec<_> =
            url.query_pairs().into_owned().filter(|(name, _)| !name.starts_with("code_challenge")).collect();
        stripped.query_pairs_mut().clear().extend_pairs(kept);
        let query = Browser::of(USER, server).sign_in(stripped).await;
        let error = pending.receive(&query).expect_err(way);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Service, "invalid_request"), "{way}: {error}");
    }
}

#[tokio::test]
async fn foreign_response_is_refused_before_sending() {
    let Some(server) = server().await else { return };
    let scope = scope();
    for (way, issuer) in ways_in(server) {
        let (application, client) = web(server, issuer);
        let ask = || client.authorization_request(&application, REDIRECT_URI, &scope).into_future();
        let (ours, (theirs, _)) = (ask().await.unwrap().1, ask().await.unwrap());
        let query = Browser::of("somebody.else", server).sign_in(theirs).await;
        let error = ours.receive(&query).expect_err(way);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "state_mismatch"), "{way}: {error}");
    }
}

#[tokio::test]
async fn silent_sign_in_needs_no_interaction() {
    let Some(server) = server().await else { return };
    let scope = scope();
    for (way, issuer) in ways_in(server) {
        let (application, client) = web(server, issuer);
        let request = client.authorization_request(&application, REDIRECT_URI, &scope);
        let (url, pending) = request.prompt(Prompt::None).await.unwrap();
        let query = Browser::of(USER, server).sign_in(url).await;
        let error = pending.receive(&query).expect_err(way);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Service, "login_required"), "{way}: {error}");
    }
}

#[tokio::test]
async fn response_of_another_issuer_is_refused() {
    let Some(server) = server().await else { return };
    let scope = scope();
    let (application, client) = web(server, &server.direct);
    let request = client.authorization_request(&application, REDIRECT_URI, &scope);
    let (url, pending) = request.await.unwrap();
    // Mix-up attack: another server received the request (RFC 9700 §4.4).
    let lured = url.as_str().replace(&server.direct.issuer, &server.behind_nginx.issuer);
    let query = Browser::of(USER, server).sign_in(lured.parse().unwrap()).await;
    let error = pending.receive(&query).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "issuer_mismatch"), "{error}");
}
