//! A service of axum that calls a resource on behalf of its caller, with a token that is bound to
//! the service's certificate.
//!
//! The example runs against the emulator, which is the resource, too.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use symbolon_client::{Client, Connections, UserTokens};
use symbolon_emulator::Emulator;
use symbolon_hyper::{HyperTransport, client_identity_from_pem};
use symbolon_token::{Application, ClientCertificate, Secret, TokenClient, TokenEndpoint};
use tower_service::Service as _;

/// The credential of the service, its connections, and the URL of the resource.
type Shared = (TokenClient, Connections, String);

async fn handler(
    State((tokens, connections, url)): State<Shared>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    // A service verifies this token first.
    let assertion = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(StatusCode::UNAUTHORIZED)?;
    let user = UserTokens::on_behalf_of(tokens, Secret::new(assertion.to_owned()));
    let client = Client::builder(user, "https://vault.example/.default").proof_of_possession();
    let call = async { client.connections(connections).build()?.get(url).send().await?.text().await };
    call.await.map_err(|_| StatusCode::BAD_GATEWAY)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let (id, context) = (emulator.application_id(), emulator.context());
    let application = Application::at(TokenEndpoint::parse(&emulator.token_endpoint())?, id)?;
    let certificate = client_identity_from_pem(emulator.issue_client_certificate(id)?.to_pem().as_bytes())?;
    let transport = HyperTransport::builder().context(context.clone()).build()?;
    let tokens = TokenClient::builder(ClientCertificate::new(application, certificate)?, transport).build();
    let connections = Connections::builder().context(context).build()?;
    let shared = (tokens, connections, emulator.resource_url().to_owned());
    let mut service = Router::new().route("/", get(handler)).with_state(shared);

    // A caller, with the token of a user for this service.
    let token = emulator.user_token(&format!("api://{id}")).await?;
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(Body::empty())?;
    let body = to_bytes(service.call(request).await?.into_body(), 1 << 20).await?;

    let seen: serde_json::Value = serde_json::from_slice(&body)?;
    println!("{seen}");
    assert_eq!(seen["bound"], true);
    Ok(())
}
