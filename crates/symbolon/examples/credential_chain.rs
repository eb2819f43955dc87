//! The same code in the cloud and on a laptop: an explicit chain, and what it says about its links.
//!
//! Runs against the emulator. On Azure, leave out everything before `let identity` and the lines
//! that point the builders at the emulator.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use symbolon::{AzureCli, ChainLink, Context, CredentialChain, Env, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let env: Env = emulator.environment().into_iter().collect();
    let trusting = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env.clone())) // the emulator's address
        .transport(trusting.clone()) // the emulator's certificate authority
        .build()?;
    let chain = CredentialChain::builder()
        .context(Context::default().with_env(env)) // no workload identity
        .transport(trusting)
        .workload_identity()
        .managed_identity(identity)
        .azure_cli(AzureCli::new())
        .build()?;

    let token = chain.token("https://vault.example").await?;
    for skipped in chain.skipped() {
        println!("skipped {}: {}", skipped.link, skipped.reason);
    }
    println!("{} token from {:?}", token.token_type(), chain.chosen());
    assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));

    // A host without anything: every link says why.
    let nowhere = CredentialChain::builder()
        .context(Context::default().with_env(Env::empty()))
        .workload_identity()
        .azure_cli(AzureCli::new())
        .build()?;
    let error = nowhere.token("https://vault.example").await.err().ok_or("nothing is there to ask")?;
    println!("{error:?}");
    assert_eq!(error.code(), "no_credential_available");
    Ok(())
}
