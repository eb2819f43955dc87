//! Tests of users' tokens: the on-behalf-of flow.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use http::Request;
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, EmulatorBuilder, Fault, Step};
use symbolon_types::{ManualClock, SharedClock};

use crate::client::{Client, Identity, authorized, form, get};
use crate::tokens::verified;

/// The application that users call, and that calls others on their behalf.
pub(crate) const MIDDLE_TIER: &str = "11111111-2222-4333-8444-555555555555";
const SECRET: &str = "the middle tier's secret";
/// Another confidential client.
pub(crate) const OTHER: &str = "99999999-2222-4333-8444-555555555555";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
pub(crate) const EVERYTHING: &str = "https://vault.azure.net/.default offline_access openid profile";

pub(crate) fn builder() -> EmulatorBuilder {
    Emulator::builder().application(MIDDLE_TIER, SECRET).application(OTHER, SECRET)
}

pub(crate) fn with<'a>(
    parameters: &[(&'a str, &'a str)],
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let mut parameters = without(parameters, name);
    parameters.push((name, value));
    parameters
}

pub(crate) fn without<'a>(parameters: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    parameters.iter().copied().filter(|(key, _)| *key != name).collect()
}

/// Returns an on-behalf-of request of the middle tier.
pub(crate) fn on_behalf_of<'a>(assertion: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", JWT_BEARER),
        ("client_id", MIDDLE_TIER),
        ("client_secret", SECRET),
        ("assertion", assertion),
        ("requested_token_use", "on_behalf_of"),
        ("scope", scope),
    ]
}

pub(crate) fn refresh<'a>(token: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "refresh_token"),
        ("client_id", MIDDLE_TIER),
        ("client_secret", SECRET),
        ("refresh_token", token),
        ("scope", scope),
    ]
}

pub(crate) async fn send(emulator: &Emulator, parameters: &[(&str, &str)]) -> Value {
    let request = form(&emulator.token_endpoint(), parameters);
    Client::new(emulator, None).send(request).await.unwrap().json()
}

/// Returns the OAuth error and the AADSTS code, empty for a token.
pub(crate) fn refusal(body: &Value) -> (String, u64) {
    (
        body["error"].as_str().unwrap_or_default().to_owned(),
        body["error_codes"][0].as_u64().unwrap_or_default(),
    )
}

pub(crate) fn grant(code: u64) -> (String, u64) {
    ("invalid_grant".to_owned(), code)
}

/// Issues a certificate of the middle tier.
fn certificate(emulator: &Emulator) -> Identity {
    emulator.issue_client_certificate(MIDDLE_TIER).unwrap().into()
}

pub(crate) fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member].as_str().unwrap_or_else(|| panic!("no {member}: {body}"))
}

/// Decodes the claims of a token without verifying it.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn on_behalf_of_token_is_accepted() {
    let emulator = builder().start().await.unwrap();
    for audience in [MIDDLE_TIER.to_owned(), format!("api://{MIDDLE_TIER}")] {
        let assertion = emulator.user_token(&audience).await.unwrap();
        let user = claims(&assertion);
        assert_eq!((&user["aud"], &user["scp"]), (&json!(audience), &json!("access_as_user")));

        let body = send(&emulator, &on_behalf_of(&assertion, VAULT)).await;
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3599)), "{body}");
        assert_eq!(body["scope"], format!("https://vault.azure.net/user_impersonation {VAULT}"));
        for member in ["refresh_token", "id_token", "client_info"] {
            assert!(body[member].is_null(), "{member} was not requested");
        }
        let token = text(&body, "access_token");
        let claims = verified(&emulator, token).await;
        for name in ["oid", "sub", "preferred_username", "tid"] {
            assert_eq!(claims[name], user[name], "{name}");
        }
        assert_ne!(claims["azp"], user["azp"], "the user signed in to another application");
        assert_eq!((&claims["azp"], &claims["appid"]), (&json!(MIDDLE_TIER), &json!(MIDDLE_TIER)));
        assert_eq!((&claims["scp"], &claims["ver"]), (&json!("user_impersonation"), &json!("2.0")));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3599);
        let request = authorized(emulator.resource_url(), "Bearer", token);
        assert_eq!(Client::new(&emulator, None).send(request).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn user_is_identified_by_the_name() {
    let emulator = builder().start().await.unwrap();
    let user = async |name: &str| claims(&emulator.user_token_of(name, MIDDLE_TIER).await.unwrap());
    let (ben, again) = (user("ben@contoso.example").await, user("Ben@Contoso.example").await);
    let other = claims(&emulator.user_token(MIDDLE_TIER).await.unwrap());
    assert_eq!(ben["preferred_username"], "ben@contoso.example");
    assert_eq!((&ben["oid"], ben["oid"].as_str().unwrap().len()), (&again["oid"], 36));
    assert_ne!(ben["oid"], other["oid"]);
    let body = send(
        &emulator,
        &on_behalf_of(&emulator.user_token_of("ben@contoso.example", MIDDLE_TIER).await.unwrap(), EVERYTHING),
    )
    .await;
    assert_eq!(claims(text(&body, "access_token"))["oid"], ben["oid"]);
    let body = send(&emulator, &refresh(text(&body, "refresh_token"), VAULT)).await;
    assert_eq!(claims(text(&body, "access_token"))["oid"], ben["oid"]);
}

/// A waker that unparks a thread.
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn user_token_needs_no_tokio_runtime() {
    let emulator = builder().start().await.unwrap();
    // A plain thread, as in a test that is not asynchronous.
    let token =
        std::thread::spawn(move || block_on(emulator.user_token(MIDDLE_TIER)).unwrap()).join().unwrap();
    assert_eq!(token.split('.').count(), 3);
}

#[tokio::test]
async fn id_token_and_client_info_on_request() {
    let emulator = builder().start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let user = claims(&assertion);
    let parameters = with(&on_behalf_of(&assertion, EVERYTHING), "client_info", "1");
    let body = send(&emulator, &parameters).await;
    let info = Base64UrlUnpadded::decode_vec(text(&body, "client_info")).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info, json!({ "uid": user["oid"], "utid": emulator.tenant_id() }));
    let id_token = text(&body, "id_token");
    let identified = claims(id_token);
    assert_eq!((&identified["aud"], &identified["oid"]), (&json!(MIDDLE_TIER), &user["oid"]));
    assert_eq!(identified["preferred_username"], user["preferred_username"]);
    assert!(identified["scp"].is_null());
    // An ID token for this client is not an access token.
    let body = send(&emulator, &on_behalf_of(id_token, VAULT)).await;
    assert_eq!(refusal(&body), ("unauthorized_client".to_owned(), 7_000_114));
}

