//! Bound calls with the pooled client of hyper-util: one client for each certificate.
//!
//! The example runs against the emulator. On Azure, remove the two lines with its name, the context
//! and the transport.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use symbolon::{Context, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;
use symbolon_rustls::ClientConfigs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let root = emulator.ca_pem().as_bytes();

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(emulator.environment().into_iter().collect()))
        .transport(HyperTransport::builder().root_certificates_pem(root).build()?)
        .build()?;
    let configs = ClientConfigs::builder().root_certificates_pem(root).build()?;
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
