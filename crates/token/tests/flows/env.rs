//! Clients, responses and requests of these tests.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use symbolon_token::{Application, ClientSecret, TokenClient, TokenEndpoint};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, RetryPolicy, TransportError};
use symbolon_types::{Context, Env, Secret};

pub(crate) const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";

/// The scopes of every request about a user.
pub(crate) const USER: &str = "offline_access openid profile";

pub(crate) type HttpResult = Result<Response, TransportError>;

pub(crate) fn answer(status: u16, body: serde_json::Value) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_string()))
}

pub(crate) fn issued(token: &str) -> HttpResult {
    answer(200, serde_json::json!({"token_type": "Bearer", "access_token": token, "expires_in": 3600}))
}

/// A response about the user `uid.utid`.
pub(crate) fn about_user(token: &str, refresh_token: Option<&str>) -> HttpResult {
    let info = Base64UrlUnpadded::encode_string(br#"{"uid":"uid","utid":"utid"}"#);
    let mut body = serde_json::json!({
        "token_type": "Bearer", "access_token": token, "expires_in": 3600, "client_info": info,
    });
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    answer(200, body)
}

pub(crate) fn refused_response(status: u16, error: &str) -> HttpResult {
    answer(status, serde_json::json!({"error": error}))
}

pub(crate) fn at_endpoint() -> Application {
    Application::at(TokenEndpoint::parse(ENDPOINT).unwrap(), "client").unwrap()
}

pub(crate) fn client_of(application: Application, transport: &ScriptedTransport) -> TokenClient {
    let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
    TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(Env::empty()))
        .build()
}

pub(crate) fn client(answers: impl IntoIterator<Item = HttpResult>) -> (TokenClient, ScriptedTransport) {
    let transport = ScriptedTransport::new(answers);
    (client_of(at_endpoint(), &transport), transport)
}

/// Returns the parameters of a token request, except those that all requests here have.
pub(crate) fn form(request: &Request) -> Vec<(String, String)> {
    let all = url::form_urlencoded::parse(request.body()).into_owned();
    all.filter(|(name, _)| name != "client_id" && name != "client_secret").collect()
}

pub(crate) fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the parameters that redeem a refresh token.
pub(crate) fn redemption(refresh_token: &str, scope: &str) -> Vec<(String, String)> {
    pairs(&[
        ("scope", scope),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_info", "1"),
    ])
}
