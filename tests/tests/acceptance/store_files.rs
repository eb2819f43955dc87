//! STORE: processes of one machine that share tokens through a folder.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Context, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;
use symbolon_token::{
    CacheStore as _, ClientCertificate, FileStore, Precondition, PutOutcome, TokenCache, TokenClient,
    conformance,
};

use crate::test_env::TestEnv;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("token-")).collect()
}

#[tokio::test]
async fn file_store_conforms() {
    let parent = tempfile::tempdir().unwrap();
    let store = FileStore::new(parent.path().join("tokens"), &Context::default());
    let report = conformance::check_store(store).await;
    assert!(report.holds(), "{report}");
}

/// Of two processes that have read the same entry, the second to write has a conflict.
#[tokio::test]
async fn file_store_compares_versions() {
    let parent = tempfile::tempdir().unwrap();
    let store = || FileStore::new(parent.path().join("tokens"), &Context::default());
    let minute = Duration::from_secs(60);
    store().put("k", b"first", minute, Precondition::Absent).await.unwrap();
    let read = store().get("k").await.unwrap().unwrap();
    let write = async || {
        let precondition = Precondition::Unchanged(read.version().unwrap());
        store().put("k", b"second", minute, precondition).await.unwrap()
    };
    assert_eq!((write().await, write().await), (PutOutcome::Done, PutOutcome::Conflict));
}

#[tokio::test]
async fn store_12_folder_is_shared_and_private() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(100)).always());
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tokens");
    let certificate = test_env.certificate();
    let process = || {
        let cache = TokenCache::new(100, &test_env.context())
            .with_store(FileStore::new(&folder, &test_env.context()));
        let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
        test_env.client_builder(credential).cache(cache).build()
    };
    let cold: Vec<_> = (0..20).map(|_| process()).collect();
    let requests = cold.iter().map(|process| process.token_for_resource(RESOURCE).into_future());
    let tokens: Vec<_> =
        join_all(requests).await.into_iter().map(|token| test_env.keep(token.unwrap())).collect();
    assert_eq!(test_env.counts().tokens, 1);
    assert!(tokens.iter().all(|token| token.secret().expose() == tokens[0].secret().expose()));
    let [file] = &entries(&folder)[..] else { panic!("one token is stored") };
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    let content = fs::read(file).unwrap();
    let secret = tokens[0].secret().expose().as_bytes();
    assert!(!content.windows(20).any(|window| window == &secret[..20]));

    let origin = async || test_env.keep(process().token_for_resource(RESOURCE).await.unwrap()).origin();
    assert_eq!(origin().await, TokenOrigin::Cache);
    // A file of another token, and a damaged one, are not used.
    let other = "https://other.example";
    test_env.keep(process().token_for_resource(other).await.unwrap());
    for copied in entries(&folder).iter().filter(|entry| *entry != file) {
        fs::copy(copied, file).unwrap();
    }
    assert_eq!(origin().await, TokenOrigin::Network);
    assert_eq!(origin().await, TokenOrigin::Cache);
    let mut damaged = fs::read(file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(file, damaged).unwrap();
    assert_eq!(origin().await, TokenOrigin::Network);

    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let exchanges = test_env.counts().tokens;
    assert_eq!((origin().await, origin().await), (TokenOrigin::Network, TokenOrigin::Network));
    assert_eq!(test_env.counts().tokens, exchanges + 2);
}

/// A folder that is removed is made again; a key that is replaced is read again.
#[tokio::test]
async fn store_20_folder_is_opened_again() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tokens");
    let certificate = test_env.certificate();
    let start = || {
        let store = FileStore::new(&folder, &test_env.context());
        let cache = TokenCache::without_memory(&test_env.context()).with_store(store);
        let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
        test_env.client_builder(credential).cache(cache).build()
    };
    let (one, two) = (start(), start());
    let origin = async |process: &TokenClient| {
        test_env.keep(process.token_for_resource(RESOURCE).await.unwrap()).origin()
    };
    let warnings = || test_env.logs().matches("the folder of tokens cannot be used").count();
    // Shared after one request of each process at most.
    let assert_shared = async |case: &str| {
        for process in [&one, &two] {
            origin(process).await;
        }
        assert_eq!(
            (origin(&one).await, origin(&two).await),
            (TokenOrigin::Cache, TokenOrigin::Cache),
            "{case}"
        );
    };
    assert_shared("at first").await;
    fs::remove_dir_all(&folder).unwrap();
    assert_shared("removed").await;
    fs::write(folder.join("tokens.key"), "cut off").unwrap();
    // A new process makes another key.
    origin(&start()).await;
    assert_shared("another key").await;
    assert_eq!(warnings(), 2, "one of each process: {}", test_env.logs());
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    let before = warnings();
    for _ in 0..3 {
        assert_eq!(origin(&one).await, TokenOrigin::Network);
    }
    assert_eq!(warnings(), before + 1, "{}", test_env.logs());
    fs::remove_file(&folder).unwrap();
    assert_shared("a file instead").await;
}

/// A full file system: tokens are requested, and no part of a file is left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn store_20_full_file_system() {
    let parent = tempfile::tempdir().unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
    };
    let path = parent.path().to_str().unwrap().to_owned();
    if !mount("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &path]) {
        return;
    }
    let folder = parent.path().join("tokens");
    let store = FileStore::new(&folder, &Context::default());
    let minute = Duration::from_secs(60);
    store.put("small", b"entry", minute, Precondition::None).await.unwrap();
    let error = store.put("large", &[1; 100 * 1024], minute, Precondition::None).await.unwrap_err();
    assert_eq!(error.code(), "store_unusable", "{error}");
    let left = entries(&folder);
    // What fits is stored still.
    let put = store.put("small", b"other", minute, Precondition::None).await;
    let read = store.get("small").await;
    assert!(mount("umount", &["-l", &path]));
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(put.unwrap(), PutOutcome::Done);
    assert_eq!(read.unwrap().unwrap().bytes(), b"other");
}

/// A process that is stopped while it changes the folder: the others still read.
#[tokio::test]
async fn store_20_stopped_process_has_the_lock() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tokens");
    let store = || FileStore::new(&folder, &Context::default());
    let (one, minute) = (store(), Duration::from_secs(60));
    one.put("k", b"entry", minute, Precondition::None).await.unwrap();
    // Another process has the lock until its standard input ends.
    let mut holder = Command::new("flock")
        .arg(folder.join("tokens.lock"))
        .args(["sh", "-c", "echo held; read -r _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    let error = one.put("k", b"other", minute, Precondition::None).await.unwrap_err();
    assert_eq!(error.code(), "store_locked");
    for store in [one, store()] {
        assert_eq!(store.get("k").await.unwrap().unwrap().bytes(), b"entry");
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
