//! The full facade: a token bound to a key of this process, and a call that proves it.
//!
//! Runs against the emulator. On Azure, leave out everything before `let identity` and the two
//! lines that point the builder at the emulator.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use bytes::Bytes;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let env: Env = emulator.environment().into_iter().collect();
    let trusting = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env)) // the emulator's address
        .transport(trusting) // the emulator's certificate authority
        .build()?;
    let token = identity.token("https://vault.example").proof_of_possession().await?;
    let request = http::Request::get(emulator.resource_url()).body(Bytes::new())?;
    let response = identity.call(&token, request).await?;

    println!("{} token, answer {}", token.token_type(), response.status());
    assert!(response.status().is_success());
    Ok(())
}
