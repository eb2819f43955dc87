//! A token that is bound to a key of this process, and a call with it.
//!
//! The example runs against the emulator. On Azure, remove everything before `let identity` and the
//! two lines that point the builder to the emulator, and put the URL of your resource into the
//! request.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use bytes::Bytes;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let env: Env = emulator.environment().into_iter().collect();
    let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env)) // the emulator's address
        .transport(transport) // the emulator's certificate authority
        .build()?;
    let token = identity.token("https://vault.example").proof_of_possession().await?;
    let request = http::Request::get(emulator.resource_url()).body(Bytes::new())?;
    let response = identity.call(&token, request).await?;

    println!("{} token, response {}", token.token_type(), response.status());
    assert!(response.status().is_success());
    Ok(())
}
