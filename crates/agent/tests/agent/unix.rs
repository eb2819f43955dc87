//! The agent behind a Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use symbolon::{Error, ManagedIdentityId};
use symbolon_agent::Agent;
use symbolon_emulator::Emulator;
use tokio::net::UnixStream;

use crate::client::{LogLines, VAULT, exchange, identity, secret, within};

async fn agent(emulator: &Emulator, path: &Path, log: &LogLines) -> Result<Agent, Error> {
    let log = log.clone();
    let agent = Agent::builder(identity(emulator, ManagedIdentityId::system_assigned()));
    agent.allow_all_resources().observer(move |record| log.add(record.to_string())).listen_unix(path).await
}

#[tokio::test(flavor = "current_thread")]
async fn socket_path_must_fit_into_an_address() {
    let emulator = Emulator::start().await.unwrap();
    let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
    // The address of a Unix socket has 108 bytes with its final zero byte on Linux.
    let path = |length: usize| folder.path().join("s".repeat(length - folder.path().as_os_str().len() - 1));
    let log = LogLines::default();
    for length in [108, 120, 200] {
        let error = agent(&emulator, &path(length), &log).await.err().unwrap();
        assert_eq!(error.code(), "invalid_configuration", "{length}");
        assert!(error.to_string().contains(&format!("{length} bytes")), "{error}");
        assert!(error.advice().contains("at most"), "{error}");
    }
    let agent = agent(&emulator, &path(100), &log).await.unwrap();
    UnixStream::connect(path(100)).await.unwrap();
    drop(agent);
}

#[tokio::test(flavor = "current_thread")]
async fn unix_socket_is_private_to_the_user() {
    let emulator = Emulator::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let log = LogLines::default();
    let agent = agent(&emulator, &path, &log).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    assert_eq!(agent.environment()[0].1, "http://localhost/msi/token");
    let request = format!(
        "GET /msi/token?api-version=2019-08-01&resource={VAULT} HTTP/1.1\r\nHost: localhost\r\n\
         X-IDENTITY-HEADER: {}\r\nConnection: close\r\n\r\n",
        secret(&agent)
    );
    let response = exchange(UnixStream::connect(&path).await.unwrap(), &request).await;
    assert_eq!(response.status, 200, "{}", response.head);
    let wrong = request.replace(&secret(&agent), "wrong");
    assert_eq!(exchange(UnixStream::connect(&path).await.unwrap(), &wrong).await.status, 401);
    let expected = format!("to process {} of user ", std::process::id());
    assert!(log.lines()[0].contains(&expected), "{:?}", log.lines());
    agent.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "current_thread")]
async fn only_a_leftover_socket_is_replaced() {
    let emulator = Emulator::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("agent.sock"), LogLines::default());
    let first = agent(&emulator, &path, &log).await.unwrap();
    let error = agent(&emulator, &path, &log).await.unwrap_err();
    assert_eq!(error.code(), "invalid_configuration");
    assert!(error.to_string().contains("another process listens"), "{error}");
    assert!(UnixStream::connect(&path).await.is_ok(), "the first agent still listens");
    drop(first);

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a leftover of a killed process");
    let second = agent(&emulator, &path, &log).await.unwrap();
    // A file that replaces the socket is not removed.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "something else").unwrap();
    drop(second);
    assert!(path.exists());

    let error = agent(&emulator, &path, &log).await.unwrap_err();
    assert!(error.to_string().contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");
}

#[tokio::test(flavor = "current_thread")]
async fn silent_unix_clients_do_not_block() {
    let emulator = Emulator::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let agent = agent(&emulator, &path, &LogLines::default()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let request = format!(
        "GET /msi/token?api-version=2019-08-01&resource={VAULT} HTTP/1.1\r\nHost: localhost\r\n\
         X-IDENTITY-HEADER: {}\r\nConnection: close\r\n\r\n",
        secret(&agent)
    );
    let response = within(exchange(UnixStream::connect(&path).await.unwrap(), &request)).await;
    assert_eq!(response.status, 200, "{}", response.head);
}
