//! `azure_identity` on a virtual machine where the fixed address of the metadata service leads to
//! the emulator. No variable is set.

#![cfg(target_os = "linux")]

use std::process::Stdio;

use azure_core::credentials::TokenCredential;
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::Value;
use symbolon_emulator::Emulator;
use symbolon_test_programs::{Folder, Machines, Service};

const TEST: &str = "azure_identity_works_at_the_azure_address";
/// The role of a process of this test: `azure`, or, in the virtual machine, the identity to use:
/// `system` or a client id.
const ROLE: &str = "SYMBOLON_TEST_ROLE";
const SCOPE: &str = "https://vault.azure.net/.default";
/// The prefix of lines that a process prints for its parent.
const PREFIX: &str = "printed: ";

#[tokio::test(flavor = "current_thread")]
async fn azure_identity_works_at_the_azure_address() {
    match std::env::var(ROLE).ok().as_deref() {
        None => both_machines(),
        Some("azure") => azure().await,
        Some(identity) => virtual_machine(identity).await,
    }
}

fn both_machines() {
    let Some(machines) = Machines::new(Emulator::AZURE_NAMES) else { return };
    let this = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["--exact", "--nocapture", TEST];
    let folder = Folder::new();
    let mut azure = machines.in_azure(&this);
    azure.args(arguments).env(ROLE, "azure");
    let mut azure = Service::start(&azure, &folder, Stdio::piped());
    let identities = azure.wait_for(value_of).expect("the client ids of the identities");
    let (own, other) = identities.split_once(' ').unwrap();
    for (asked, expected) in [("system", own), (other, other)] {
        let mut vm = machines.in_vm(&this);
        let output = vm.args(arguments).env(ROLE, asked).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        assert_eq!(printed.lines().find_map(value_of).as_deref(), Some(expected), "{printed}");
    }
}

fn value_of(line: &str) -> Option<String> {
    Some(line.split_once(PREFIX)?.1.to_owned())
}

/// Serves Azure's endpoints until the process is killed.
async fn azure() {
    let emulator = Emulator::builder().azure_addresses().start().await.unwrap();
    println!("{PREFIX}{} {}", emulator.client_id(), emulator.user_assigned().client_id);
    std::future::pending().await
}

/// Gets a token and prints the client id in it.
async fn virtual_machine(identity: &str) {
    let user_assigned_id = (identity != "system").then(|| UserAssignedId::ClientId(identity.to_owned()));
    let options = ManagedIdentityCredentialOptions { user_assigned_id, ..Default::default() };
    let credential = ManagedIdentityCredential::new(Some(options)).unwrap();
    let token = credential.get_token(&[SCOPE], None).await.unwrap();
    let payload = token.token.secret().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).unwrap()).unwrap();
    println!("{PREFIX}{}", claims["appid"].as_str().unwrap());
}
