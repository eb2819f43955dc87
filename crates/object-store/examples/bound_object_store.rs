//! Azure storage of object_store with bound tokens.
//!
//! The example runs against the emulator. On Azure, remove the emulator and its context, and put in
//! your account and container.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use object_store::ObjectStoreExt as _;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::path::Path;
use symbolon::ManagedIdentity;
use symbolon_emulator::{Emulator, Step};
use symbolon_object_store::{BoundStorage, STORAGE};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let storage = BoundStorage::new(identity.client(STORAGE))?;
    let builder = MicrosoftAzureBuilder::new().with_account("contoso").with_container_name("reports");
    let builder = builder.with_endpoint(emulator.resource_url().to_owned());
    let store = storage.configure(builder).build()?;
    store.copy(&Path::from("today"), &Path::from("yesterday")).await?;

    let entry = emulator.journal().last(Step::Resource).cloned().ok_or("no request")?;
    println!("{entry}");
    assert!(entry.certificate().is_some());
    Ok(())
}
