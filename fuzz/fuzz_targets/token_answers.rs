//! Arbitrary responses of a token endpoint do not panic, and only a token response yields a token.

#![no_main]

use futures_util::FutureExt;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use symbolon_token::{Application, ClientSecret, TokenClient, TokenEndpoint};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy};
use symbolon_types::Secret;

fuzz_target!(|answer: (u16, &[u8])| {
    let (status, body) = answer;
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let transport = ScriptedTransport::new([Ok(Response::new(status, body.to_vec()))]);
    let endpoint = TokenEndpoint::parse("https://login.example/token").expect("an https URL");
    let application = Application::at(endpoint, "client").expect("a client id");
    let credential = ClientSecret::new(application, Secret::new("secret")).expect("a secret");
    let client = TokenClient::builder(credential, transport).retry(RetryPolicy::once()).build();
    let acquired = client.token("scope").into_future().now_or_never().expect("a transport that answers at once");
    match acquired {
        Ok(token) => assert!(status == StatusCode::OK && !token.secret().expose().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
