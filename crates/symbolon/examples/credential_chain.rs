//! A chain of credentials for the cloud and a laptop, and the reasons for skipping links.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its contexts.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use symbolon::{AzureCli, ChainLink, Context, CredentialChain, Env, ManagedIdentity};
use symbolon_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let chain = CredentialChain::builder()
        .context(emulator.context()) // no workload identity
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
