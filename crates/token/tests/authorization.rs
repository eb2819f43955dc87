//! Sign-in of users, over a scripted transport.

#![cfg(test)]

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, AuthorizationCode, ClientSecret, Error, ErrorKind, PendingAuthorization, Prompt,
    ResponseMode, TokenClient, TokenEndpoint,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy, TransportError};
use symbolon_types::{Context, Env, Secret, Thumbprint};
use url::Url;

const CONTOSO: &str = "https://login.microsoftonline.com/contoso.example";
const ISSUER: &str = "https://idp.example";
const REDIRECT_URI: &str = "https://app.example/signed in?tenant=a";

type HttpResult = Result<Response, TransportError>;

fn answer(status: u16, body: serde_json::Value) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_string()))
}

fn metadata(extra: serde_json::Value) -> HttpResult {
    let mut document = serde_json::json!({
        "issuer": ISSUER,
        "token_endpoint": "https://idp.example/token",
        "authorization_endpoint": "https://idp.example/authorize?realm=a",
    });
    document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    answer(200, document)
}

fn application(authority: Authority) -> Application {
    Application::new(authority, "client").unwrap()
}

fn entra() -> Application {
    application(Authority::parse(CONTOSO).unwrap())
}

fn oidc() -> Application {
    application(Authority::oidc(ISSUER).unwrap())
}

fn client(application: &Application, transport: &ScriptedTransport) -> TokenClient {
    let credential = ClientSecret::new(application.clone(), Secret::new("secret")).unwrap();
    TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(Env::empty()))
        .build()
}

fn idle(application: &Application) -> TokenClient {
    client(application, &ScriptedTransport::new([]))
}

fn query(url: &Url) -> BTreeMap<String, String> {
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter is repeated: {url}");
    map
}

async fn pending(application: &Application, transport: &ScriptedTransport) -> PendingAuthorization {
    client(application, transport).authorization_request(application, REDIRECT_URI, "api").await.unwrap().1
}

/// Returns the query with these parameters.
fn redirect(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn code_of(received: Result<AuthorizationCode, Error>) -> (ErrorKind, String) {
    let error = received.expect_err("no code");
    assert!(!error.advice().is_empty());
    (error.kind(), error.code().to_owned())
}

#[tokio::test]
async fn authorization_url_has_all_parameters() {
    let application = entra();
    let client = idle(&application);
    let request = client.authorization_request(&application, REDIRECT_URI, "User.Read openid");
    let (url, pending) = request.await.unwrap();
    assert!(url.as_str().starts_with(
        "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize?client_id=client&"
    ));
    let mut query = query(&url);
    let mut take = |name: &str| query.remove(name).unwrap_or_default();
    assert_eq!(take("client_id"), "client");
    assert_eq!(take("response_type"), "code");
    assert_eq!(take("redirect_uri"), REDIRECT_URI, "unchanged");
    assert_eq!(take("scope"), "User.Read offline_access openid profile");
    assert_eq!(take("state"), pending.state().expose());
    assert_eq!(take("nonce"), pending.nonce().expose());
    assert_eq!(take("code_challenge"), Thumbprint::of(pending.verifier().expose().as_bytes()).to_string());
    assert_eq!(take("code_challenge_method"), "S256");
    assert_eq!(query, BTreeMap::new());
    for secret in [pending.state(), pending.nonce(), pending.verifier()] {
        assert_eq!(secret.expose().len(), 43);
    }
    assert!(!url.as_str().contains(pending.verifier().expose()));
}

#[tokio::test]
async fn each_request_has_new_secrets() {
    let application = entra();
    let client = idle(&application);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (_, pending) = client.authorization_request(&application, REDIRECT_URI, "api").await.unwrap();
        for value in [pending.state(), pending.nonce(), pending.verifier()] {
            assert!(seen.insert(value.expose().to_owned()));
        }
    }
}

