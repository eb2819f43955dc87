//! Managed identity clients that nobody here wrote, unmodified, against the emulator: where they get tokens by
//! the variables alone, the emulator is what it claims to be, and so is what our own client is tested with.

#![cfg(test)]

mod programs;

use std::path::Path;
use std::process::Command;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use symbolon_emulator::{Emulator, Source, Step};

use crate::programs::{node, python};

const RESOURCE: &str = "https://vault.azure.net";
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/python.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/node.mjs");

/// MSAL Python has Cloud Shell only as a user who signs in interactively.
const NOT_CLOUD_SHELL: &[Source] =
    &[Source::Imds, Source::AppService, Source::ServiceFabric, Source::MachineLearning, Source::AzureArc];
/// MSAL for Node knows no server by its thumbprint, so that it trusts no Service Fabric endpoint.
const NOT_SERVICE_FABRIC: &[Source] =
    &[Source::Imds, Source::AppService, Source::MachineLearning, Source::CloudShell, Source::AzureArc];

/// One test, because the runner may give each a process of its own, and they share an environment that the first
/// must make.
#[test]
fn msal_and_azure_identity_for_python_get_tokens_from_every_host_that_they_know() {
    let Some(interpreter) = python() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, PYTHON, "msal", NOT_CLOUD_SHELL, &user_assigned);
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning];
    check(&interpreter, PYTHON, "azure-identity", &Source::ALL, &user_assigned);
}

#[test]
fn msal_for_node_gets_tokens_from_every_host_that_it_knows() {
    let Some(interpreter) = node() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, NODE, "msal-node", NOT_SERVICE_FABRIC, &user_assigned);
}

#[test]
fn azure_identity_for_node_gets_tokens_from_every_host_that_it_knows() {
    let Some(interpreter) = node() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, NODE, "@azure/identity", NOT_SERVICE_FABRIC, &user_assigned);
}

/// Asks on each of these hosts for a token of the host's own identity, and, where the library knows how, for
/// one of a user-assigned identity.
fn check(interpreter: &Path, script: &str, library: &str, hosts: &[Source], user_assigned: &[Source]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let emulator = runtime.block_on(Emulator::start()).unwrap();
    for source in hosts {
        if *source == Source::AzureArc && !may_write_as_the_agent() {
            println!("skipped: {source} needs root");
            continue;
        }
        let own = emulator.client_id();
        let other = emulator.user_assigned().client_id();
        let other = user_assigned.contains(source).then_some((other, Some(other)));
        for (expected, asked) in [Some((own, None)), other].into_iter().flatten() {
            let mut command = Command::new(interpreter);
            command.args([script, library, RESOURCE]).args(asked).env_clear();
            if let Some(path) = symbolon::Env::process().var("PATH") {
                command.env("PATH", path);
            }
            let output = command.envs(emulator.environment_of(*source)).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{library} on {source}:\n{told}\n{}", emulator.journal());
            let claims = claims(&String::from_utf8(output.stdout).unwrap());
            assert_eq!((&claims["appid"], &claims["aud"]), (&expected.into(), &RESOURCE.into()), "{source}");
            let journal = emulator.journal();
            let last = journal.last(step(*source)).unwrap();
            assert_eq!(last.status(), Some(200), "{library} on {source}");
        }
    }
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let payload = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).unwrap()).unwrap()
}

fn step(source: Source) -> Step {
    match source {
        Source::AppService => Step::AppService,
        Source::ServiceFabric => Step::ServiceFabric,
        Source::MachineLearning => Step::MachineLearning,
        Source::CloudShell => Step::CloudShell,
        Source::AzureArc => Step::AzureArc,
        _ => Step::ImdsToken,
    }
}

/// Whether a file can be made where clients look for the key files of the Azure Arc agent.
fn may_write_as_the_agent() -> bool {
    let directory = Path::new("/var/opt/azcmagent/tokens");
    std::fs::create_dir_all(directory).is_ok() && tempfile::tempfile_in(directory).is_ok()
}