#[tokio::test]
async fn invalid_user_assertion_is_refused() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let emulator = builder().clock(SharedClock::new(clock.clone())).start().await.unwrap();
    let elsewhere = Emulator::builder().tenant_id(emulator.tenant_id()).start().await.unwrap();
    let right = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let forged =
        format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    let for_other = emulator.user_token(OTHER).await.unwrap();
    let for_case = emulator.user_token(&format!("https://{MIDDLE_TIER}")).await.unwrap();
    let foreign = elsewhere.user_token(MIDDLE_TIER).await.unwrap();
    let own = [("grant_type", "client_credentials"), ("client_id", OTHER), ("client_secret", SECRET)];
    let application = with(&own, "scope", "11111111-2222-4333-8444-555555555555/.default");
    let application = send(&emulator, &application).await;
    for (assertion, expected) in [
        (right.as_str(), (String::new(), 0)),
        ("", grant(50_013)),
        ("no token", grant(50_013)),
        (&forged, grant(50_013)),
        (&foreign, grant(50_013)),
        (&for_other, grant(500_131)),
        (&for_case, grant(500_131)),
        (text(&application, "access_token"), ("unauthorized_client".to_owned(), 7_000_114)),
    ] {
        let body = send(&emulator, &on_behalf_of(assertion, VAULT)).await;
        assert_eq!(refusal(&body), expected, "{body}");
    }
    for (seconds, expected) in [(3598, (String::new(), 0)), (1, grant(500_133))] {
        clock.advance(Duration::from_secs(seconds));
        let body = send(&emulator, &on_behalf_of(&right, VAULT)).await;
        assert_eq!(refusal(&body), expected, "{body}");
    }
}

#[tokio::test]
async fn foreign_or_bound_assertion_is_refused() {
    let emulator = builder().start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let endpoint = format!("{}/contoso.example/oauth2/v2.0/token", emulator.token_url());
    let client = Client::new(&emulator, None);
    let body = client.send(form(&endpoint, &on_behalf_of(&assertion, VAULT))).await.unwrap().json();
    assert_eq!(refusal(&body), grant(50_013));

    let identity = certificate(&emulator);
    let bound = with(
        &on_behalf_of(&assertion, "api://99999999-2222-4333-8444-555555555555/.default"),
        "token_type",
        "mtls_pop",
    );
    let client = Client::new(&emulator, Some(&identity));
    let bound = without(&bound, "client_secret");
    let bound = client.send(form(&emulator.token_endpoint(), &bound)).await.unwrap().json();
    let bound = text(&bound, "access_token");
    // Valid except for the binding.
    let body = send(&emulator, &with(&on_behalf_of(bound, VAULT), "client_id", OTHER)).await;
    assert_eq!(refusal(&body), grant(50_013));
    assert_eq!(emulator.journal().last(Step::Token).unwrap().reason, Some("user_assertion_bound"));
}

