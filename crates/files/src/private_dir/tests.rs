use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use futures_util::FutureExt;
use symbolon_types::{Env, ManualClock};

use super::*;

fn parent() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn store(parent: &tempfile::TempDir) -> (PathBuf, PrivateDir, FileLock) {
    let path = parent.path().join("above/store");
    let dir = PrivateDir::open(&path).unwrap();
    let lock = dir.try_lock("lock").unwrap().unwrap();
    (path, dir, lock)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn content(dir: &PrivateDir, name: &str) -> Vec<u8> {
    match dir.read(name).unwrap() {
        StoredFile::Content(content) => content.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn permissions_are_for_the_owner_only() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    dir.replace("note", b"one", &lock).unwrap();
    dir.replace("note", b"two", &lock).unwrap();
    assert_eq!(content(&dir, "note"), b"two");
    for (path, expected) in [
        (path.parent().unwrap(), 0o700),
        (&*path, 0o700),
        (&*path.join("note"), 0o600),
        (&*path.join("lock"), 0o600),
    ] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
}

#[test]
fn shared_folder_is_refused() {
    let parent = parent();
    let path = |name: &str| parent.path().join(name);
    for (name, mode) in [("readable", 0o750), ("open", 0o707)] {
        fs::create_dir(path(name)).unwrap();
        chmod(&path(name), mode);
    }
    PrivateDir::open(path("real")).unwrap();
    symlink(path("real"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    fs::write(path("file"), b"").unwrap();
    for name in ["readable", "open", "link", "dangling", "file"] {
        let error = PrivateDir::open(path(name)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "store_unusable"), "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!((mode(&path("readable")), mode(&path("open"))), (0o750, 0o707));
    assert!(!path("nowhere").exists());
}

#[test]
fn untrusted_files_are_not_read() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    let is_root = rustix::process::geteuid().is_root();
    let at = |name: &str| path.join(name);
    for (name, mode) in [("group", 0o640), ("world", 0o602), ("nobody", 0o000)] {
        dir.replace(name, b"x", &lock).unwrap();
        chmod(&at(name), mode);
    }
    symlink(at("group"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    assert!(Command::new("mkfifo").arg("-m600").arg(at("pipe")).status().unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    dir.replace("long", &vec![b'x'; MAX_FILE_SIZE as usize + 1], &lock).unwrap();
    let mut cases = vec![
        ("group", FileProblem::OpenToOthers),
        ("world", FileProblem::OpenToOthers),
        ("link", FileProblem::NotAFile),
        ("dangling", FileProblem::NotAFile),
        ("folder", FileProblem::NotAFile),
        ("pipe", FileProblem::NotAFile),
        ("socket", FileProblem::NotAFile),
        ("long", FileProblem::TooLong),
    ];
    if is_root {
        // Root may read everything, and only root can give a file away.
        dir.replace("foreign", b"x", &lock).unwrap();
        std::os::unix::fs::chown(at("foreign"), Some(1), None).unwrap();
        cases.push(("foreign", FileProblem::ForeignOwner));
    } else {
        cases.push(("nobody", FileProblem::Unreadable));
    }
    for (name, problem) in cases {
        match dir.read(name).unwrap() {
            StoredFile::Unusable(found) => assert_eq!(found, problem, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    drop(socket);
    dir.replace("longest", &vec![b'x'; MAX_FILE_SIZE as usize], &lock).unwrap();
    assert_eq!(content(&dir, "longest").len() as u64, MAX_FILE_SIZE);
    assert!(matches!(dir.read("missing").unwrap(), StoredFile::Absent));
}

#[test]
fn symbolic_links_are_not_followed() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    let target = parent.path().join("target");
    fs::write(&target, b"of somebody else").unwrap();
    for name in ["note", "note.new", "note.set-aside"] {
        symlink(&target, path.join(name)).unwrap();
    }
    dir.replace("note", b"ours", &lock).unwrap();
    assert_eq!(content(&dir, "note"), b"ours");
    dir.set_aside("note", &lock).unwrap();
    dir.set_aside("note", &lock).unwrap();
    assert_eq!(content(&dir, "note.set-aside"), b"ours");
    assert!(matches!(dir.read("note").unwrap(), StoredFile::Absent));
    assert_eq!(fs::read(&target).unwrap(), b"of somebody else");
}

#[test]
fn broken_lock_file_is_repaired() {
    type Breakage = fn(&Path);
    let breakages: [(&str, Breakage); 7] = [
        ("a link", |path| symlink("elsewhere", path).unwrap()),
        ("a link to a file", |path| {
            fs::write(path.with_file_name("file"), b"kept").unwrap();
            symlink("file", path).unwrap();
        }),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a folder with content", |path| fs::create_dir_all(path.join("content")).unwrap()),
        ("a pipe", |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("without permissions", |path| {
            fs::write(path, b"").unwrap();
            chmod(path, 0o000);
        }),
    ];
    for (name, breakage) in breakages {
        let parent = parent();
        let (path, dir, _lock) = store(&parent);
        breakage(&path.join("other"));
        let locks: Vec<_> = std::thread::scope(|scope| {
            let attempts: Vec<_> = (0..8).map(|_| scope.spawn(|| dir.try_lock("other").unwrap())).collect();
            attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
        });
        assert_eq!(locks.iter().flatten().count(), 1, "{name}: one of all holds the lock");
        assert!(fs::symlink_metadata(path.join("other")).unwrap().is_file(), "{name}");
        // Root may open every file.
        let is_kept = name == "without permissions" && rustix::process::geteuid().is_root();
        assert!(is_kept || fs::symlink_metadata(path.join("other.set-aside")).is_ok(), "{name}");
        assert!(!path.join("elsewhere").exists(), "{name}");
        if let Ok(content) = fs::read(path.join("file")) {
            assert_eq!(content, b"kept");
        }
    }
}

#[test]
fn folder_as_temporary_file_is_set_aside() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    fs::create_dir_all(path.join("note.new/content")).unwrap();
    dir.replace("note", b"x", &lock).unwrap();
    assert_eq!(content(&dir, "note"), b"x");
    assert!(path.join("note.new.set-aside/content").is_dir() && !path.join("note.new").exists());
}

#[test]
fn occupied_name_aside_is_passed_over() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    fs::create_dir_all(path.join("note.set-aside/content")).unwrap();
    for content in [b"one", b"two"] {
        dir.replace("note", content, &lock).unwrap();
        dir.set_aside("note", &lock).unwrap();
        assert_eq!(fs::read(path.join("note.set-aside-2")).unwrap(), content);
    }
    // A folder does not replace a file.
    fs::create_dir(path.join("note")).unwrap();
    dir.set_aside("note", &lock).unwrap();
    assert!(path.join("note.set-aside-3").is_dir() && path.join("note.set-aside/content").is_dir());
    assert!(matches!(dir.read("note").unwrap(), StoredFile::Absent));
}

#[test]
fn renaming_an_open_folder_has_no_effect() {
    let parent = parent();
    let (path, dir, lock) = store(&parent);
    let elsewhere = parent.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    fs::create_dir(&path).unwrap();
    dir.replace("note", b"x", &lock).unwrap();
    assert!(elsewhere.join("note").exists() && !path.join("note").exists());
}

/// Variable with the step and the folder, for the child process.
const VICTIM: &str = "SYMBOLON_TEST_VICTIM";
const STEPS: [ReplaceStep; 5] = [
    ReplaceStep::Begun,
    ReplaceStep::Created,
    ReplaceStep::Written,
    ReplaceStep::Synced,
    ReplaceStep::Renamed,
];

/// Child process that kills itself during a replacement.
#[test]
#[ignore = "child process of the test below"]
fn victim() {
    let arguments = Env::process().var(VICTIM).unwrap();
    let (step, path) = arguments.split_once(' ').unwrap();
    let dir = PrivateDir::open(path).unwrap();
    let lock = dir.try_lock("lock").unwrap().unwrap();
    let killed = dir.replace_in_steps("note", b"new", &lock, |passed| {
        if format!("{passed:?}") == step {
            let us = rustix::process::getpid();
            rustix::process::kill_process(us, rustix::process::Signal::KILL).unwrap();
        }
    });
    panic!("not killed at {step}: {killed:?}");
}

#[test]
fn killed_writer_leaves_a_complete_file() {
    for step in STEPS {
        let parent = parent();
        let (path, dir, lock) = store(&parent);
        dir.replace("note", b"old", &lock).unwrap();
        drop(lock);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "private_dir::tests::victim"])
            .env(VICTIM, format!("{step:?} {}", path.display()))
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(9), "{step:?}");
        let expected: &[u8] = if step == ReplaceStep::Renamed { b"new" } else { b"old" };
        assert_eq!(content(&dir, "note"), expected, "{step:?}");
        // The kernel released the lock of the killed process.
        let lock = dir.try_lock("lock").unwrap().unwrap();
        dir.replace("note", b"newer", &lock).unwrap();
        assert_eq!(content(&dir, "note"), b"newer");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "{step:?} left something");
    }
}

const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn lock_is_exclusive() {
    let parent = parent();
    let dir = PrivateDir::open(parent.path().join("store")).unwrap();
    let first = dir.try_lock("lock").unwrap();
    assert!(first.is_some() && dir.try_lock("lock").unwrap().is_none());
    assert!(dir.try_lock("another").unwrap().is_some());
    drop(first);
    assert!(dir.try_lock("lock").unwrap().is_some());
}

#[tokio::test]
async fn waiting_for_a_lock_does_not_block() {
    let parent = parent();
    let (_, dir, held) = store(&parent);
    let clock = ManualClock::new();
    let shared = SharedClock::from(&clock);
    let mut waiting = Box::pin(dir.lock("lock", &shared, LOCK_TIMEOUT));
    // This runtime has one thread: if waiting blocked it, the test would hang.
    for _ in 0..3 {
        while clock.sleepers() == 0 {
            assert!((&mut waiting).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        clock.advance(LOCK_PAUSES.1);
    }
    drop(held);
    while clock.advance_to_next().is_some() {}
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn waiting_for_a_lock_times_out() {
    let parent = parent();
    let (_, dir, _held) = store(&parent);
    let clock = ManualClock::new();
    let shared = SharedClock::from(&clock);
    let start = shared.now();
    let mut waiting = Box::pin(dir.lock("lock", &shared, LOCK_TIMEOUT));
    let error = loop {
        match (&mut waiting).now_or_never() {
            Some(result) => break result.unwrap_err(),
            None => {
                clock.advance_to_next();
                tokio::task::yield_now().await;
            }
        }
    };
    assert_eq!((error.code(), error.is_transient()), ("store_locked", true));
    let waited = shared.now().duration_since(start).unwrap();
    assert!(waited >= LOCK_TIMEOUT && waited < LOCK_TIMEOUT + 2 * LOCK_PAUSES.1, "{waited:?}");
}
