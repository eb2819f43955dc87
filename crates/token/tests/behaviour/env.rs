//! Clients, responses and requests of these tests.

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use symbolon_token::{Application, ClientSecret, TokenClient, TokenClientBuilder, TokenEndpoint};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Request, Response, RetryPolicy, TransportError};
use symbolon_types::{ClientIdentity, Context, Jitter, ManualClock, Secret, SharedClock, SharedSigningKey};

pub(crate) const ENDPOINT: &str = "https://login.example/tenant/oauth2/v2.0/token";

pub(crate) type HttpResult = Result<Response, TransportError>;

pub(crate) fn answer(status: u16, body: &str) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
}

pub(crate) fn issued_as(token_type: &str, token: &str) -> HttpResult {
    answer(200, &format!(r#"{{"token_type":"{token_type}","access_token":"{token}","expires_in":3600}}"#))
}

pub(crate) fn issued(token: &str) -> HttpResult {
    issued_as("Bearer", token)
}

pub(crate) fn refused_response(status: u16, error: &str, code: u32) -> HttpResult {
    answer(
        status,
        &format!(r#"{{"error":"{error}","error_description":"AADSTS{code}: no.","error_codes":[{code}]}}"#),
    )
}

/// Adds `Retry-After` to a response.
pub(crate) fn busy(answer: HttpResult, seconds: u64) -> HttpResult {
    let headers: HeaderMap = [(RETRY_AFTER, HeaderValue::from(seconds))].into_iter().collect();
    answer.map(|response| response.with_headers(headers))
}

pub(crate) fn application() -> Application {
    Application::at(TokenEndpoint::parse(ENDPOINT).unwrap(), "client").unwrap()
}

pub(crate) fn secret() -> ClientSecret {
    ClientSecret::new(application(), Secret::new("secret")).unwrap()
}

pub(crate) fn builder(transport: &ScriptedTransport) -> TokenClientBuilder {
    TokenClient::builder(secret(), transport.clone()).retry(RetryPolicy::once())
}

pub(crate) fn client(transport: &ScriptedTransport) -> TokenClient {
    builder(transport).build()
}

/// Returns a client with a manual clock and without jitter.
pub(crate) fn client_on(manual_clock: &ManualClock, transport: &ScriptedTransport) -> TokenClient {
    builder(transport)
        .context(
            Context::default().with_clock(SharedClock::from(manual_clock)).with_jitter(Jitter::fixed(0.0)),
        )
        .build()
}

pub(crate) fn value(request: &Request, name: &str) -> Option<String> {
    let mut form = url::form_urlencoded::parse(request.body()).into_owned();
    form.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Yields to background tasks, which run on the same thread.
pub(crate) async fn run_background_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn identity() -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
    ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
}
