//! Agent identities: tokens for a child of a client, and tokens about the user of an agent.

use std::sync::{Arc, Mutex};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use symbolon::{ErrorKind, Secret, Token, TokenOrigin};
use symbolon_emulator::Step;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, Caching, ClientAssertion, FederatedUser, SignedAssertion, TokenClient, TokenRequest,
    assertion_fn,
};

use crate::clients::CLIENT_ID;
use crate::test_env::TestEnv;

const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
const GRAPH: &str = "https://graph.microsoft.com/User.Read";
const VAULT: &str = "https://vault.example/.default";
/// The client ids of two agent identities of the client, which is their blueprint.
const AGENT: &str = "aaaaaaaa-2222-4333-8444-555555555555";
const OTHER_AGENT: &str = "bbbbbbbb-2222-4333-8444-555555555555";
/// The object id of the user account of an agent.
const USER: &str = "cccccccc-2222-4333-8444-555555555555";

/// The paths that reached an assertion callback.
type Paths = Arc<Mutex<Vec<Option<String>>>>;

fn claims(token: &Token) -> Value {
    let payload = token.secret().expose().split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).expect("base64url")).expect("claims")
}

fn blueprint(env: &TestEnv) -> TokenClient {
    env.certificate_client(env.certificate())
}

fn application(env: &TestEnv, client_id: &str) -> Application {
    let authority = format!("{}/{}", env.emulator.token_url(), env.emulator.tenant_id());
    Application::new(Authority::parse(&authority).expect("an authority"), client_id).expect("an application")
}

/// An agent identity, whose assertions its blueprint requests for `child`.
fn agent(env: &TestEnv, child: &'static str) -> (TokenClient, Paths) {
    let (blueprint, paths) = (blueprint(env), Paths::default());
    let received = Arc::clone(&paths);
    let source = assertion_fn(move |request| {
        received.lock().expect("paths").push(request.fmi_path().map(str::to_owned));
        let blueprint = blueprint.clone();
        async move {
            let assertion = blueprint.token(EXCHANGE).fmi_path(child).await?;
            Ok(SignedAssertion::new(assertion.secret().clone()))
        }
    });
    (env.client_builder(ClientAssertion::new(application(env, AGENT), source)).build(), paths)
}

fn received(paths: &Paths) -> Vec<Option<String>> {
    std::mem::take(&mut *paths.lock().expect("paths"))
}

#[tokio::test]
async fn fmi_01_path_is_sent_and_cached_apart() {
    let env = TestEnv::new().await;
    let blueprint = blueprint(&env);
    let plain = env.keep(blueprint.token(EXCHANGE).await.unwrap());
    assert_eq!(env.last_token_request().form("fmi_path"), None);
    let child = env.keep(blueprint.token(EXCHANGE).fmi_path(AGENT).await.unwrap());
    assert_eq!(env.last_token_request().form("fmi_path"), Some(AGENT));
    assert!(claims(&child)["sub"].as_str().unwrap().ends_with(&format!("/a/{CLIENT_ID}/{AGENT}")));
    let other = env.keep(blueprint.token(EXCHANGE).fmi_path(OTHER_AGENT).await.unwrap());
    assert_eq!(env.last_token_request().form("fmi_path"), Some(OTHER_AGENT));
    let sent = env.count(Step::Token);
    for (path, token) in [(None, &plain), (Some(AGENT), &child), (Some(OTHER_AGENT), &other)] {
        let request = blueprint.token(EXCHANGE);
        let again = match path {
            Some(path) => request.fmi_path(path).await.unwrap(),
            None => request.await.unwrap(),
        };
        assert_eq!(again.origin(), TokenOrigin::Cache, "{path:?}");
        assert_eq!(again.secret().expose(), token.secret().expose(), "{path:?}");
    }
    assert_eq!(env.count(Step::Token), sent);
    // The callback of a client that authenticates by assertion receives the path.
    let (agent, paths) = agent(&env, AGENT);
    env.keep(agent.token(EXCHANGE).fmi_path("a/b").await.unwrap());
    env.keep(agent.token(EXCHANGE).await.unwrap());
    assert_eq!(received(&paths), [Some("a/b".to_owned()), None]);
}

#[tokio::test]
async fn fmi_02_agent_has_the_assertion_of_its_blueprint() {
    let env = TestEnv::new().await;
    let (client, _) = agent(&env, AGENT);
    let token = env.keep(client.token(VAULT).await.unwrap());
    assert_eq!(claims(&token)["appid"], AGENT);
    // An assertion for another agent authenticates no agent but that one.
    let (client, _) = agent(&env, OTHER_AGENT);
    let error = client.token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[700_023][..]), "{error}");
}

