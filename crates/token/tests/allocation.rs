//! What a cache hit costs.

use futures_util::FutureExt;
use http::StatusCode;
use symbolon_token::{Application, ClientSecret, TokenClient, TokenEndpoint, TokenSource};
use symbolon_transport::{Response, transport_fn};
use symbolon_types::Secret;

#[test]
fn a_cache_hit_allocates_nothing_and_is_ready_at_once() {
    let transport = transport_fn(|_| async {
        let body = r#"{"token_type":"Bearer","access_token":"t","expires_in":3600}"#;
        Ok(Response::new(StatusCode::OK, body))
    });
    let endpoint = TokenEndpoint::parse("https://login.example/tenant/oauth2/v2.0/token").unwrap();
    let credential =
        ClientSecret::new(Application::at(endpoint, "client").unwrap(), Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, transport).build();
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
