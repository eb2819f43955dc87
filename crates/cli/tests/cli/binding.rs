//! `symbolon binding`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use symbolon_emulator::EmulatorBuilder;
use symbolon_test_programs::Folder;

use crate::run::{RunResult, TestEnv, skip_without};
use crate::running::RESOURCE;

/// An emulator, a state folder, and a folder for files of another program.
pub(crate) struct HandoverEnv {
    pub(crate) env: TestEnv,
    pub(crate) folder: Folder,
}

impl HandoverEnv {
    pub(crate) fn new() -> Self {
        Self::with(|emulator| emulator)
    }

    pub(crate) fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let (env, folder) = (TestEnv::with(setup), Folder::new());
        fs::create_dir(folder.path().join("tls")).unwrap();
        Self { env, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn symbolon(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.symbolon();
        command.env("SYMBOLON_STATE_DIR", self.path("state")).env("PATH", "/usr/sbin:/usr/bin:/bin");
        // The paths of options are relative to this folder.
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> RunResult {
        RunResult::of(self.symbolon(arguments).args(["--output", "json"]).output().unwrap())
    }

    /// Runs `binding` with P-256 keys, which take less time.
    pub(crate) fn binding(&self, arguments: &[&str]) -> RunResult {
        self.run(&[&["binding"], arguments, &["--key-type", "p-256"]].concat())
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        self.path(name).symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    pub(crate) fn issued(&self) -> usize {
        self.env.emulator.issued().len()
    }

    pub(crate) fn last_thumbprint(&self) -> Value {
        self.env.emulator.issued().last().unwrap().thumbprint.to_string().into()
    }
}

/// Runs OpenSSL on a file and returns its output.
pub(crate) fn openssl(arguments: &[&str], file: &Path) -> Option<String> {
    let Ok(output) = Command::new("openssl").args(arguments).arg("-in").arg(file).output() else {
        skip_without("openssl");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Asserts that OpenSSL reads a certificate and the key of it.
pub(crate) fn assert_pair(certificate: &Path, key: &Path) {
    let of_certificate = openssl(&["x509", "-noout", "-pubkey"], certificate);
    assert_eq!(of_certificate, openssl(&["pkey", "-pubout"], key));
}

#[test]
fn bnd_01_to_03_show() {
    let env = HandoverEnv::new();
    let nothing = env.run(&["binding", "show"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""));
    assert!(nothing.stderr.starts_with("note: no binding is stored in "), "{}", nothing.stderr);
    assert!(!env.path("state").exists());
    for key in ["rsa-2048", "p-256"] {
        let token = ["token", "--resource", RESOURCE, "--pop", "--persist-binding", "--key", key];
        assert_eq!(env.run(&token).code, 0);
    }
    let (journal, key_file) = (env.env.emulator.journal(), env.path("state/p-256.pkcs8"));
    let shown = env.run(&["binding", "show"]);
    let records = shown.json();
    assert_eq!(records.len(), 2, "{}", shown.stdout);
    let record = records.iter().find(|record| record["x5t#S256"] == env.last_thumbprint()).unwrap();
    let members: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "certificate",
            "client_id",
            "key",
            "not_after",
            "not_before",
            "subject",
            "tenant_id",
            "usable_until",
            "x5t#S256"
        ]
    );
    let issued = env.env.emulator.issued();
    let client_id = env.env.emulator.client_id();
    assert_eq!(record["subject"], format!("CN={client_id},DC={}", env.env.emulator.tenant_id()));
    assert_eq!(
        (&record["client_id"], &record["tenant_id"]),
        (&client_id.into(), &env.env.emulator.tenant_id().into())
    );
    let location = key_file.canonicalize().unwrap();
    assert_eq!(record["key"], serde_json::json!({"type": "p-256", "location": location}));
    assert!(record["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let lifetime = record["not_after"].as_u64().unwrap() - record["not_before"].as_u64().unwrap();
    assert!(lifetime >= 14 * 24 * 3600 && record["usable_until"].as_u64() < record["not_after"].as_u64());
    let text = RunResult::of(env.symbolon(&["binding", "show"]).output().unwrap());
    assert_eq!((text.code, text.stderr.as_str()), (0, ""));
    for told in
        [&*issued[1].thumbprint.to_string(), client_id, "rsa-2048", "p-256", &location.to_string_lossy()]
    {
        assert!(text.stdout.contains(told), "{told}: {}", text.stdout);
    }
    let secret = String::from_utf8_lossy(&fs::read(&key_file).unwrap()).into_owned();
    for output in [&shown.stdout, &text.stdout] {
        assert!(!output.contains("PRIVATE") && !output.contains(&secret), "{output}");
    }
    // A damaged file is named, and the other certificate shown.
    let stored = fs::read_dir(env.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let stored = stored.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    fs::write(&stored, "{}").unwrap();
    let damaged = env.run(&["binding", "show"]);
    assert_eq!(damaged.json().len(), 1);
    assert!(damaged.stderr.contains(&*stored.file_name().unwrap().to_string_lossy()), "{}", damaged.stderr);
    assert_eq!(env.env.emulator.journal().to_string(), journal.to_string(), "nothing was sent");
}

#[test]
fn bnd_04_to_06_export() {
    let env = HandoverEnv::new();
    for key_type in ["rsa-2048", "p-256"] {
        let files = ["--cert", "tls/cert.pem", "--key", "tls/key.pem", "--combined", "tls/both.pem"];
        let ran = env.run(&[&["binding", "export", "--key-type", key_type], &files[..]].concat());
        let record = &ran.json()[0];
        assert_eq!((&record["changed"], &record["x5t#S256"]), (&true.into(), &env.last_thumbprint()));
        assert_eq!((record["key"]["type"].as_str(), ran.stderr.as_str()), (Some(key_type), ""));
        for (name, mode) in [("tls/cert.pem", 0o644), ("tls/key.pem", 0o600), ("tls/both.pem", 0o600)] {
            assert_eq!(env.mode(name), mode, "{name}");
        }
        assert_eq!(record["certificate"], env.read("tls/cert.pem"));
        assert_eq!(env.read("tls/both.pem"), env.read("tls/cert.pem") + &env.read("tls/key.pem"));
        assert!(env.read("tls/key.pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(!ran.stdout.contains(env.read("tls/key.pem").lines().nth(1).unwrap()));
        assert_pair(&env.path("tls/cert.pem"), &env.path("tls/key.pem"));
        assert_pair(&env.path("tls/both.pem"), &env.path("tls/both.pem"));
    }
    let modes = ["--cert-mode", "0600", "--key-mode", "640"];
    let ran =
        env.binding(&[&["export", "--cert", "tls/cert.pem", "--key", "tls/key.pem"], &modes[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!((env.mode("tls/cert.pem"), env.mode("tls/key.pem")), (0o600, 0o640));
    for (option, mode) in [
        ("--key-mode", "0644"),
        ("--key-mode", "0602"),
        ("--key-mode", "0200"),
        ("--key-mode", "0700"),
        ("--cert-mode", "1644"),
        ("--cert-mode", "+644"),
        ("--cert-mode", "rw-r--r--"),
    ] {
        let ran = env.binding(&["export", "--cert", "tls/new.pem", option, mode]);
        assert_eq!((ran.code, env.path("tls/new.pem").exists()), (2, false), "{option} {mode}");
    }
}

#[test]
fn bnd_07_existing_files() {
    let env = HandoverEnv::new();
    let is_root = rustix::process::geteuid().is_root();
    for name in ["tls/cert.pem", "tls/key.pem"] {
        fs::write(env.path(name), "of another time").unwrap();
        if is_root {
            chown(env.path(name), Some(65_534), Some(65_534)).unwrap();
        }
    }
    assert_eq!(env.binding(&["export", "--cert", "tls/cert.pem", "--key", "tls/key.pem"]).code, 0);
    assert_pair(&env.path("tls/cert.pem"), &env.path("tls/key.pem"));
    let owner =
        |name: &str| (env.path(name).metadata().unwrap().uid(), env.path(name).metadata().unwrap().gid());
    if is_root {
        assert_eq!((owner("tls/cert.pem"), owner("tls/key.pem")), ((65_534, 65_534), (65_534, 65_534)));
    }
    symlink(env.path("tls/cert.pem"), env.path("tls/link.pem")).unwrap();
    fs::create_dir(env.path("shared")).unwrap();
    fs::set_permissions(env.path("shared"), PermissionsExt::from_mode(0o777)).unwrap();
    let before = env.read("tls/cert.pem");
    for path in ["tls/link.pem", "tls", "missing/cert.pem", "shared/cert.pem"] {
        let ran = env.binding(&["export", "--cert", path]);
        assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("output_file_unusable")), "{path}");
        assert!(ran.stderr.contains(path), "{}", ran.stderr);
    }
    assert_eq!(env.read("tls/cert.pem"), before);
    assert_eq!(fs::read_dir(env.path("shared")).unwrap().count(), 0);
}

#[test]
fn bnd_08_same_certificate_until_it_is_due() {
    let env = HandoverEnv::new();
    let export = |more: &[&str]| {
        let files = ["--cert", "tls/cert.pem", "--key", "tls/key.pem"];
        env.binding(&[more, &files].concat()).json().swap_remove(0)
    };
    let first = export(&["export"]);
    let (again, renewed) = (export(&["export"]), export(&["renew"]));
    assert_eq!(env.issued(), 1);
    for same in [again, renewed] {
        assert_eq!((&same["x5t#S256"], &same["changed"]), (&first["x5t#S256"], &false.into()));
    }
    let key = env.read("tls/key.pem");
    let forced = export(&["renew", "--force"]);
    assert_eq!((&forced["x5t#S256"], &forced["changed"]), (&env.last_thumbprint(), &true.into()));
    assert_ne!(forced["x5t#S256"], first["x5t#S256"]);
    assert_eq!(env.read("tls/key.pem"), key, "the key stays");
    // A token of this machine uses the same certificate.
    let token = ["token", "--resource", RESOURCE, "--pop", "--persist-binding", "--key", "p-256"];
    assert_eq!(env.run(&token).json()[0]["binding"]["x5t#S256"], forced["x5t#S256"]);
    let text = RunResult::of(
        env.symbolon(&["binding", "export", "--cert", "tls/cert.pem", "--key-type", "p-256"])
            .output()
            .unwrap(),
    );
    assert!(text.stdout.contains("\nfiles         unchanged"), "{}", text.stdout);
}

// Each lost key leads to another one, so that certificate and key change together.
#[test]
fn bnd_10_reader_finds_pairs() {
    let env = HandoverEnv::new();
    let export = || {
        let files = ["--cert", "tls/cert.pem", "--key", "tls/key.pem", "--combined", "tls/both.pem"];
        env.binding(&[&["export"], &files[..]].concat()).json();
    };
    export();
    let mut seen: Vec<(String, String)> = vec![(env.read("tls/cert.pem"), env.read("tls/key.pem"))];
    let mut read = Vec::new();
    for _ in 0..4 {
        fs::remove_dir_all(env.path("state")).unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let mut found = Vec::new();
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    // As servers do: the certificate, then the key.
                    let pair = (env.read("tls/cert.pem"), env.read("tls/key.pem"));
                    found.push((pair, env.read("tls/both.pem")));
                    found.dedup();
                }
                found
            });
            export();
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            read.extend(reader.join().unwrap());
        });
        seen.push((env.read("tls/cert.pem"), env.read("tls/key.pem")));
    }
    let place = |certificate: &str| seen.iter().position(|(seen, _)| seen == certificate).unwrap();
    let place_of_key = |key: &str| seen.iter().position(|(_, seen)| seen == key).unwrap();
    for ((certificate, key), both) in read {
        assert!(place_of_key(&key) >= place(&certificate), "a new certificate with an old key");
        assert!(seen.iter().any(|(certificate, key)| *both == format!("{certificate}{key}")));
    }
}

/// Ends with the name of a signal when it arrives.
const CATCH_SIGNAL: &str = r#"
import os, signal, sys, time
number = signal.Signals["SIG" + sys.argv[1]]
signal.signal(number, lambda *_: os.write(1, sys.argv[1].encode()) and os._exit(0))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"#;

#[test]
fn bnd_13_signal_to_a_process() {
    let env = HandoverEnv::new();
    for (more, name) in [(&[][..], "HUP"), (&["--signal", "USR2"], "USR2")] {
        // A shell cannot catch SIGHUP where `nohup` has started the tests.
        let mut process =
            Command::new("python3").args(["-c", CATCH_SIGNAL, name]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        fs::write(env.path("pid"), format!("{}\n", process.id())).unwrap();
        let renew = ["renew", "--cert", "tls/cert.pem", "--force", "--pid-file", "pid"];
        let ran = env.binding(&[&renew[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(lines.next().unwrap().unwrap(), name);
        process.wait().unwrap();
    }
    for content in ["", "0", "1", "-1", "-17", "text", "999999999"] {
        fs::write(env.path("pid"), content).unwrap();
        let ran = env.binding(&["renew", "--cert", "tls/cert.pem", "--force", "--pid-file", "pid"]);
        assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("reload_failed")), "{content}");
    }
    fs::remove_file(env.path("pid")).unwrap();
    let ran = env.binding(&["renew", "--cert", "tls/cert.pem", "--force", "--pid-file", "pid"]);
    assert!(ran.error()["message"].as_str().unwrap().contains("--pid-file pid could not be read"));
}

#[test]
fn bnd_16_invalid_command_lines() {
    let env = HandoverEnv::new();
    for arguments in [
        &["binding"][..],
        &["binding", "export"],
        &["binding", "export", "--key", "tls/key.pem"],
        &["binding", "export", "--cert", "tls/a.pem", "--key", "tls/a.pem"],
        &["binding", "export", "--cert", "tls/a.pem", "--combined", "tls/../tls/a.pem"],
        &["binding", "export", "--cert", "tls/a.pem", "--exec", "true"],
        &["binding", "export", "--cert", "tls/a.pem", "--pin-env", "PIN"],
        &["binding", "export", "--cert", "tls/a.pem", "--hardware-token"],
        &["binding", "renew", "--cert", "tls/a.pem", "--shell"],
        &["binding", "renew", "--cert", "tls/a.pem", "--exec", "a | b"],
        &["binding", "renew", "--cert", "tls/a.pem", "--exec", ""],
        &["binding", "renew", "--cert", "tls/a.pem", "--signal", "HUP"],
        &["binding", "renew", "--cert", "tls/a.pem", "--pid-file", "pid", "--signal", "KILL"],
        &["binding", "show", "--output", "raw"],
    ] {
        let ran = RunResult::of(env.symbolon(arguments).output().unwrap());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
    }
    let ran = RunResult::of(env.symbolon(&["binding", "export"]).output().unwrap());
    assert!(ran.stderr.contains("--cert <FILE>|--combined <FILE>"), "{}", ran.stderr);
    assert!(!env.path("tls/a.pem").exists() && env.env.emulator.journal().entries().len() == 0);
}
