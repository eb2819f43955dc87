//! A bound call with reqwest and settings of your own.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its context, and put in
//! the URL of your resource.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use serde_json::{Value, json};
use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;
use symbolon_reqwest::{AuthorizedClient, ReqwestConnections};
use symbolon_rustls::ClientConfigs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let configs = ClientConfigs::builder().context(emulator.context()).build()?;
    let settings = || reqwest::Client::builder().user_agent("contoso/1.0");
    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let client = identity.client("https://vault.example").proof_of_possession();
    let client = client.connections(ReqwestConnections::new(configs, settings)).build()?;
    let client = AuthorizedClient::new(client)?;
    let request = client.post(emulator.resource_url()).json(&json!({ "name": "value" }));
    let seen: Value = client.send(request).await?.error_for_status()?.json().await?;

    println!("{seen}");
    assert_eq!(seen["bound"], true);
    Ok(())
}
