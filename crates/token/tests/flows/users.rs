//! Tokens about users: on behalf of, sessions, codes and accounts.

use symbolon_token::{
    AuthorizationCode, ClientSecret, ErrorKind, FederatedUser, MemoryStore, TokenCache, TokenClient,
    TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::{Context, Secret, SharedClock};

use crate::env::{
    USER, about_user, answer, at_endpoint, client, form, issued, pairs, redemption, refused_response,
};

#[tokio::test]
async fn obo_token_is_cached_by_assertion() {
    let (client, transport) =
        client([about_user("one", Some("rt")), about_user("two", None), about_user("three", None)]);
    let [assertion, other] = ["assertion", "another"].map(Secret::new);
    let first = client.on_behalf_of(&assertion, "api").await.unwrap();
    let again = client.on_behalf_of(&assertion, "api").await.unwrap();
    let of_other = client.on_behalf_of(&other, "api").await.unwrap();
    assert_eq!((first.secret().expose(), first.origin()), ("one", TokenOrigin::Network));
    assert_eq!((again.secret().expose(), again.origin()), ("one", TokenOrigin::Cache));
    assert_eq!((of_other.secret().expose(), of_other.origin()), ("two", TokenOrigin::Network));
    let exchange = |assertion: &str, scope: &str| {
        pairs(&[
            ("scope", scope),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion),
            ("requested_token_use", "on_behalf_of"),
            ("client_info", "1"),
        ])
    };
    // Other scopes use the assertion again, because its refresh token is dropped.
    client.on_behalf_of(&assertion, "zoo").await.unwrap();
    let account = first.account().unwrap();
    assert_eq!(account.id(), "uid.utid");
    assert_eq!(client.token_for_account(account, "api").await.unwrap_err().code(), "no_tokens_found");
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [
            exchange("assertion", "api offline_access openid profile"),
            exchange("another", "api offline_access openid profile"),
            exchange("assertion", "offline_access openid profile zoo"),
        ]
    );
}

#[tokio::test]
async fn refresh_token_of_assertion_is_dropped() {
    let clock = SharedClock::system();
    let store = MemoryStore::new(clock.clone());
    let cache = TokenCache::new(10, &Context::default().with_clock(clock)).with_store(store.clone());
    let transport = ScriptedTransport::new([about_user("one", Some("rt")), about_user("two", Some("rt"))]);
    let credential = ClientSecret::new(at_endpoint(), Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, transport).cache(cache).build();
    let assertion = Secret::new("assertion");
    client.on_behalf_of(&assertion, "api").await.unwrap();
    assert_eq!(store.len(), 1, "only the access token");
    client.start_session("session", &assertion, "api").await.unwrap();
    assert_eq!(store.len(), 3, "a session keeps its refresh token");
}

#[tokio::test]
async fn session_continues_with_its_refresh_token() {
    let (client, transport) = client([
        about_user("one", Some("rt-1")),
        about_user("two", Some("rt-2")),
        about_user("three", None),
        about_user("four", None),
        about_user("five", Some("rt-5")),
    ]);
    let assertion = Secret::new("assertion");
    let unknown = client.session_token("session", "api").await.unwrap_err();
    assert_eq!((unknown.code(), unknown.kind()), ("no_tokens_found", ErrorKind::Request));

    client.start_session("session", &assertion, "api").await.unwrap();
    let hit = client.session_token("session", "api").await.unwrap();
    assert_eq!((hit.secret().expose(), hit.origin()), ("one", TokenOrigin::Cache));
    for (scope, secret) in [("b", "two"), ("c", "three"), ("d", "four")] {
        let token = client.session_token("session", scope).await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, TokenOrigin::Network));
        assert_eq!(token.account().map(symbolon_token::Account::id), Some("uid.utid"));
    }
    assert_eq!(client.session_token("another", "b").await.unwrap_err().code(), "no_tokens_found");
    let restarted = client.start_session("session", &assertion, "api").await.unwrap();
    assert_eq!(restarted.secret().expose(), "five", "starting a session does not read the cache");

    let sent: Vec<_> = transport.requests()[1..4].iter().map(form).collect();
    assert_eq!(
        sent,
        [
            redemption("rt-1", &format!("b {USER}")),
            redemption("rt-2", &format!("c {USER}")),
            redemption("rt-2", &format!("d {USER}")),
        ],
        "the latest refresh token"
    );
}

