//! `symbolon emulate`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{RunResult, RunningCommand, emulate, skip_without, symbolon};

#[test]
fn run_02_printed_variables_select_the_emulator() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = emulate(folder.path());
    let mut child = command.arg("--print-env").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let (variables, _running) = started(emulate(folder.path()).args(["--listen", &free]));
    assert_eq!(variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"], format!("http://{free}"));
    let token_request = ["token", "--resource", "https://x.example", "--output", "json"];
    assert_eq!(
        RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap()).json().len(),
        1
    );
}

#[test]
fn run_12_json_has_every_url() {
    let folder = tempfile::tempdir().unwrap();
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (printed, _bare) =
        RunningCommand::start(emulate(folder.path()).args(["--output", "json", "--print-env"]), 1);
    let variables = parse(&printed[0]);
    let names: Vec<&String> = variables.as_object().unwrap().keys().collect();
    assert_eq!(names, ["AZURE_POD_IDENTITY_AUTHORITY_HOST", "SSL_CERT_FILE"]);

    let (printed, _running) = RunningCommand::start(emulate(folder.path()).args(["--output", "json"]), 1);
    let printed = parse(&printed[0]);
    let (urls, tenant) = (&printed["urls"], printed["tenant_id"].as_str().unwrap());
    assert_eq!(urls["metadata_service"], printed["AZURE_POD_IDENTITY_AUTHORITY_HOST"]);
    let token_service = urls["token_service"].as_str().unwrap();
    assert_eq!(urls["token_endpoint"], format!("{token_service}/{tenant}/oauth2/v2.0/token"));
    assert!(Path::new(printed["SSL_CERT_FILE"].as_str().unwrap()).exists());
    for (name, scheme) in [
        ("resource", "https"),
        ("page", "http"),
        ("app_service", "http"),
        ("service_fabric", "https"),
        ("machine_learning", "http"),
        ("cloud_shell", "http"),
        ("azure_arc", "http"),
    ] {
        let url = urls[name].as_str().unwrap();
        assert!(url.starts_with(&format!("{scheme}://127.0.0.1:")), "{name}: {url}");
    }
    // The page's API confirms the ids.
    let about = format!("{}about", urls["page"].as_str().unwrap());
    let about = Command::new("curl").args(["--silent", "--noproxy", "*", &about]).output();
    let Ok(about) = about else { return skip_without("curl") };
    let about = parse(&String::from_utf8(about.stdout).unwrap());
    for name in ["tenant_id", "client_id"] {
        assert_eq!(about[name], printed[name], "{name}");
    }
    assert_eq!(about["resource"], urls["resource"]);
}

