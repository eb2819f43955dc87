//! `symbolon emulate`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::run::{Ran, symbolon};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_printed_variables_point_the_command_itself_at_the_emulator() {
    let mut child = symbolon()
        .args(["emulate", "--print-env"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap());
    let mut child = Running(child);
    let variables: HashMap<String, String> = printed
        .lines()
        .take(2)
        .map(|line| {
            let line = line.unwrap();
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        })
        .collect();
    let ask = ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    let ran = Ran::of(symbolon().envs(&variables).args(ask).output().unwrap());
    assert_eq!(ran.json()[0]["token_type"], "mtls_pop");

    let journal = BufReader::new(child.0.stderr.take().unwrap());
    let told: Vec<String> = journal.lines().take(3).map(Result::unwrap).collect();
    assert!(
        told[0].contains("metadata") && told[1].contains("issue") && told[2].contains("token"),
        "{told:?}"
    );
    assert!(told.iter().all(|line| !line.contains("eyJ")));
}

#[test]
fn it_stands_for_the_host_that_it_is_told_to() {
    for (source, names) in [
        ("app_service", &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"][..]),
        ("service_fabric", &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"]),
        ("machine_learning", &["MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID"]),
        ("cloud_shell", &["MSI_ENDPOINT"]),
        ("azure_arc", &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"]),
        ("imds", &["AZURE_POD_IDENTITY_AUTHORITY_HOST"]),
    ] {
        let mut child = symbolon()
            .args(["emulate", "--source", source, "--print-env"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let _running = Running(child);
        let printed: Vec<String> = printed.lines().take(names.len() + 1).map(Result::unwrap).collect();
        let of = |line: &String| line.strip_prefix("export ").unwrap().split_once('=').unwrap().0.to_owned();
        let expected = names.iter().chain(&["SSL_CERT_FILE"]);
        assert!(printed.iter().map(of).eq(expected.map(ToString::to_string)), "{source}: {printed:?}");
    }
}

#[test]
fn it_listens_on_loopback_only() {
    let ran =
        Ran::of(symbolon().args(["emulate", "--listen", "0.0.0.0:0", "--output", "json"]).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
}
