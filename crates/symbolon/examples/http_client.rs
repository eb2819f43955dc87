//! Calls of a resource with the HTTP client: each brings its token and the certificate along.
//!
//! The example runs against the emulator. On Azure, remove everything before `let identity` and the
//! lines that point the builders to the emulator, and put in the URL of your resource.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use serde_json::{Value, json};
use symbolon::parts::client::Connections;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let env: Env = emulator.environment().into_iter().collect();
    let ca = emulator.ca_pem().as_bytes();

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env)) // the emulator's address
        .transport(HyperTransport::builder().root_certificates_pem(ca).build()?)
        .build()?;
    let client = identity
        .client("https://vault.example")
        .proof_of_possession()
        .connections(Connections::builder().root_certificates_pem(ca).build()?)
        .build()?;
    let body = json!({ "name": "value" });
    let response = client.post(emulator.resource_url()).json(&body).send().await?;
    let seen: Value = response.error_for_status()?.json().await?;

    println!("{seen}");
    assert_eq!(seen["bound"], true);
    Ok(())
}
