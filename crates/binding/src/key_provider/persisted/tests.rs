use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_test_logs::CapturedLogs;
use symbolon_types::{Env, SignatureScheme, SigningKey, Strength};

use super::*;

/// Each kind of key with its file.
fn kinds(folder: &Path) -> [(PersistedKeys, PathBuf); 2] {
    [
        (PersistedKeys::rsa_2048(folder), folder.join("rsa-2048.pkcs8")),
        (PersistedKeys::p256(folder), folder.join("p-256.pkcs8")),
    ]
}

async fn public(keys: &PersistedKeys) -> Vec<u8> {
    keys.key().await.unwrap().public_key().to_vec()
}

#[tokio::test]
async fn key_is_created_once() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    for (keys, file) in kinds(&folder) {
        let key = keys.key().await.unwrap();
        assert_eq!(key.strength(), Strength::Software);
        assert_eq!(public(&keys).await, key.public_key().to_vec());
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
}

#[tokio::test]
async fn openssl_reads_the_key_file() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    for (keys, file) in kinds(&folder) {
        let key = keys.key().await.unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-inform", "DER", "-check", "-pubout", "-outform", "DER", "-in"]).arg(file);
        let Ok(output) = openssl.output() else {
            println!("skipped: there is no openssl on this machine");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // After the line "Key is valid".
        assert!(output.stdout.ends_with(key.public_key()));
    }
}

#[tokio::test]
async fn unusable_file_is_replaced() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("empty", |file| fs::write(file, b"").unwrap()),
        ("cut off", |file| fs::write(file, &fs::read(file).unwrap()[..100]).unwrap()),
        ("longer", |file| fs::write(file, [fs::read(file).unwrap(), vec![0]].concat()).unwrap()),
        ("another kind of key", |file| {
            let other = if file.ends_with("p-256.pkcs8") { "rsa-2048.pkcs8" } else { "p-256.pkcs8" };
            fs::copy(file.with_file_name(other), file).unwrap();
        }),
        ("a symbolic link", |file| {
            fs::rename(file, file.with_file_name("elsewhere")).unwrap();
            symlink(file.with_file_name("elsewhere"), file).unwrap();
        }),
        ("open to others", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap()),
        ("a folder", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("store");
        for (keys, _) in kinds(&folder) {
            public(&keys).await;
        }
        for (keys, file) in kinds(&folder) {
            let before = public(&keys).await;
            damage(&file);
            let replaced = public(&keys).await;
            assert_ne!(replaced, before, "{name}");
            assert_eq!(public(&keys).await, replaced, "{name}");
            let aside = format!("{}.set-aside", file.display());
            assert!(fs::symlink_metadata(aside).is_ok(), "{name}");
            // Otherwise the next algorithm would copy a damaged file.
            fs::remove_file(&file).unwrap();
            public(&keys).await;
        }
    }
}

#[tokio::test]
async fn unstorable_key_is_kept_in_memory() {
    let logs = CapturedLogs::begin();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    PrivateDir::open(&folder).unwrap();
    for (keys, file) in kinds(&folder) {
        // Folders at the path of the temporary file, and where it would be set aside.
        let obstacle = PathBuf::from(format!("{}.new", file.display()));
        fs::create_dir(&obstacle).unwrap();
        for number in 1..=9 {
            let number = if number == 1 { String::new() } else { format!("-{number}") };
            fs::create_dir_all(format!("{}.set-aside{number}/content", obstacle.display())).unwrap();
        }
        let key = public(&keys).await;
        assert_eq!(public(&keys.clone()).await, key);
        assert!(!file.exists());
        let key = keys.key().await.unwrap();
        let signed = key.sign(key.schemes()[0], b"input");
        assert!(signed.is_ok());
        // As soon as there is room, it is stored.
        fs::remove_dir(&obstacle).unwrap();
        for keys in [keys.clone(), PersistedKeys::new(keys.algorithm, folder.clone())] {
            assert_eq!(public(&keys).await, key.public_key().to_vec());
        }
        assert!(file.exists());
    }
    assert!(logs.text().contains("could not store a key"));
}

#[test]
fn set_aside_is_logged() {
    let parent = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open(parent.path().join("store")).unwrap();
    let lock = dir.try_lock(LOCK).unwrap().unwrap();
    dir.replace("p-256.pkcs8", b"no key", &lock).unwrap();
    let logs = CapturedLogs::begin();
    find_or_create(&dir, SoftwareAlgorithm::P256, &UnwrittenKey::default(), &lock).unwrap();
    let text = logs.text();
    assert!(text.contains("WARN") && text.contains("set aside") && text.contains("p-256.pkcs8"), "{text}");
    assert!(text.contains("is damaged or has another algorithm"), "{text}");
}

#[test]
fn changed_byte_yields_no_other_key() {
    for algorithm in [SoftwareAlgorithm::P256, SoftwareAlgorithm::Rsa2048] {
        let (key, pkcs8) = algorithm.generate().unwrap();
        // Checking an RSA key is slow.
        let step = if matches!(algorithm, SoftwareAlgorithm::P256) { 1 } else { 13 };
        for at in (0..pkcs8.len()).step_by(step) {
            let mut damaged = pkcs8.to_vec();
            damaged[at] ^= 1;
            if let Some(read) = algorithm.read(&damaged) {
                assert_eq!(read.public_key(), key.public_key(), "{algorithm:?} at {at}");
            }
        }
    }
}

#[tokio::test]
async fn unusable_folder_is_named_in_the_error() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("a-file");
    fs::write(&file, b"").unwrap();
    for (keys, _) in kinds(&file) {
        let error = keys.key().await.unwrap_err();
        assert_eq!(error.code(), "store_unusable");
        assert!(error.to_string().contains("a-file"), "{error}");
    }
}

/// Variable with the folder, for the child process.
const STARTER: &str = "SYMBOLON_TEST_STARTER";

/// Child process: gets both keys when it receives a byte, and prints their public keys.
#[test]
#[ignore = "child process of the test below"]
fn starter() {
    let folder = PathBuf::from(Env::process().var(STARTER).unwrap());
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (keys, _) in kinds(&folder) {
        let key = runtime.block_on(keys.key()).unwrap();
        let scheme = key.schemes()[0];
        assert!(matches!(scheme, SignatureScheme::RsaPssSha256 | SignatureScheme::EcdsaP256Sha256));
        key.sign(scheme, b"a message").unwrap();
        let hex: String = key.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
        println!("KEY {hex}");
    }
}

#[test]
fn concurrent_processes_share_one_key() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    let mut starters: Vec<_> = (0..20)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "--nocapture", "key_provider::persisted::tests::starter"])
                .env(STARTER, &folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for starter in &mut starters {
        starter.stdin.take().unwrap().write_all(b"!").unwrap();
    }
    let mut keys: Vec<Vec<String>> = starters
        .into_iter()
        .map(|starter| {
            let output = starter.wait_with_output().unwrap();
            assert!(output.status.success());
            let stdout = String::from_utf8(output.stdout).unwrap();
            stdout.lines().filter_map(|line| Some(line.split_once("KEY ")?.1.to_owned())).collect()
        })
        .collect();
    assert_eq!((keys.len(), keys[0].len()), (20, 2));
    keys.dedup();
    assert_eq!(keys.len(), 1, "each created its own");
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}