#[tokio::test]
async fn fmi_03_agent_acts_as_its_user() {
    let env = TestEnv::new().await;
    let (client, _) = agent(&env, AGENT);
    let credential = env.keep(client.token(EXCHANGE).await.unwrap());
    for (user, is_id) in [
        (FederatedUser::ObjectId(USER.to_owned()), true),
        (FederatedUser::Name("agent@contoso.example".to_owned()), false),
    ] {
        let request = client.token_for_federated_user(&user, credential.secret(), GRAPH);
        let token = env.keep(request.await.unwrap());
        let sent = env.last_token_request();
        assert_eq!(sent.form("grant_type"), Some("user_fic"));
        let names: Vec<_> = sent.form_names().collect();
        let name = if is_id { "user_id" } else { "username" };
        for expected in
            ["client_id", "client_assertion", "user_federated_identity_credential", name, "client_info"]
        {
            assert!(names.contains(&expected), "{expected} {names:?}");
        }
        assert!(!names.contains(&"requested_token_use"), "{names:?}");
        assert!(sent.form("scope").unwrap().contains("offline_access"));
        let claims = claims(&token);
        assert_eq!((&claims["appid"], &claims["scp"]), (&AGENT.into(), &"User.Read".into()));
        assert!(!is_id || claims["oid"] == USER, "{claims}");
        let account = token.account().unwrap();
        // The cache has the token under the account, and a refresh token for other resources.
        let before = env.count(Step::Token);
        let again = client.token_for_account(account, GRAPH).await.unwrap();
        assert_eq!((again.origin(), env.count(Step::Token)), (TokenOrigin::Cache, before));
        let other = env.keep(client.token_for_account(account, VAULT).await.unwrap());
        assert_eq!(env.last_token_request().form("grant_type"), Some("refresh_token"));
        assert_eq!(other.account().map(symbolon_token::Account::id), Some(account.id()));
    }
    // The credential of another client is refused.
    let foreign = env.keep(blueprint(&env).token(EXCHANGE).await.unwrap());
    let user = FederatedUser::ObjectId(USER.to_owned());
    let error = client.token_for_federated_user(&user, foreign.secret(), GRAPH).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_grant", &[50_013][..]), "{error}");
}

#[tokio::test]
async fn fmi_04_flawed_requests_are_not_sent() {
    let env = TestEnv::new().await;
    let (client, paths) = agent(&env, AGENT);
    let secret = Secret::new("credential");
    let user = |id: &str| FederatedUser::ObjectId(id.to_owned());
    let of_user =
        |user: &FederatedUser, secret: &Secret| client.token_for_federated_user(user, secret, GRAPH);
    let account = symbolon_token::Account::from_id("object.tenant");
    let reserved = |name: &str| client.token(VAULT).body_parameter(name, "x", Caching::Keyed);
    let requests: [(&str, TokenRequest<'_>); 9] = [
        ("a blank path", client.token(VAULT).fmi_path(" ")),
        ("a blank path for the assertion", client.token(VAULT).assertion_fmi_path("")),
        ("a path for a user", client.token_for_account(&account, VAULT).fmi_path("a")),
        ("no user", of_user(&user(""), &secret)),
        ("a user with a line break", of_user(&user("x\n"), &secret)),
        ("no credential", of_user(&user(USER), &Secret::new(" "))),
        ("a parameter for the path", reserved("fmi_path")),
        ("a parameter for the user", reserved("user_id")),
        ("a parameter for the credential", reserved("user_federated_identity_credential")),
    ];
    for (case, request) in requests {
        let error = request.await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("invalid_parameter", ErrorKind::Request),
            "{case}: {error}"
        );
    }
    assert_eq!((env.count(Step::Token), received(&paths)), (0, vec![]));
}

#[tokio::test]
async fn fmi_05_path_for_the_assertion_only() {
    let env = TestEnv::new().await;
    let (client, paths) = agent(&env, AGENT);
    let plain = env.keep(client.token(VAULT).await.unwrap());
    let other = env.keep(client.token(VAULT).assertion_fmi_path("a/b").await.unwrap());
    assert_eq!(env.last_token_request().form("fmi_path"), None);
    assert_eq!(received(&paths), [None, Some("a/b".to_owned())]);
    assert_ne!(plain.secret().expose(), other.secret().expose());
    for (request, token) in
        [(client.token(VAULT), plain), (client.token(VAULT).assertion_fmi_path("a/b"), other)]
    {
        let again = request.await.unwrap();
        assert_eq!((again.origin(), again.secret().expose()), (TokenOrigin::Cache, token.secret().expose()));
    }
    // Both: each path where it belongs.
    env.keep(client.token(EXCHANGE).fmi_path("c").assertion_fmi_path("a/b").await.unwrap());
    assert_eq!(env.last_token_request().form("fmi_path"), Some("c"));
    assert_eq!(received(&paths), [Some("a/b".to_owned())]);
}