#[tokio::test]
async fn invalid_delegated_request_is_refused() {
    let emulator = builder().start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let (right, invalid) =
        (on_behalf_of(&assertion, EVERYTHING), |code| ("invalid_request".to_owned(), code));
    let scope = |code| ("invalid_scope".to_owned(), code);
    let token = text(&send(&emulator, &right).await, "refresh_token").to_owned();
    let refreshed = refresh(&token, VAULT);
    for (parameters, expected) in [
        (without(&right, "assertion"), invalid(900_144)),
        (without(&right, "requested_token_use"), invalid(90_100)),
        (with(&right, "requested_token_use", "exchange"), invalid(90_100)),
        (without(&right, "scope"), scope(70_011)),
        (with(&right, "scope", "offline_access openid profile"), scope(70_011)),
        (with(&right, "scope", "https://vault.azure.net"), scope(70_011)),
        (with(&right, "scope", "api://a/.default api://b/.default"), scope(28_000)),
        (with(&right, "client_secret", "wrong"), ("invalid_client".to_owned(), 7_000_215)),
        (with(&right, "token_type", "mtls_pop"), invalid(90_100)),
        (without(&refreshed, "refresh_token"), invalid(900_144)),
        (with(&refreshed, "scope", "api://a/x api://b/y"), scope(28_000)),
        (with(&refreshed, "client_secret", "wrong"), ("invalid_client".to_owned(), 7_000_215)),
    ] {
        let body = send(&emulator, &parameters).await;
        assert_eq!(refusal(&body), expected, "{parameters:?}: {body}");
    }
    let url =
        format!("{}/{}/v2.0/.well-known/openid-configuration", emulator.token_url(), emulator.tenant_id());
    let metadata = Client::new(&emulator, None).send(get(&url)).await.unwrap().json();
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["client_credentials", JWT_BEARER, "refresh_token", "user_fic"])
    );
    // Clients require the member; the path answers 404.
    let sign_in =
        Client::new(&emulator, None).send(get(text(&metadata, "authorization_endpoint"))).await.unwrap();
    assert_eq!((sign_in.status.as_u16(), &sign_in.json()["reason"]), (404, &json!("unknown_path")));
}

#[tokio::test]
async fn delegated_token_is_bound_over_mtls() {
    let emulator = builder().start().await.unwrap();
    let identity = certificate(&emulator);
    let client = Client::new(&emulator, Some(&identity));
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let send_mtls = async |parameters: &[(&str, &str)]| {
        client.send(form(&emulator.token_endpoint(), parameters)).await.unwrap().json()
    };
    let bearer = without(&on_behalf_of(&assertion, EVERYTHING), "client_secret");
    let body = send_mtls(&bearer).await;
    assert_eq!(body["token_type"], "Bearer", "{body}");
    assert!(claims(text(&body, "access_token"))["cnf"].is_null());

    let bound = with(&bearer, "token_type", "mtls_pop");
    let refreshed = without(&refresh(text(&body, "refresh_token"), VAULT), "client_secret");
    let refreshed = with(&refreshed, "token_type", "mtls_pop");
    for parameters in [&bound, &refreshed] {
        let body = send_mtls(parameters).await;
        assert_eq!(body["token_type"], "mtls_pop", "{body}");
        let token = text(&body, "access_token");
        let claims = verified(&emulator, token).await;
        assert_eq!(claims["cnf"], json!({ "x5t#S256": identity.thumbprint().to_string() }));
        assert_eq!(claims["scp"], "user_impersonation");
        let request = authorized(emulator.resource_url(), "mtls_pop", token);
        assert_eq!(client.send(request).await.unwrap().status, 200);
        let request = authorized(emulator.resource_url(), "mtls_pop", token);
        assert_eq!(Client::new(&emulator, None).send(request).await.unwrap().status, 401);
    }
    assert_eq!(refusal(&send(&emulator, &bound).await), ("invalid_client".to_owned(), 392_200));
}

