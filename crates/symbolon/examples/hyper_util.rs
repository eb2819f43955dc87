//! Bound calls with the pooled client of hyper-util: one client for each certificate.
//!
//! The example runs against the emulator. On Azure, remove the lines with its name and the
//! contexts.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;
use symbolon_rustls::ClientConfigs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let configs = ClientConfigs::builder().context(emulator.context()).build()?;
    let rotating = configs.rotating(identity.watch_binding()).await?;

    let token = identity.token("https://vault.example").proof_of_possession().await?;
    // After `rotating.changed()`, make another client: its connections present the new certificate.
    let config = rotating.current().ok_or("the certificate was refused")?;
    let tls = HttpsConnectorBuilder::new().with_tls_config((*config).clone());
    let connector = tls.https_only().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);

    let authorization = format!("{} {}", token.token_type(), token.secret().expose());
    let request = http::Request::get(emulator.resource_url()).header("authorization", authorization);
    let response = client.request(request.body(Empty::<Bytes>::new())?).await?;
    println!("{} token, response {}", token.token_type(), response.status());
    assert!(response.status().is_success());
    Ok(())
}
