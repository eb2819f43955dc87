use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn content_and_mode_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    assert!(publish_file(&path, b"one", 0o600).unwrap());
    assert!(!publish_file(&path, b"one", 0o600).unwrap());
    fs::hard_link(&path, folder.path().join("old")).unwrap();
    for (content, mode_bits) in [("two", 0o600), ("two", 0o640), ("two and more", 0o640), ("t", 0o640)] {
        assert!(publish_file(&path, content.as_bytes(), mode_bits).unwrap(), "{content} {mode_bits:o}");
        assert!(!publish_file(&path, content.as_bytes(), mode_bits).unwrap(), "{content} {mode_bits:o}");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), (content, mode_bits));
    }
    assert_eq!(fs::read_to_string(folder.path().join("old")).unwrap(), "one", "it was written in place");
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn leftover_of_a_killed_process_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let leftover = folder.path().join(".key.pem.symbolon-new");
    fs::write(&leftover, "half of a k").unwrap();
    chmod(&leftover, 0o644);
    assert!(publish_file(&folder.path().join("key.pem"), b"key", 0o600).unwrap());
    assert_eq!((names(folder.path()).len(), mode(&folder.path().join("key.pem"))), (1, 0o600));
    // Where the attempt fails, no copy of the content stays.
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    assert!(publish_file(&path, b"key", 0o600).is_err());
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn owner_and_group_stay() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    fs::write(&path, "old").unwrap();
    chown(&path, Some(65_534), Some(65_533)).unwrap();
    assert!(publish_file(&path, b"new", 0o640).unwrap());
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), mode(&path)), (65_534, 65_533, 0o640));
    // Another user may have put the file there.
    for (folder_mode, owner, accepted) in
        [(0o775, 65_534, false), (0o775, 0, true), (0o1777, 65_534, false), (0o1777, 0, true)]
    {
        chmod(folder.path(), folder_mode);
        chown(&path, Some(owner), None).unwrap();
        let result = publish_file(&path, format!("{folder_mode} {owner}").as_bytes(), 0o600);
        assert_eq!(result.is_ok(), accepted, "{folder_mode:o} {owner}");
    }
}

#[test]
fn unusable_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let within = |name: &str| folder.path().join(name);
    fs::write(within("elsewhere"), "private").unwrap();
    symlink(within("elsewhere"), within("link")).unwrap();
    symlink(within("nowhere"), within("dangling")).unwrap();
    fs::create_dir(within("folder")).unwrap();
    for (path, told) in [
        (within("link"), "not a regular file"),
        (within("dangling"), "not a regular file"),
        (within("folder"), "not a regular file"),
        (Path::new("/dev/null").to_owned(), "not a regular file"),
        (within("missing/key.pem"), "check the folder"),
        (within("elsewhere/key.pem"), "check the folder"),
        (Path::new("/").to_owned(), "name a file"),
    ] {
        let error = publish_file(&path, b"key", 0o600).unwrap_err();
        assert_eq!(error.code(), "output_file_unusable");
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
    assert_eq!(fs::read_to_string(within("elsewhere")).unwrap(), "private");
    assert!(!within("nowhere").exists());
    chmod(folder.path(), 0o777);
    let error = publish_file(&within("key.pem"), b"key", 0o600).unwrap_err();
    assert!(error.to_string().contains("chmod o-w") && !within("key.pem").exists(), "{error}");
}

#[test]
fn concurrent_writers_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let holder = File::open(folder.path()).unwrap();
    rustix::fs::flock(&holder, FlockOperation::LockExclusive).unwrap();
    let error = publish_file(&path, b"key", 0o600).unwrap_err();
    assert!(error.is_transient() && !path.exists(), "{error}");
    drop(holder);
    assert!(publish_file(&path, b"key", 0o600).unwrap());
}

#[test]
fn reader_finds_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("combined.pem");
    let contents = [vec![b'a'; 100_000], vec![b'b'; 70_000]];
    publish_file(&path, &contents[0], 0o600).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut seen = 0;
            while !is_done.load(Ordering::Relaxed) || seen == 0 {
                let found = fs::read(&path).unwrap();
                assert!(contents.contains(&found), "{} bytes", found.len());
                seen += 1;
            }
        });
        for content in contents.iter().cycle().skip(1).take(40) {
            assert!(publish_file(&path, content, 0o600).unwrap());
        }
        is_done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}
