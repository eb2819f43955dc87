//! A token that is bound to a key of this process, and a call with it.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its context, and put
//! the URL of your resource into the request.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use bytes::Bytes;
use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let token = identity.token("https://vault.example").proof_of_possession().await?;
    let request = http::Request::get(emulator.resource_url()).body(Bytes::new())?;
    let response = identity.call(&token, request).await?;

    println!("{} token, response {}", token.token_type(), response.status());
    assert!(response.status().is_success());
    Ok(())
}