#[tokio::test]
async fn optional_parameters_are_in_the_url() {
    let application = entra();
    let credential = ClientSecret::new(application.clone(), Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, ScriptedTransport::new([])).capabilities(["cp1"]).build();
    let request = client
        .authorization_request(&application, REDIRECT_URI, "api")
        .tenant("Fabrikam.example")
        .response_mode(ResponseMode::FormPost)
        .prompt(Prompt::SelectAccount)
        .login_hint("jürgen@contoso.example")
        .domain_hint("contoso.example")
        .claims(r#"{"id_token":{"acr":{"essential":true}}}"#)
        .parameter("max_age", "60")
        .parameter("ui_locales", "de")
        .parameter("max_age", "0");
    assert!(!format!("{request:?}").contains("jürgen"));
    let (url, _) = request.await.unwrap();
    assert_eq!(url.path(), "/fabrikam.example/oauth2/v2.0/authorize");
    let query = query(&url);
    for (name, value) in [
        ("response_mode", "form_post"),
        ("prompt", "select_account"),
        ("login_hint", "jürgen@contoso.example"),
        ("domain_hint", "contoso.example"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{"acr":{"essential":true}}}"#),
        ("max_age", "0"),
        ("ui_locales", "de"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    for (prompt, text) in [
        (Prompt::None, "none"),
        (Prompt::Login, "login"),
        (Prompt::Consent, "consent"),
        (Prompt::Create, "create"),
    ] {
        let request = client.authorization_request(&application, REDIRECT_URI, "api");
        let (url, _) = request.prompt(prompt).response_mode(ResponseMode::Query).await.unwrap();
        assert_eq!((&*self::query(&url)["prompt"], &*self::query(&url)["response_mode"]), (text, "query"));
    }
}

#[tokio::test]
async fn invalid_request_is_refused() {
    let (application, oidc) = (entra(), oidc());
    let fixed = Application::at(TokenEndpoint::parse("https://t.example/token").unwrap(), "client").unwrap();
    let client = idle(&application);
    let request = |application, redirect| client.authorization_request(application, redirect, "api");
    for (request, code) in [
        (request(&application, "/signed-in"), "invalid_redirect_uri"),
        (request(&application, ""), "invalid_redirect_uri"),
        (request(&application, "https://app.example/#x"), "invalid_redirect_uri"),
        (request(&application, REDIRECT_URI).parameter("state", "fixed"), "invalid_parameter"),
        (
            request(&application, REDIRECT_URI).parameter("code_challenge_method", "plain"),
            "invalid_parameter",
        ),
        (request(&application, REDIRECT_URI).parameter("request_uri", "https://x"), "invalid_parameter"),
        (request(&application, REDIRECT_URI).parameter("", "x"), "invalid_parameter"),
        (request(&application, REDIRECT_URI).claims("[]"), "invalid_claims"),
        (request(&application, REDIRECT_URI).tenant("a/b"), "invalid_tenant"),
        (request(&oidc, REDIRECT_URI).tenant("t"), "authority_type_mismatch"),
        (request(&fixed, REDIRECT_URI), "authorization_endpoint_unknown"),
    ] {
        let error = request.await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Request, code), "{error}");
    }
}

#[tokio::test]
async fn openid_sign_in_endpoint_is_discovered() {
    let transport = ScriptedTransport::new([metadata(serde_json::json!({}))]);
    let application = oidc();
    let client = client(&application, &transport);
    for _ in 0..2 {
        let (url, _) = client.authorization_request(&application, REDIRECT_URI, "api").await.unwrap();
        assert!(url.as_str().starts_with("https://idp.example/authorize?realm=a&client_id=client&"), "{url}");
    }
    assert_eq!(transport.requests().len(), 1);
    for unusable in [serde_json::Value::Null, "http://idp.example/a".into(), "https://u@idp.example".into()] {
        let transport =
            ScriptedTransport::new([metadata(serde_json::json!({"authorization_endpoint": unusable}))]);
        let application = oidc();
        let client = self::client(&application, &transport);
        let error = client.authorization_request(&application, REDIRECT_URI, "api").await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "oidc_failure"));
    }
}