#[tokio::test]
async fn ended_session_gets_no_new_tokens() {
    let (client, transport) = client([about_user("one", Some("rt"))]);
    client.start_session("session", &Secret::new("assertion"), "api").await.unwrap();
    assert!(!client.end_session("another").await.unwrap());
    assert!(client.end_session("session").await.unwrap());
    assert!(!client.end_session("session").await.unwrap(), "the session has already ended");
    assert_eq!(client.session_token("session", "b").await.unwrap_err().code(), "no_tokens_found");
    assert_eq!(client.session_token("session", "api").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn only_refused_refresh_token_is_removed() {
    let (client, transport) = client([
        about_user("one", Some("rt")),
        refused_response(400, "invalid_scope"),
        refused_response(503, "temporarily_unavailable"),
        refused_response(400, "invalid_grant"),
    ]);
    client.start_session("session", &Secret::new("assertion"), "api").await.unwrap();
    for code in ["invalid_scope", "temporarily_unavailable", "invalid_grant", "no_tokens_found"] {
        assert_eq!(client.session_token("session", "b").await.unwrap_err().code(), code);
    }
    assert_eq!(transport.requests().len(), 4);
}

#[tokio::test]
async fn code_tokens_belong_to_the_account() {
    let (client, transport) = client([
        about_user("one", Some("rt")),
        about_user("two", None),
        about_user("three", None),
        about_user("four", None),
    ]);
    let verifier = Secret::new("verifier");
    let redirect = "https://app.example/signed-in";
    let code = AuthorizationCode::new(Secret::new("code"), redirect);
    let token = client.redeem_code(&code.clone().with_verifier(verifier), "api").await.unwrap();
    let account = token.account().unwrap();
    assert_eq!((token.secret().expose(), account.id()), ("one", "uid.utid"));

    let hit = client.token_for_account(account, "api").await.unwrap();
    assert_eq!((hit.secret().expose(), hit.origin()), ("one", TokenOrigin::Cache));
    for (scope, secret) in [("b", "two"), ("c", "three")] {
        let other = client.token_for_account(account, scope).await.unwrap();
        assert_eq!((other.secret().expose(), other.origin()), (secret, TokenOrigin::Network));
        assert_eq!(other.account(), Some(account));
    }
    let again = client.redeem_code(&code, "api").await.unwrap();
    assert_eq!(again.secret().expose(), "four", "a code identifies no user before it is redeemed");

    let scope = format!("api {USER}");
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [
            pairs(&[
                ("scope", &scope),
                ("grant_type", "authorization_code"),
                ("code", "code"),
                ("redirect_uri", redirect),
                ("code_verifier", "verifier"),
                ("client_info", "1"),
            ]),
            redemption("rt", &format!("b {USER}")),
            redemption("rt", &format!("c {USER}")),
            pairs(&[
                ("scope", &scope),
                ("grant_type", "authorization_code"),
                ("code", "code"),
                ("redirect_uri", redirect),
                ("client_info", "1"),
            ]),
        ],
        "a response without a refresh token keeps the old one"
    );
}

#[tokio::test]
async fn foreign_refresh_token_is_redeemed() {
    let (client, transport) = client([about_user("one", Some("rotated")), about_user("two", None)]);
    let token = client.redeem_refresh_token(&Secret::new("imported"), "api").await.unwrap();
    let account = token.account().unwrap();
    assert_eq!(client.token_for_account(account, "api").await.unwrap().origin(), TokenOrigin::Cache);
    client.token_for_account(account, "b").await.unwrap();
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_eq!(
        sent,
        [redemption("imported", &format!("api {USER}")), redemption("rotated", &format!("b {USER}"))]
    );
}

/// A server that names no user: the token is not that of the client.
#[tokio::test]
async fn token_of_an_unnamed_user_is_kept_apart() {
    let with_refresh_token = answer(
        200,
        serde_json::json!({"token_type": "Bearer", "access_token": "user", "expires_in": 3600, "refresh_token": "rt"}),
    );
    let store = MemoryStore::new(SharedClock::system());
    for flow in 0..3 {
        let answers = [with_refresh_token.clone(), issued("client")];
        let transport = ScriptedTransport::new(answers);
        let cache = TokenCache::new(10, &Context::default()).with_store(store.clone());
        let credential = ClientSecret::new(at_endpoint(), Secret::new("secret")).unwrap();
        let client = TokenClient::builder(credential, transport).cache(cache).build();
        let secret = Secret::new(format!("secret {flow}"));
        let request = match flow {
            0 => client.redeem_code(&AuthorizationCode::new(secret, "https://app.example"), "api"),
            1 => client.redeem_refresh_token(&secret, "api"),
            _ => client.token_for_federated_user(&FederatedUser::Name("u".to_owned()), &secret, "api"),
        };
        let token = request.await.unwrap();
        assert_eq!((token.secret().expose(), token.account().is_none()), ("user", true));
        if flow > 0 {
            // From the store: the first client has put its own there.
            assert_eq!(client.token("api").await.unwrap().secret().expose(), "client", "{flow}");
            continue;
        }
        let own = client.token("api").await.unwrap();
        assert_eq!((own.secret().expose(), own.origin()), ("client", TokenOrigin::Network));
    }
    // The client's token, and three of users without a refresh token that no request could find.
    assert_eq!(store.len(), 4);
}

/// A server that delays one user delays no other one, and not the client.
#[tokio::test]
async fn delay_of_one_user_is_not_that_of_others() {
    let delayed = answer(429, serde_json::json!({"error": "temporarily_unavailable"}));
    let delayed = delayed.map(|response| {
        let after = http::HeaderValue::from_static("60");
        response.with_headers([(http::header::RETRY_AFTER, after)].into_iter().collect())
    });
    let (client, transport) = client([delayed, about_user("two", None), issued("client")]);
    let user = |name: &str| FederatedUser::Name(name.to_owned());
    let credential = Secret::new("credential");
    client.token_for_federated_user(&user("one"), &credential, "api").await.unwrap_err();
    let error = client.token_for_federated_user(&user("one"), &credential, "api").await.unwrap_err();
    assert!(error.retry_after().is_some() && transport.requests().len() == 1, "{error}");
    let other = client.token_for_federated_user(&user("two"), &credential, "api").await.unwrap();
    assert_eq!(other.secret().expose(), "two");
    assert_eq!(client.token("api").await.unwrap().secret().expose(), "client");
}
