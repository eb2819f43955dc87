//! The second server, which differs: it writes `bearer` in lower case, and refuses with 403 and no
//! body.

use crate::clients::SecretClient;
use crate::glewlwyd_server::Glewlwyd;
use symbolon_token::{
    Application, ClientCertificate, ClientSecret, CredentialSource, ErrorKind, TokenClient, TokenEndpoint,
};
use symbolon_types::Secret;
use tokio::sync::OnceCell;

use crate::credential::Credential;
use crate::server::{claims, confirmation};

static SERVER: OnceCell<Option<Glewlwyd>> = OnceCell::const_new();

/// The shared server, started by the first test. `None` if it is not installed.
async fn glewlwyd() -> Option<&'static Glewlwyd> {
    SERVER.get_or_init(Glewlwyd::start).await.as_ref()
}

fn client(server: &Glewlwyd, credential: impl CredentialSource) -> TokenClient {
    TokenClient::builder(credential, server.transport()).build()
}

#[tokio::test]
async fn glewlwyd_accepts_secret_and_certificate() {
    let Some(server) = glewlwyd().await else { return };
    let endpoint = server.token_endpoint.as_str();
    let (secret, tls) = (&server.secret, &server.tls);
    let identity = tls.certified.identity();
    let application = |id| Application::at(TokenEndpoint::parse(endpoint).unwrap(), id).unwrap();
    let by_secret = ClientSecret::new(application(secret.id), Secret::new(secret.secret)).unwrap();
    let by_certificate = ClientCertificate::new(application(tls.id), identity.clone()).unwrap().over_mtls();
    for (client_id, client, bound_to) in [
        (secret.id, client(server, by_secret), None),
        (tls.id, client(server, by_certificate), Some(&identity)),
    ] {
        let token = client.token(Glewlwyd::SCOPE).await;
        let token = token.unwrap_or_else(|error| panic!("{client_id}: {error} {:?}", error.excerpt()));
        let claims = claims(&token);
        assert_eq!((&claims["client_id"], &claims["scope"]), (&client_id.into(), &Glewlwyd::SCOPE.into()));
        assert_eq!(claims["cnf"], confirmation(bound_to), "{client_id}");
    }
}

#[tokio::test]
async fn glewlwyd_refusal_without_body_is_an_error() {
    let Some(server) = glewlwyd().await else { return };
    let (endpoint, tls) = (server.token_endpoint.as_str(), &server.tls);
    let wrong_secret = SecretClient { secret: "wrong", ..server.secret.clone() };
    for (case, credential) in [
        ("a wrong secret", Credential::secret(endpoint, &wrong_secret)),
        ("no certificate", Credential::name(endpoint, tls.id)),
        ("another name", Credential::certificate(endpoint, tls.id, server.stranger.identity())),
        ("the name, by nobody", Credential::certificate(endpoint, tls.id, server.impostor.identity())),
    ] {
        let error = client(server, credential).token(Glewlwyd::SCOPE).await.expect_err(case);
        let outcome = (error.kind(), error.code(), error.status(), error.is_transient());
        assert_eq!(outcome, (ErrorKind::Service, "invalid_response", Some(403), false), "{case}: {error}");
    }
}
