//! Responses of a token endpoint.

use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::{Application, ClientSecret, TokenClient, TokenEndpoint};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy};
use symbolon_types::Secret;

/// Arbitrary responses do not panic, and only a token response leads to a token. An input is a line
/// with the status, and the body.
pub(crate) fn run(input: &[u8]) -> bool {
    let Some((status, body)) = input.split_at_checked(3) else { return false };
    let Ok(status) = StatusCode::from_bytes(status) else { return false };
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let transport = ScriptedTransport::new([Ok(Response::new(status, body.to_vec()))]);
    let endpoint = TokenEndpoint::parse("https://login.example/token").expect("an https URL");
    let application = Application::at(endpoint, "client").expect("a client id");
    let credential = ClientSecret::new(application, Secret::new("secret")).expect("a secret");
    let client = TokenClient::builder(credential, transport).retry(RetryPolicy::once()).build();
    let token = client.token("scope").into_future().now_or_never();
    match token.expect("a transport that answers at once") {
        Ok(token) => {
            assert!(status == StatusCode::OK && !token.secret().expose().is_empty());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
