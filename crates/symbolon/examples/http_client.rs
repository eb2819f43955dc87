//! Calls of a resource with the HTTP client: each brings its token and the certificate along.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its context, and put in
//! the URL of your resource.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use serde_json::{Value, json};
use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let client = identity.client("https://vault.example").proof_of_possession().build()?;
    let body = json!({ "name": "value" });
    let response = client.post(emulator.resource_url()).json(&body).send().await?;
    let seen: Value = response.error_for_status()?.json().await?;

    println!("{seen}");
    assert_eq!(seen["bound"], true);
    Ok(())
}
