//! The server shared by the tests of this target.

use crate::provider::{Issuer, OAuthServer};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use symbolon_token::{CredentialSource, Token, TokenClient};
use symbolon_transport::{Request, Route, Transport as _};
use symbolon_types::ClientIdentity;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

static SERVER: OnceCell<Option<OAuthServer>> = OnceCell::const_new();

/// The shared server, started by the first test. `None` if it is not installed.
pub(crate) async fn server() -> Option<&'static OAuthServer> {
    SERVER.get_or_init(OAuthServer::start).await.as_ref()
}

/// Both endpoints of the server, with names for messages.
pub(crate) fn ways_in(server: &OAuthServer) -> [(&'static str, &Issuer); 2] {
    [("direct", &server.direct), ("behind nginx", &server.behind_nginx)]
}

/// A client that trusts the server and nothing else.
pub(crate) fn client(server: &OAuthServer, credential: impl CredentialSource) -> TokenClient {
    TokenClient::builder(credential, server.transport()).build()
}

/// The claims of a JWT access token (RFC 9068).
pub(crate) fn claims(token: &Token) -> Value {
    let payload = token.secret().expose().split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).unwrap()).unwrap()
}

/// The introspection response for a token (RFC 7662), requested with a client secret.
pub(crate) async fn introspect(server: &OAuthServer, issuer: &Issuer, token: &Token) -> Value {
    let asker = &server.clients.secret;
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", asker.id)
        .append_pair("client_secret", asker.secret)
        .append_pair("token", token.secret().expose())
        .finish();
    let url = issuer.introspection_endpoint.parse().unwrap();
    let mut request = Request::new(Method::POST, url, Route::Public).with_body(body);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let response = server.transport().send(request).await.unwrap();
    assert_eq!(response.status(), 200, "{}", issuer.introspection_endpoint);
    serde_json::from_slice(response.body()).unwrap()
}

/// The expected `cnf` (RFC 8705 §3.1).
pub(crate) fn confirmation(bound_to: Option<&ClientIdentity>) -> Value {
    bound_to.map_or(Value::Null, |identity| json!({ "x5t#S256": identity.thumbprint().to_string() }))
}

#[tokio::test]
async fn dropped_server_ends() {
    let Some(server) = OAuthServer::start().await else { return };
    let addresses = ways_in(&server).map(|(_, issuer)| {
        let url: url::Url = issuer.issuer.parse().unwrap();
        ("127.0.0.1", url.port().unwrap())
    });
    for address in addresses {
        TcpListener::bind(address).await.expect_err("the server listens");
    }
    drop(server);
    for address in addresses {
        TcpListener::bind(address).await.expect("a free port");
    }
}
