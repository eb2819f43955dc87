//! Allocations of cache hits, and the memory of tokens.

#![cfg(test)]

use futures_util::FutureExt;
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair};
use symbolon_hyper::client_identity_from_pem;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, ClientCertificate, ClientSecret, Error, Token, TokenClient, TokenEndpoint, TokenOrigin,
    TokenRequest,
};
use symbolon_transport::{Capabilities, Response, transport_fn};
use symbolon_types::Secret;

fn client_of(application: Application, access_token: &str) -> TokenClient {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{access_token}","expires_in":3600}}"#);
    let transport = transport_fn(move |_| {
        let body = body.clone();
        async move { Ok(Response::new(StatusCode::OK, body)) }
    });
    TokenClient::builder(ClientSecret::new(application, Secret::new("secret")).unwrap(), transport).build()
}

fn client(access_token: &str) -> TokenClient {
    let endpoint = TokenEndpoint::parse("https://login.example/tenant/oauth2/v2.0/token").unwrap();
    client_of(Application::at(endpoint, "client").unwrap(), access_token)
}

/// The measured size includes the key, the token and the free places of the tables.
#[test]
fn token_of_1500_bytes_takes_at_most_1800() {
    let client = client(&"t".repeat(1500));
    let scopes: Vec<String> = (0..10_000).map(|n| format!("https://{n}.vault.example/.default")).collect();
    let counted = allocation_counter::measure(|| {
        for scope in &scopes {
            client.token(scope).into_future().now_or_never().unwrap().unwrap();
        }
    });
    let each = counted.bytes_current / i64::try_from(client.cache().len()).unwrap();
    assert!(client.cache().len() > 9_000, "{} tokens", client.cache().len());
    assert!((1500..=1800).contains(&each), "{each} bytes a token");
}

fn hit_allocates_nothing(request: impl Fn() -> Option<Result<Token, Error>>) {
    request().unwrap().unwrap();
    let mut source = None;
    let counted =
        allocation_counter::measure(|| source = request().and_then(Result::ok).map(|token| token.origin()));
    assert_eq!(source, Some(TokenOrigin::Cache));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn hit_with_client_claims_allocates_nothing() {
    let client = client("t");
    let claims = r#"{"access_token":{}}"#;
    hit_allocates_nothing(|| {
        client.token("https://graph.example/.default").claims_from_client(claims).into_future().now_or_never()
    });
}

#[test]
fn hit_in_another_tenant_allocates_nothing() {
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
    let client = client_of(Application::new(authority, "client").unwrap(), "t");
    for tenant in [None, Some("Fabrikam.com")] {
        hit_allocates_nothing(|| {
            let request = client.token("https://graph.example/.default");
            let request = tenant.into_iter().fold(request, TokenRequest::tenant);
            request.into_future().now_or_never()
        });
    }
}

#[test]
fn hit_of_bound_token_allocates_nothing() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let pem = certificate.pem() + &key.serialize_pem();
    let identity = client_identity_from_pem(pem.as_bytes()).unwrap();
    let transport = transport_fn(|_| async {
        let body = r#"{"token_type":"mtls_pop","access_token":"t","expires_in":3600}"#;
        Ok(Response::new(StatusCode::OK, body))
    });
    let transport = transport.with_capabilities(Capabilities::none().with_client_certificates());
    let endpoint = TokenEndpoint::parse("https://login.example/tenant/oauth2/v2.0/token").unwrap();
    let application = Application::at(endpoint, "client").unwrap();
    let credential = ClientCertificate::new(application, identity).unwrap();
    let client = TokenClient::builder(credential, transport).build();
    hit_allocates_nothing(|| {
        client.token("https://graph.example/.default").proof_of_possession().into_future().now_or_never()
    });
}
