//! Unmodified managed identity clients of other projects against the emulator, configured by
//! variables alone, and against the agent in a command that `symbolon exec` runs.

#![cfg(test)]

mod programs;
mod users;

use std::path::Path;
use std::process::{Command, Output};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use symbolon::Env;
use symbolon_emulator::{Emulator, Source, Step};

use crate::programs::{node, python, symbolon};

const RESOURCE: &str = "https://vault.azure.net";
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/python.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/node.mjs");

/// MSAL for Python supports Cloud Shell only with interactive sign-in.
const NOT_CLOUD_SHELL: &[Source] =
    &[Source::Imds, Source::AppService, Source::ServiceFabric, Source::MachineLearning, Source::AzureArc];
/// MSAL for Node cannot pin a server by thumbprint, so it trusts no Service Fabric endpoint.
const NOT_SERVICE_FABRIC: &[Source] =
    &[Source::Imds, Source::AppService, Source::MachineLearning, Source::CloudShell, Source::AzureArc];

/// One test, because test runners may use a process per test, and all need the same environment.
#[test]
fn python_libraries_get_tokens_from_every_host() {
    let Some(interpreter) = python() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, PYTHON, "msal", NOT_CLOUD_SHELL, &user_assigned);
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning];
    check(&interpreter, PYTHON, "azure-identity", &Source::ALL, &user_assigned);
    check_agent(&interpreter, PYTHON, "msal");
    check_agent(&interpreter, PYTHON, "azure-identity");
    users::check_python(&interpreter);
}

#[test]
fn msal_for_node_uses_every_host() {
    let Some(interpreter) = node() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, NODE, "msal-node", NOT_SERVICE_FABRIC, &user_assigned);
    check_agent(&interpreter, NODE, "msal-node");
}

#[test]
fn azure_identity_for_node_uses_every_host() {
    let Some(interpreter) = node() else { return };
    let user_assigned = [Source::Imds, Source::AppService, Source::MachineLearning, Source::AzureArc];
    check(&interpreter, NODE, "@azure/identity", NOT_SERVICE_FABRIC, &user_assigned);
    check_agent(&interpreter, NODE, "@azure/identity");
}

/// Requests a token on each host for the system-assigned identity and, where the library can, for a
/// user-assigned one.
fn check(interpreter: &Path, script: &str, library: &str, hosts: &[Source], user_assigned: &[Source]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let emulator = runtime.block_on(Emulator::start()).unwrap();
    for source in hosts {
        if *source == Source::AzureArc && !may_write_as_the_agent() {
            println!("skipped: {source} needs root");
            continue;
        }
        let own = emulator.client_id();
        let other = emulator.user_assigned().client_id.as_str();
        let other = user_assigned.contains(source).then_some((other, Some(other)));
        for (expected, asked) in [Some((own, None)), other].into_iter().flatten() {
            let mut command = Command::new(interpreter);
            command.args([script, library, RESOURCE]).args(asked);
            let output = run(command, emulator.environment_of(*source));
            let printed = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{library} on {source}:\n{printed}\n{}", emulator.journal());
            let claims = claims(&String::from_utf8(output.stdout).unwrap());
            assert_eq!((&claims["appid"], &claims["aud"]), (&expected.into(), &RESOURCE.into()), "{source}");
            let journal = emulator.journal();
            let last = journal.last(step(*source)).unwrap();
            assert_eq!(last.status(), Some(200), "{library} on {source}");
        }
    }
}

/// Requests tokens from the agent: for its own identity, for another allowed one, and over mTLS. An
/// identity or a resource that is not allowed is refused.
fn check_agent(interpreter: &Path, script: &str, library: &str) {
    let Some(symbolon) = symbolon() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let emulator = runtime.block_on(Emulator::start()).unwrap();
    let (own, other) = (emulator.client_id(), emulator.user_assigned().client_id.as_str());
    let named = format!("client-id:{other}");
    let ask = |options: &[&str], resource: &str, asked: Option<&str>| {
        let mut command = Command::new(&symbolon);
        command.args(["exec", "--key", "p-256", "--allow", RESOURCE]).args(options).arg("--");
        command.arg(interpreter).args([script, library, resource]).args(asked);
        run(command, emulator.environment())
    };
    for (options, asked, expected, step) in [
        (&[][..], None, own, Step::ImdsToken),
        (&["--identity", "system", "--identity", &named], Some(other), other, Step::ImdsToken),
        (&["--identity", &named], None, other, Step::ImdsToken),
        (&["--over-mtls"], None, own, Step::Token),
    ] {
        let before = emulator.journal().count(step);
        let output = ask(options, RESOURCE, asked);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{library} {options:?}:\n{printed}\n{}", emulator.journal());
        let claims = claims(&String::from_utf8(output.stdout).unwrap());
        assert_eq!((&claims["appid"], &claims["aud"]), (&expected.into(), &RESOURCE.into()), "{options:?}");
        assert!(claims["cnf"].is_null(), "{library}: a bearer token");
        assert_eq!(emulator.journal().count(step), before + 1, "{library} {options:?}");
    }
    let before = emulator.journal().entries().len();
    for (resource, asked, reason) in
        [(RESOURCE, Some(other), "403 identity"), ("https://graph.microsoft.com", None, "403 resource")]
    {
        let output = ask(&[], resource, asked);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && printed.contains(reason), "{library} {reason}:\n{printed}");
    }
    assert_eq!(emulator.journal().entries().len(), before, "{library}: no request was sent");
}

/// Runs a command with the given variables only.
fn run(mut command: Command, variables: Vec<(&'static str, String)>) -> Output {
    command.env_clear().envs(variables);
    if let Some(path) = Env::process().var("PATH") {
        command.env("PATH", path);
    }
    command.output().unwrap()
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

/// Returns true if the directory for key files of the Azure Arc agent is writable.
fn may_write_as_the_agent() -> bool {
    let directory = Path::new("/var/opt/azcmagent/tokens");
    std::fs::create_dir_all(directory).is_ok() && tempfile::tempfile_in(directory).is_ok()
}