#[test]
fn run_13_strict_refuses_the_undeclared() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("strict.toml");
    std::fs::write(&faults, "[host]\nresources = [\"https://file.example\"]\n").unwrap();
    let mut command = emulate(folder.path());
    command.args(["--strict", "--resource", "https://option.example", "--faults"]).arg(&faults);
    let (variables, _running) = started(&mut command);
    for (resource, code) in [
        ("https://option.example", None),
        ("https://file.example", None),
        ("https://vault.azure.net", Some("invalid_resource")),
    ] {
        let token_request = ["token", "--resource", resource, "--pop", "--key", "p-256", "--output", "json"];
        let ran = RunResult::of(symbolon().envs(&variables).args(token_request).output().unwrap());
        let found = (ran.code != 0).then(|| ran.error()["code"].as_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), code, "{resource}: {}", ran.stderr);
    }
    // Declarations without the option would have no effect.
    for option in ["--tenant", "--client", "--resource"] {
        let ran = RunResult::of(symbolon().args(["emulate", option, "x"]).output().unwrap());
        assert_eq!(ran.code, 2, "{option}");
        assert!(ran.stderr.contains("--strict"), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn run_02_to_03_output_and_interrupt() {
    use std::io::Read;

    for (more, lines) in [(&["--print-env"][..], 2), (&[], 16)] {
        let folder = tempfile::tempdir().unwrap();
        let mut child =
            emulate(folder.path()).args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut running = RunningCommand(child);
        let mut all = String::new();
        while !all.contains("SSL_CERT_FILE") {
            assert_ne!(printed.read_line(&mut all).unwrap(), 0, "{all}");
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
        let folder = tempfile::tempdir().unwrap();
        let mut command = emulate(folder.path());
        command.args(["--source", source, "--print-env"]);
        let (printed, _running) = RunningCommand::start(&mut command, names.len() + 1);
        let of = |line: &String| line.strip_prefix("export ").unwrap().split_once('=').unwrap().0.to_owned();
        let expected = names.iter().chain(&["SSL_CERT_FILE"]);
        assert!(printed.iter().map(of).eq(expected.map(ToString::to_string)), "{source}: {printed:?}");
    }
}

/// Starts an emulator and returns its variables.
fn started(command: &mut Command) -> (HashMap<String, String>, RunningCommand) {
    let (printed, running) = RunningCommand::start(command.arg("--print-env"), 2);
    let of = |line: String| {
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    (printed.into_iter().map(of).collect(), running)
}

#[test]
fn faults_and_journal_files() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, journal) = (folder.path().join("faults.toml"), folder.path().join("journal.jsonl"));
    let fault = "[[fault]]\nkind = \"oauth-error\"\nerror = \"unauthorized_client\"\n";
    std::fs::write(&faults, fault).unwrap();
    let arguments = ["--faults", faults.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let (variables, _running) = started(emulate(folder.path()).args(arguments));
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
    let folder = tempfile::tempdir().unwrap();
    let (variables, mut killed) = started(&mut emulate(folder.path()));
    let left = PathBuf::from(&variables["SSL_CERT_FILE"]);
    // SIGKILL leaves no time to clean up.
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(left.exists());
    let (variables, mut next) = started(&mut emulate(folder.path()));
    assert!(!left.parent().unwrap().exists());
    let own = PathBuf::from(&variables["SSL_CERT_FILE"]);
    assert!(own.exists());
    // SIGTERM, as sent by a service manager.
    let pid = next.0.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(next.0.wait().unwrap().code(), Some(0));
    assert!(!own.parent().unwrap().exists());
}

/// Creates a folder with this mode.
#[cfg(unix)]
fn folder_with_mode(path: PathBuf, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Returns `symbolon emulate` with these variables.
#[cfg(unix)]
fn emulate_with(variables: &[(&str, &Path)]) -> Command {
    let mut command = symbolon();
    command.envs(variables.iter().copied()).arg("emulate");
    command
}

#[cfg(unix)]
#[test]
fn run_10_certificate_is_in_a_folder_of_the_user() {
    use std::os::unix::fs::MetadataExt;

    let all = tempfile::tempdir().unwrap();
    let folder = |name: &str, mode| folder_with_mode(all.path().join(name), mode);
    let (runtime, cache, home) = (folder("run", 0o700), folder("cache", 0o755), folder("home", 0o755));
    let (open, missing) = (folder("open", 0o750), all.path().join("missing"));
    let [in_runtime, in_cache, in_home] =
        [&runtime, &cache, &home.join(".cache")].map(|base| base.join("symbolon"));
    let (runtime, cache, home) = (runtime.as_path(), cache.as_path(), home.as_path());
    let tmp = ("TMPDIR", all.path());
    for (variables, expected) in [
        (&[("XDG_RUNTIME_DIR", runtime), ("XDG_CACHE_HOME", cache), ("HOME", home), tmp][..], &in_runtime),
        (&[("XDG_CACHE_HOME", cache), ("HOME", home), tmp], &in_cache),
        (&[("HOME", home), tmp], &in_home),
        // Relative paths are ignored, and runtime folders that are missing or not private.
        (&[("XDG_RUNTIME_DIR", Path::new("run")), ("XDG_CACHE_HOME", cache), tmp], &in_cache),
        (&[("XDG_RUNTIME_DIR", &missing), ("XDG_CACHE_HOME", cache), tmp], &in_cache),
        (&[("XDG_RUNTIME_DIR", &open), ("XDG_CACHE_HOME", cache), tmp], &in_cache),
        (&[("XDG_CACHE_HOME", Path::new("cache")), ("HOME", home), tmp], &in_home),
    ] {
        let (printed, _running) = started(&mut emulate_with(variables));
        let run = Path::new(&printed["SSL_CERT_FILE"]).parent().unwrap();
        assert_eq!(run.parent(), Some(expected.as_path()), "{variables:?}");
        let modes = [run, expected].map(|folder| folder.metadata().unwrap().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o700], "{variables:?}");
    }
    assert!(!missing.exists());
}

#[cfg(unix)]
#[test]
fn run_10_shared_folders_are_refused() {
    let all = tempfile::tempdir().unwrap();
    let folder = |name: &str, mode| folder_with_mode(all.path().join(name), mode);
    let (group, world, sticky) = (folder("group", 0o770), folder("world", 0o707), folder("sticky", 0o1777));
    // Only the folder inside is shared.
    let inside = folder("inside", 0o700);
    folder_with_mode(inside.join("symbolon"), 0o777);
    let home = folder("home", 0o755);
    folder_with_mode(home.join(".cache"), 0o775);
    let is_root = rustix::process::geteuid().is_root();
    let foreign = folder("foreign", 0o700);
    if is_root {
        std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
    }
    let file = all.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (name, value, code, expected) in [
        ("XDG_CACHE_HOME", &group, 1, "can be written to by other users"),
        ("XDG_CACHE_HOME", &world, 1, "can be written to by other users"),
        ("XDG_CACHE_HOME", &sticky, 1, "can be written to by other users"),
        ("XDG_CACHE_HOME", &inside, 1, "can be written to by other users"),
        ("XDG_RUNTIME_DIR", &inside, 1, "can be written to by other users"),
        ("HOME", &home, 1, "can be written to by other users"),
        ("XDG_CACHE_HOME", &foreign, 1, "belongs to another user"),
        ("XDG_CACHE_HOME", &file, 1, "could not be created"),
        ("XDG_RUNTIME_DIR", &foreign, 2, "neither XDG_CACHE_HOME nor HOME"),
        ("TMPDIR", &inside, 2, "neither XDG_CACHE_HOME nor HOME"),
    ] {
        if value == &foreign && !is_root {
            println!("skipped: a folder of another user needs root");
            continue;
        }
        let mut command = emulate_with(&[(name, value)]);
        let ran = RunResult::of(command.args(["--output", "json", "--timeout", "60"]).output().unwrap());
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{name} {}: {message}", value.display());
        assert!(message.contains("set XDG_CACHE_HOME to"), "{message}");
        let named = message.contains(&*value.to_string_lossy());
        assert_eq!((ran.code, named), (code, code == 1), "{message}");
    }
}

// Single quotes and backslashes are the characters that shells interpret differently.
#[cfg(unix)]
#[test]
fn run_11_variables_are_quoted_for_shells() {
    let all = tempfile::tempdir().unwrap();
    let name = r#"it's \\ a "$HOME" `x` \ !! \' folder*"#;
    let folder = folder_with_mode(all.path().join(name), 0o700);
    let (printed, _running) = RunningCommand::start(emulate(&folder).arg("--print-env"), 2);
    for shell in ["sh", "dash", "bash", "zsh", "fish"] {
        let script = format!("{}\ncat \"$SSL_CERT_FILE\"", printed.join("\n"));
        let mut command = Command::new(shell);
        command.args(["-c", &script]).env("HOME", all.path());
        let Ok(output) = command.output() else {
            skip_without(shell);
            continue;
        };
        let ran = RunResult::of(output);
        assert!(ran.stdout.starts_with("-----BEGIN CERTIFICATE-----"), "{shell}: {ran:?} {printed:?}");
    }
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

#[test]
fn run_14_address_in_use_has_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["emulate", "serve"] {
        let mut run = emulate(folder.path());
        // The helper begins with `emulate`.
        let mut other = symbolon();
        let run = if command == "emulate" { &mut run } else { other.arg(command) };
        let ran = RunResult::of(run.args(["--listen", &address, "--output", "json"]).output().unwrap());
        let error = ran.error();
        assert_eq!((ran.code, &error["code"]), (1, &"local_error".into()));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&address) && message.contains("port 0"), "{message}");
        assert!(ran.stderr.contains("help: symbolon explain local_error"), "{}", ran.stderr);
    }
}