#[tokio::test]
async fn sign_in_at_unknown_host_is_refused() {
    let transport = ScriptedTransport::new([answer(400, serde_json::json!({"error": "invalid_instance"}))]);
    let application = application(Authority::parse("https://login.foo.bar/contoso.example").unwrap());
    let client = client(&application, &transport);
    let error = client.authorization_request(&application, REDIRECT_URI, "api").await.unwrap_err();
    assert_eq!(error.code(), "invalid_instance");
    let without_discovery = application.clone().instance_discovery(false);
    assert!(client.authorization_request(&without_discovery, REDIRECT_URI, "api").await.is_ok());
}

#[tokio::test]
async fn response_needs_the_state_of_its_request() {
    let pending = pending(&entra(), &ScriptedTransport::new([])).await;
    let (state, nonce) = (pending.state().expose(), pending.nonce().expose());
    let longer = format!("{state}x");
    for parameters in [
        vec![("code", "c")],
        vec![("code", "c"), ("state", "")],
        vec![("code", "c"), ("state", nonce)],
        vec![("code", "c"), ("state", &state[1..])],
        vec![("code", "c"), ("state", &longer)],
        vec![("code", "c"), ("State", state)],
        vec![("error", "access_denied")],
        vec![("error", "access_denied"), ("state", nonce)],
        vec![],
    ] {
        let received = code_of(pending.receive(&redirect(&parameters)));
        assert_eq!(received, (ErrorKind::Response, "state_mismatch".to_owned()), "{parameters:?}");
    }
    for twice in [
        vec![("state", state), ("code", "c"), ("code", "d")],
        vec![("state", state), ("code", "c"), ("state", state)],
        vec![("state", state)],
        vec![("state", state), ("code", "")],
    ] {
        assert_eq!(code_of(pending.receive(&redirect(&twice))).1, "invalid_response", "{twice:?}");
    }
}

#[tokio::test]
async fn response_of_another_issuer_is_refused() {
    let of_entra = pending(&entra(), &ScriptedTransport::new([])).await;
    let announced = metadata(serde_json::json!({"authorization_response_iss_parameter_supported": true}));
    let of_announced = pending(&oidc(), &ScriptedTransport::new([announced])).await;
    let of_silent = pending(&oidc(), &ScriptedTransport::new([metadata(serde_json::json!({}))])).await;
    let id = "https://login.microsoftonline.com/751a212b-4003-416e-b600-e1f48e40db9f/v2.0";
    for (pending, issuer, is_accepted) in [
        (&of_entra, None, true),
        (&of_entra, Some(id), true),
        (&of_entra, Some("https://login.evil.example/v2.0"), false),
        (&of_entra, Some(ISSUER), false),
        (&of_announced, None, false),
        (&of_announced, Some(ISSUER), true),
        (&of_announced, Some("https://idp.example/"), false),
        (&of_silent, None, true),
        (&of_silent, Some(ISSUER), true),
        (&of_silent, Some("https://idp.example/b"), false),
    ] {
        // Also after a round trip through a session.
        for pending in [pending, &PendingAuthorization::from_session(&pending.to_session()).unwrap()] {
            for outcome in [("code", "c"), ("error", "access_denied")] {
                let mut parameters = vec![outcome, ("state", pending.state().expose())];
                parameters.extend(issuer.map(|issuer| ("iss", issuer)));
                let received = pending.receive(&redirect(&parameters));
                let code = received.err().map(|error| error.code().to_owned());
                let expected = match (is_accepted, outcome.0) {
                    (false, _) => Some("issuer_mismatch"),
                    (true, "error") => Some("access_denied"),
                    (true, _) => None,
                };
                assert_eq!(code.as_deref(), expected, "{issuer:?}");
            }
        }
    }
}

