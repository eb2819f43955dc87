//! A client of the Azure SDK, unmodified, that makes bound calls.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its context, and put in
//! the URL of your vault.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use symbolon::ManagedIdentity;
use symbolon_azure_core::BoundAuthentication;
use symbolon_emulator::{Emulator, Step};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::builder().key_vault_challenge().start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let bound = BoundAuthentication::new(move |resource| identity.client(resource));
    let mut options = SecretClientOptions { client_options: bound.client_options(), ..Default::default() };
    options.verify_challenge_resource = Some(false); // the emulator has no name under vault.azure.net
    let vault = SecretClient::new(emulator.resource_url(), bound.credential(), Some(options))?;
    vault.get_secret("x", None).await?;

    let entry = emulator.journal().last(Step::Resource).cloned().ok_or("no request")?;
    println!("{entry}");
    assert!(entry.certificate().is_some());
    Ok(())
}
