//! What a cache hit costs.

#![cfg(test)]

use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::{Application, ClientSecret, TokenClient, TokenEndpoint, TokenSource};
use symbolon_transport::{Response, transport_fn};
use symbolon_types::Secret;

fn client(access_token: &str) -> TokenClient {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{access_token}","expires_in":3600}}"#);
    let transport = transport_fn(move |_| {
        let body = body.clone();
        async move { Ok(Response::new(StatusCode::OK, body)) }
    });
    let endpoint = TokenEndpoint::parse("https://login.example/tenant/oauth2/v2.0/token").unwrap();
    let application = Application::at(endpoint, "client").unwrap();
    TokenClient::builder(ClientSecret::new(application, Secret::new("secret")).unwrap(), transport).build()
}

/// The whole entry counts: key, token, and what the tables keep free.
#[test]
fn a_token_of_1500_bytes_takes_less_than_2_kilobytes() {
    let client = client(&"t".repeat(1500));
    let scopes: Vec<String> = (0..10_000).map(|n| format!("https://{n}.vault.example/.default")).collect();
    let counted = allocation_counter::measure(|| {
        for scope in &scopes {
            client.token(scope).into_future().now_or_never().unwrap().unwrap();
        }
    });
    let each = counted.bytes_current / i64::try_from(client.cache().len()).unwrap();
    assert!(client.cache().len() > 9_000, "{} tokens", client.cache().len());
    assert!((1500..2000).contains(&each), "{each} bytes a token");
}

#[test]
fn a_cache_hit_allocates_nothing_and_is_ready_at_once() {
    let client = client("t");
    let claims = r#"{"access_token":{}}"#;
    let ask = || {
        client.token("https://graph.example/.default").claims_from_client(claims).into_future().now_or_never()
    };
    ask().unwrap().unwrap();
    let mut source = None;
    let counted =
        allocation_counter::measure(|| source = ask().and_then(Result::ok).map(|token| token.source()));
    assert_eq!(source, Some(TokenSource::Cache));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