#[tokio::test]
async fn error_response_keeps_its_code() {
    let pending = pending(&entra(), &ScriptedTransport::new([])).await;
    for (error, description, code, server_codes, is_transient) in [
        ("access_denied", "AADSTS65004: The user declined.", "access_denied", &[65_004][..], false),
        ("login_required", "", "login_required", &[], false),
        ("temporarily_unavailable", "AADSTSx", "temporarily_unavailable", &[], true),
        ("not a code <script>", "no", "invalid_response", &[], false),
    ] {
        let parameters = [
            ("error", error),
            ("error_description", description),
            ("state", pending.state().expose()),
            // A code beside an error is ignored.
            ("code", "c"),
        ];
        let refused = pending.receive(&redirect(&parameters)).unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Service, code));
        assert_eq!((refused.server_codes(), refused.is_transient()), (server_codes, is_transient));
        assert!(!refused.to_string().contains("declined") && !refused.advice().is_empty());
    }
}

#[tokio::test]
async fn session_text_is_validated() {
    let pending = pending(&entra(), &ScriptedTransport::new([])).await;
    let text = pending.to_session();
    assert!(text.expose().len() < 1024);
    let restored = PendingAuthorization::from_session(&text).unwrap();
    assert_eq!(restored.to_session().expose(), text.expose());
    for shown in [format!("{pending:?}"), format!("{restored:#?}")] {
        assert!(shown.starts_with("PendingAuthorization"), "{shown}");
        for secret in [pending.state(), pending.nonce(), pending.verifier()] {
            assert!(!shown.contains(secret.expose()), "{shown}");
        }
    }
    let empty_state = text.expose().replace(pending.state().expose(), "");
    let newer = text.expose().replace("\"version\":1", "\"version\":2");
    for text in ["", "{}", "null", &text.expose()[1..], &empty_state, &newer] {
        let error = PendingAuthorization::from_session(&Secret::new(text)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_session"), "{text}");
    }
}

#[tokio::test]
async fn code_is_redeemed_with_verifier_and_nonce() {
    let id_token = |nonce: serde_json::Value| {
        let payload = serde_json::json!({"sub": "s", "nonce": nonce, "aud": entra().client_id()}).to_string();
        format!("e30.{}.c2ln", Base64UrlUnpadded::encode_string(payload.as_bytes()))
    };
    let application = entra();
    let pending = pending(&application, &ScriptedTransport::new([])).await;
    let nonce = pending.nonce().expose();
    for (id_token, code) in [
        (Some(id_token(nonce.into())), None),
        (None, None),
        (Some(id_token("another".into())), Some("nonce_mismatch")),
        (Some(id_token(serde_json::Value::Null)), Some("nonce_mismatch")),
        (Some("opaque".to_owned()), Some("nonce_mismatch")),
    ] {
        let body = serde_json::json!({
            "token_type": "Bearer", "access_token": "t", "expires_in": 3600,
            "refresh_token": "rt", "id_token": id_token,
        });
        let transport = ScriptedTransport::new([answer(200, body)]);
        let client = client(&application, &transport);
        let received =
            pending.receive(&redirect(&[("code", "the code"), ("state", pending.state().expose())]));
        let outcome = client.redeem_code(&received.unwrap(), "api").await;
        assert_eq!(outcome.as_ref().err().map(Error::code), code);
        assert_eq!(client.cache().len(), usize::from(code.is_none()), "a refused token is not cached");
        let requests = transport.requests();
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(requests[0].body()).into_owned().collect();
        for (name, value) in [
            ("grant_type", "authorization_code"),
            ("code", "the code"),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", pending.verifier().expose()),
        ] {
            assert_eq!(form[name], value);
        }
        assert!(!form.contains_key("nonce") && !form.contains_key("state"));
    }
}
