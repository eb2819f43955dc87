//! The core alone: a confidential client with a secret, on the default transport.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use symbolon_emulator::Emulator;
use symbolon_hyper::HyperTransport;
use symbolon_token::{Application, ClientSecret, Secret, TokenClient, TokenEndpoint};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client_id = "6731de76-14a6-49ae-97bc-6eba6914391e";
    let emulator = Emulator::builder().application(client_id, "a secret").start().await?;
    let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;

    let endpoint = TokenEndpoint::parse(&emulator.token_endpoint())?;
    let credential = ClientSecret::new(Application::at(endpoint, client_id)?, Secret::new("a secret"))?;
    let client = TokenClient::builder(credential, transport).build();
    let token = client.token("https://graph.example/.default").await?;
    let request = http::Request::get(emulator.resource_url()).body(bytes::Bytes::new())?;
    let response = client.call(&token, request).await?;

    println!("{} token, status {}", token.token_type(), response.status());
    assert!(response.status().is_success());
    Ok(())
}