#[tokio::test]
async fn faults_apply_to_delegated_tokens() {
    let emulator = builder().start().await.unwrap();
    let identity = certificate(&emulator);
    let client = Client::new(&emulator, Some(&identity));
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let requested = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    let obo = [("token_type", "mtls_pop"), ("claims", requested)];
    let obo = [without(&on_behalf_of(&assertion, EVERYTHING), "client_secret"), obo.to_vec()].concat();
    let send_mtls = async |parameters: Vec<(&str, &str)>| {
        client.send(form(&emulator.token_endpoint(), &parameters)).await.unwrap().json()
    };
    let body = send_mtls(obo.clone()).await;
    assert_eq!(claims(text(&body, "access_token"))["xms_cc"], json!(["cp1"]));
    let refreshed = without(&refresh(text(&body, "refresh_token"), VAULT), "client_secret");
    for parameters in [obo, with(&refreshed, "token_type", "mtls_pop")] {
        let own = identity.thumbprint().to_string();
        emulator.inject(Fault::downgrade_to_bearer());
        let body = send_mtls(parameters.clone()).await;
        assert_eq!(body["token_type"], "Bearer");
        assert!(claims(text(&body, "access_token"))["cnf"].is_null());
        emulator.inject(Fault::wrong_cnf());
        let confirmed = claims(text(&send_mtls(parameters.clone()).await, "access_token"))["cnf"].clone();
        assert!(confirmed["x5t#S256"].is_string() && confirmed["x5t#S256"] != own);
        emulator.inject(Fault::without_access_token(Step::Token));
        assert!(send_mtls(parameters.clone()).await["access_token"].is_null());
        emulator.inject(Fault::without_token_type(Step::Token));
        assert!(send_mtls(parameters.clone()).await["token_type"].is_null());
        emulator.inject(Fault::claims_challenge(Step::Token, "{}"));
        assert_eq!(
            refusal(&send_mtls(parameters.clone()).await),
            ("interaction_required".to_owned(), 50_076)
        );
        emulator.inject(Fault::oauth_error("invalid_grant", &[50_173]));
        assert_eq!(refusal(&send_mtls(parameters.clone()).await), grant(50_173));
        assert_eq!(claims(text(&send_mtls(parameters).await, "access_token"))["cnf"]["x5t#S256"], own);
    }
}

#[tokio::test]
async fn journal_omits_users_tokens() {
    let emulator = builder().start().await.unwrap();
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let first = send(&emulator, &with(&on_behalf_of(&assertion, EVERYTHING), "client_info", "1")).await;
    let second = send(&emulator, &refresh(text(&first, "refresh_token"), EVERYTHING)).await;
    send(&emulator, &refresh("an unknown refresh token", EVERYTHING)).await;
    let journal = emulator.journal();
    let entry = journal.of(Step::Token).next().unwrap();
    assert_eq!(entry.form("grant_type"), Some(JWT_BEARER));
    assert_eq!(entry.form("requested_token_use"), Some("on_behalf_of"));
    assert!(entry.form_names().any(|name| name == "assertion") && entry.form("assertion").is_none());
    let lines: String = journal.entries().map(|entry| entry.to_json()).collect();
    let shown = format!("{journal}{journal:?}{emulator:?}{lines}");
    let members = ["access_token", "id_token", "refresh_token"];
    let issued = [&first, &second].map(|body| members.map(|member| text(body, member)));
    let tokens = issued.as_flattened().iter().copied().chain([assertion.as_str()]);
    let tokens = tokens.flat_map(|token| token.split('.'));
    for secret in tokens.chain([SECRET, "an unknown", text(&first, "client_info"), "adele"]) {
        // All tokens share the same header.
        assert!(secret.starts_with("eyJhbGci") || !shown.contains(secret), "{secret} is shown");
    }
    assert!(shown.contains("requested_token_use"));
}

#[tokio::test]
async fn admin_api_issues_user_tokens() {
    let file = format!("[host.applications]\n\"{MIDDLE_TIER}\" = \"{SECRET}\"\n");
    let builder = Emulator::builder().faults_toml(&file).unwrap();
    let emulator = builder.admin_address("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let sign_in = |body: Value| {
        let url = format!("{}user-token", emulator.admin_url().unwrap());
        Request::post(url).header("content-type", "application/json").body(body.to_string()).unwrap()
    };
    let client = Client::new(&emulator, None);
    for (body, name) in [
        (json!({ "audience": MIDDLE_TIER }), "adele@emulator.example"),
        (json!({ "audience": MIDDLE_TIER, "user": "ben@contoso.example" }), "ben@contoso.example"),
    ] {
        let answer = client.send(sign_in(body)).await.unwrap();
        let reply = answer.json();
        assert_eq!((answer.status.as_u16(), &reply["user"]), (201, &json!(name)));
        let body = send(&emulator, &on_behalf_of(text(&reply, "access_token"), VAULT)).await;
        assert_eq!(claims(text(&body, "access_token"))["preferred_username"], name);
    }
    for wrong in [json!({}), json!({ "audience": MIDDLE_TIER, "usr": "x" }), json!("x")] {
        assert_eq!(client.send(sign_in(wrong)).await.unwrap().status, 400);
    }
    let url = format!("{}user-token", emulator.admin_url().unwrap());
    assert_eq!(client.send(get(&url)).await.unwrap().status, 405);
}
