//! A chain of credentials for the cloud and a laptop, and the reasons for skipping links.
//!
//! The example runs against the emulator. On Azure, remove everything before `let identity`, and
//! the lines that point the builders to the emulator.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use symbolon::{AzureCli, ChainLink, Context, CredentialChain, Env, HyperTransport, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let env: Env = emulator.environment().into_iter().collect();
    let transport = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;

    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env.clone())) // the emulator's address
        .transport(transport.clone()) // the emulator's certificate authority
        .build()?;
    let chain = CredentialChain::builder()
        .context(Context::default().with_env(env)) // no workload identity
        .transport(transport)
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

    // A host without credentials: the error has the reason of each link.
    let empty = CredentialChain::builder()
        .context(Context::default().with_env(Env::empty()))
        .workload_identity()
        .azure_cli(AzureCli::new())
        .build()?;
    let error = empty.token("https://vault.example").await.err().ok_or("a token without a credential")?;
    println!("{error:?}");
    assert_eq!(error.code(), "no_credential_available");
    Ok(())
}
