//! `symbolon emulate`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::run::{Ran, Running, symbolon};

#[test]
fn run_02_the_printed_variables_point_the_command_itself_at_the_emulator() {
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
    let mut told = journal.lines().map(Result::unwrap);
    assert!(told.next().unwrap().starts_with("page: http://127.0.0.1:"));
    let told: Vec<String> = told.take(3).collect();
    assert!(
        told[0].contains("metadata") && told[1].contains("issue") && told[2].contains("token"),
        "{told:?}"
    );
    assert!(told.iter().all(|line| line.find("200") == Some(31)), "the columns are aligned: {told:?}");
    assert!(told.iter().all(|line| !line.contains("eyJ")));
}

#[test]
fn run_01_it_listens_where_it_is_told_to() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (variables, _running) = started(&["--listen", &free]);
    assert_eq!(variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"], format!("http://{free}"));
    let ask = ["token", "--resource", "https://x.example", "--output", "json"];
    assert_eq!(Ran::of(symbolon().envs(&variables).args(ask).output().unwrap()).json().len(), 1);
}

#[cfg(unix)]
#[test]
fn run_02_to_03_it_prints_what_it_is_and_runs_until_it_is_interrupted() {
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
        let mut running = Running(child);
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
            for told in parts.into_iter().chain(["symbolon call https://127.0.0.1:"]) {
                assert!(all.contains(told), "{told}: {all}");
            }
        } else {
            assert!(all.lines().all(|line| line.starts_with("export ")), "{all}");
        }
    }
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

/// The variables that an emulator prints, and the emulator.
fn started(arguments: &[&str]) -> (HashMap<String, String>, Running) {
    let mut child = symbolon()
        .args(["emulate", "--print-env"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let of = |line: std::io::Result<String>| {
        let line = line.unwrap();
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    (printed.lines().take(2).map(of).collect(), running)
}

#[test]
fn faults_come_from_a_file_and_the_journal_goes_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, journal) = (folder.path().join("faults.toml"), folder.path().join("journal.jsonl"));
    let fault = "[[fault]]\nkind = \"oauth-error\"\nerror = \"unauthorized_client\"\n";
    std::fs::write(&faults, fault).unwrap();
    let arguments = ["--faults", faults.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let (variables, _running) = started(&arguments);
    let ask = ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    let ran = Ran::of(symbolon().envs(&variables).args(ask).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("unauthorized_client")));
    let ran = Ran::of(symbolon().envs(&variables).args(ask).output().unwrap());
    let token = ran.json()[0]["access_token"].as_str().unwrap().to_owned();

    // The line is written when the answer is on its way.
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
fn a_wrong_file_of_faults_is_refused_in_one_line_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.toml");
    std::fs::write(&file, "[[fault]]\nkind = \"reset\"\nstep = \"tokn\"\n").unwrap();
    let ran = Ran::of(symbolon().args(["emulate", "--faults"]).arg(&file).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let place = format!("error: {}: line 3, column 8: there is no step `tokn`", file.display());
    assert!(ran.stderr.starts_with(&place) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    let ran = Ran::of(symbolon().args(["emulate", "--faults", "/nowhere/faults.toml"]).output().unwrap());
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn what_a_killed_emulator_left_behind_is_gone_with_the_next() {
    let (variables, mut killed) = started(&[]);
    let left = std::path::PathBuf::from(&variables["SSL_CERT_FILE"]);
    // SIGKILL, which nobody survives to tidy up.
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(left.exists());
    let (variables, mut next) = started(&[]);
    assert!(!left.parent().unwrap().exists());
    let own = std::path::PathBuf::from(&variables["SSL_CERT_FILE"]);
    assert!(own.exists());
    // SIGTERM, as a service is ended.
    let pid = next.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(next.0.wait().unwrap().code(), Some(0));
    assert!(!own.parent().unwrap().exists());
}

#[test]
fn it_listens_on_loopback_only() {
    let ran =
        Ran::of(symbolon().args(["emulate", "--listen", "0.0.0.0:0", "--output", "json"]).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
    let ran =
        Ran::of(symbolon().args(["emulate", "--admin", "0.0.0.0:0", "--output", "json"]).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
}
