//! `symbolon emulate`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::run::{RunResult, RunningCommand, symbolon};

#[test]
fn run_02_printed_variables_select_the_emulator() {
    let mut child = symbolon()
        .args(["emulate", "--print-env"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap());
    let mut child = RunningCommand(child);
    let variables: HashMap<String, String> = printed
        .lines()
        .take(2)
        .map(|line| {
            let line = line.unwrap();
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        })
        .collect();
    let token_request =
        ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    let ran = RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap());
    assert_eq!(ran.json()[0]["token_type"], "mtls_pop");

    let journal = BufReader::new(child.0.stderr.take().unwrap());
    let mut lines = journal.lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("page: http://127.0.0.1:"));
    let lines: Vec<String> = lines.take(3).collect();
    assert!(
        lines[0].contains("metadata") && lines[1].contains("issue") && lines[2].contains("token"),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line.find("200") == Some(31)), "the columns are aligned: {lines:?}");
    assert!(lines.iter().all(|line| !line.contains("eyJ")));
}

#[test]
fn run_01_listens_on_the_given_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (variables, _running) = started(&["--listen", &free]);
    assert_eq!(variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"], format!("http://{free}"));
    let token_request = ["token", "--resource", "https://x.example", "--output", "json"];
    assert_eq!(
        RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap()).json().len(),
        1
    );
}

#[cfg(unix)]
#[test]
fn run_02_to_03_output_and_interrupt() {
    use std::io::Read;

    for (more, lines) in [(&["--print-env"][..], 2), (&[], 16)] {
        let mut child = symbolon()
            .arg("emulate")
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut running = RunningCommand(child);
        let mut all = String::new();
        while !all.contains("SSL_CERT_FILE") {
            printed.read_line(&mut all).unwrap();
        }
        crate::run::signal(&running.0, rustix::process::Signal::INT);
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
        printed.read_to_string(&mut all).unwrap();
        assert_eq!(all.lines().count(), lines, "{all}");
        if more.is_empty() {
            let parts = ["metadata service", "token service", "resource", "tenant", "client id", "AZURE_POD"];
            for expected in parts.into_iter().chain(["symbolon call https://127.0.0.1:"]) {
                assert!(all.contains(expected), "{expected}: {all}");
            }
        } else {
            assert!(all.lines().all(|line| line.starts_with("export ")), "{all}");
        }
    }
}

#[test]
fn source_option_selects_the_host() {
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
        let _running = RunningCommand(child);
        let printed: Vec<String> = printed.lines().take(names.len() + 1).map(Result::unwrap).collect();
        let of = |line: &String| line.strip_prefix("export ").unwrap().split_once('=').unwrap().0.to_owned();
        let expected = names.iter().chain(&["SSL_CERT_FILE"]);
        assert!(printed.iter().map(of).eq(expected.map(ToString::to_string)), "{source}: {printed:?}");
    }
}

/// Starts an emulator and returns its variables.
fn started(arguments: &[&str]) -> (HashMap<String, String>, RunningCommand) {
    let mut child = symbolon()
        .args(["emulate", "--print-env"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap());
    let running = RunningCommand(child);
    let of = |line: std::io::Result<String>| {
        let line = line.unwrap();
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    (printed.lines().take(2).map(of).collect(), running)
}

#[test]
fn faults_and_journal_files() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, journal) = (folder.path().join("faults.toml"), folder.path().join("journal.jsonl"));
    let fault = "[[fault]]\nkind = \"oauth-error\"\nerror = \"unauthorized_client\"\n";
    std::fs::write(&faults, fault).unwrap();
    let arguments = ["--faults", faults.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let (variables, _running) = started(&arguments);
    let token_request =
        ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    let ran = RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("unauthorized_client")));
    let ran = RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap());
    let token = ran.json()[0]["access_token"].as_str().unwrap().to_owned();

    // A line is written after the response was sent.
    let lines = loop {
        let lines = std::fs::read_to_string(&journal).unwrap();
        if lines.lines().count() == 6 {
            break lines;
        }
        std::thread::yield_now();
    };
    let entries: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&entries[2]["fault"], &entries[2]["status"]), (&"oauth-error".into(), &400.into()));
    assert_eq!((&entries[5]["step"], &entries[5]["status"]), (&"token".into(), &200.into()));
    assert!(token.split('.').all(|part| !lines.contains(part)) && !lines.contains("MII"));
}

#[test]
fn invalid_faults_have_a_position() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.toml");
    std::fs::write(&file, "[[fault]]\nkind = \"reset\"\nstep = \"tokn\"\n").unwrap();
    let ran = RunResult::of(symbolon().args(["emulate", "--faults"]).arg(&file).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let place = format!("error: {}: line 3, column 8: there is no step `tokn`", file.display());
    assert!(ran.stderr.starts_with(&place) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    let ran =
        RunResult::of(symbolon().args(["emulate", "--faults", "/nowhere/faults.toml"]).output().unwrap());
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn leftovers_of_a_killed_run_are_removed() {
    let (variables, mut killed) = started(&[]);
    let left = std::path::PathBuf::from(&variables["SSL_CERT_FILE"]);
    // SIGKILL leaves no time to clean up.
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(left.exists());
    let (variables, mut next) = started(&[]);
    assert!(!left.parent().unwrap().exists());
    let own = std::path::PathBuf::from(&variables["SSL_CERT_FILE"]);
    assert!(own.exists());
    // SIGTERM, as sent by a service manager.
    let pid = next.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(next.0.wait().unwrap().code(), Some(0));
    assert!(!own.parent().unwrap().exists());
}

#[test]
fn emulator_listens_on_loopback_only() {
    let ran = RunResult::of(
        symbolon().args(["emulate", "--listen", "0.0.0.0:0", "--output", "json"]).output().unwrap(),
    );
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
    let ran = RunResult::of(
        symbolon().args(["emulate", "--admin", "0.0.0.0:0", "--output", "json"]).output().unwrap(),
    );
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
}
