//! The command on a virtual machine where the addresses and names of Azure lead to the emulator,
//! without configuration.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use symbolon_emulator::Emulator;
use symbolon_test_programs::{Folder, Machines, Service, missing};
use symbolon_tests::symbolon;

const RESOURCE: &str = "https://vault.azure.net";

/// An emulator at the addresses of Azure.
struct Azure {
    machines: Machines,
    symbolon: String,
    resource_url: String,
    _emulator: Service,
    _folder: Folder,
}

impl Azure {
    /// Returns `None`, with a line on standard error, where namespaces are not permitted.
    fn new() -> Option<Self> {
        let Some(symbolon) = symbolon() else {
            missing("command (`cargo build -p symbolon-cli`)");
            return None;
        };
        let symbolon = symbolon.display().to_string();
        let machines = Machines::new(Emulator::AZURE_NAMES)?;
        let folder = Folder::new();
        let mut emulate = machines.in_azure(&symbolon);
        emulate.args(["emulate", "--azure-addresses"]).env("XDG_CACHE_HOME", folder.path().join("cache"));
        let mut emulator = Service::start(&emulate, &folder, Stdio::piped());
        let mut resource_url = None;
        let authority = emulator.wait_for(|line| match line.split_once(' ')? {
            ("resource", url) => {
                resource_url = Some(url.trim().to_owned());
                None
            }
            ("export", variable) => Some(variable.split('\'').nth(1)?.to_owned()),
            _ => None,
        });
        let (Some(authority), Some(resource_url)) = (authority, resource_url) else {
            let log = fs::read_to_string(folder.path().join("ip.log")).unwrap_or_default();
            panic!("the emulator did not start:\n{log}");
        };
        machines.trust(&fs::read_to_string(authority).unwrap());
        Some(Self { machines, symbolon, resource_url, _emulator: emulator, _folder: folder })
    }

    /// Runs the command in the virtual machine, without a single variable.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.machines.in_vm(&self.symbolon).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn command_works_at_the_addresses_of_azure() {
    let Some(azure) = Azure::new() else { return };
    let report = azure.run(&["doctor", "--output", "json"]);
    assert_eq!(report["source"]["selected"], "imds");
    assert_eq!(report["imds"]["base"], "http://169.254.169.254");
    assert_eq!(report["imds"]["version"], 2);
    let endpoints = report["endpoints"].as_array().unwrap();
    assert!(endpoints.len() > 1 && endpoints.iter().all(|one| one["ok"] == true), "{endpoints:?}");

    let ask = ["token", "--resource", RESOURCE, "--output", "json"];
    let bearer = azure.run(&ask);
    assert_eq!((&bearer["token_type"], &bearer["binding"]), (&"Bearer".into(), &Value::Null));
    for key in ["p-256", "rsa-2048"] {
        let bound = azure.run(&[&ask[..], &["--pop", "--key", key]].concat());
        assert_eq!((&bound["token_type"], &bound["client_id"]), (&"mtls_pop".into(), &bearer["client_id"]));
        let seen = azure.run(&["call", &azure.resource_url, "--resource", RESOURCE, "--pop", "--key", key]);
        assert_eq!((&seen["scheme"], &seen["bound"]), (&"mtls_pop".into(), &true.into()), "{seen}");
    }
}
