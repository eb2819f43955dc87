//! Tests of starting and stopping, of the environment for clients, and of the journal.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use symbolon_emulator::{Emulator, Error, Fault, Server, Step, TlsVersion};
use symbolon_types::{Clock, ManualClock, SharedClock};
use tokio::net::TcpStream;

use crate::client::{Client, authorized, cause, form, get, metadata};
use crate::csr::Key;
use crate::fixtures::{bound_request, bound_token, certified};

#[tokio::test]
async fn emulator_starts_within_300_ms() {
    let clock = SharedClock::system();
    let mut starts = Vec::new();
    for _ in 0..3 {
        let began = clock.now();
        let _emulator = Emulator::start().await.unwrap();
        starts.push(clock.now().duration_since(began).unwrap());
    }
    // One fast start of three suffices, because the machine may be busy.
    assert!(starts.iter().any(|took| *took < Duration::from_millis(300)), "{starts:?}");
}

#[tokio::test]
async fn drop_closes_ports_and_connections() {
    let emulator = Emulator::start().await.unwrap();
    let urls = [emulator.imds_url(), emulator.token_url(), emulator.resource_url()].map(str::to_owned);
    let client = Client::new(&emulator, None);
    let mut session = client.connect(&urls[2]).await.unwrap();
    session.send(get(&urls[2])).await.unwrap();
    drop(emulator);
    for url in &urls {
        let address = url.split_once("://").unwrap().1;
        let error = TcpStream::connect(address).await.err().unwrap_or_else(|| panic!("{url} is still open"));
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    assert!(session.send(get(&urls[2])).await.is_err());
}

#[tokio::test]
async fn address_outside_of_loopback_is_refused() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "169.254.169.253:0", "169.254.169.254:0"] {
        let address: SocketAddr = address.parse().unwrap();
        let as_azure = [
            Emulator::builder().address(Server::Imds, address),
            Emulator::builder().address(Server::Token, address),
            Emulator::builder().address(Server::Resource, address),
        ];
        let as_other_hosts = [
            Emulator::builder().address(Server::Hosts, address),
            Emulator::builder().address(Server::ServiceFabric, address),
            Emulator::builder().admin_address(address),
        ];
        let is_azure = address.ip().to_string() == "169.254.169.254";
        for builder in as_other_hosts.into_iter().chain(as_azure.into_iter().filter(|_| !is_azure)) {
            assert!(matches!(builder.start().await, Err(Error::NotLoopback(refused)) if refused == address));
        }
    }
}

#[tokio::test]
async fn missing_azure_address_error_has_advice() {
    let refused = Emulator::builder().azure_addresses().start().await.unwrap_err();
    let Error::Listen { address, source } = &refused else { panic!("{refused:?}") };
    assert_eq!(*address, "169.254.169.254:80".parse().unwrap());
    // No interface of a test machine has the address.
    assert_eq!(source.kind(), std::io::ErrorKind::AddrNotAvailable);
    assert!(refused.to_string().ends_with("assign the address to this machine, or to a network namespace"));
}

#[tokio::test]
async fn port_in_use_is_an_error() {
    let first = Emulator::start().await.unwrap();
    let address: SocketAddr = first.imds_url().trim_start_matches("http://").parse().unwrap();
    let second = Emulator::builder().address(Server::Imds, address).start().await;
    assert!(matches!(second, Err(Error::Listen { address: taken, .. }) if taken == address));
}

#[tokio::test]
async fn tls_version_is_restricted() {
    let emulator = Emulator::builder().tls_version(TlsVersion::V1_2).start().await.unwrap();
    let (old, new) = (&[&rustls::version::TLS12], &[&rustls::version::TLS13]);
    assert!(Client::with_versions(&emulator, None, old).send(get(emulator.resource_url())).await.is_ok());
    let error =
        Client::with_versions(&emulator, None, new).send(get(emulator.resource_url())).await.err().unwrap();
    assert!(cause::<rustls::Error>(&*error).is_some());
}

#[tokio::test]
async fn connections_of_a_certificate_are_reset() {
    let emulator = Emulator::start().await.unwrap();
    let key = Key::p256();
    let (first, second) = (certified(&emulator, &key).await, certified(&emulator, &key).await);
    let open = async |identity| {
        let mut session = Client::new(&emulator, Some(identity)).connect(emulator.token_url()).await.unwrap();
        assert_eq!(session.send(bound_request(&emulator)).await.unwrap().status, 200);
        session
    };
    let (mut reset, mut untouched) = (open(&first).await, open(&second).await);
    assert_eq!(emulator.reset_connections_of(first.thumbprint()), 1);
    assert!(reset.send(bound_request(&emulator)).await.is_err());
    assert_eq!(untouched.send(bound_request(&emulator)).await.unwrap().status, 200);
    bound_token(&emulator, &first).await.unwrap();
}

#[tokio::test]
async fn journal_is_complete_without_secrets() {
    let (id, secret) = ("11111111-2222-4333-8444-555555555555", "hunter2-hunter2-hunter2");
    let emulator = Emulator::builder().application(id, secret).start().await.unwrap();
    let mut live = emulator.subscribe();
    let identity = certified(&emulator, &Key::p256()).await;
    let token = bound_token(&emulator, &identity).await.unwrap();
    let client = Client::new(&emulator, Some(&identity));
    client.send(authorized(emulator.resource_url(), "mtls_pop", &token)).await.unwrap();
    let basic = "Basic c2VjcmV0OnNlY3JldA==";
    let mut request = form(
        &emulator.token_endpoint(),
        &[
            ("client_id", id),
            ("client_secret", secret),
            ("client_assertion", "eyJ.assertion.sig"),
            ("claims", r#"{"access_token":{"x":null}}"#),
        ],
    );
    request.headers_mut().insert("authorization", basic.parse().unwrap());
    request.headers_mut().insert("client-request-id", "a-request-id".parse().unwrap());
    client.send(request).await.unwrap();

    let journal = emulator.journal();
    assert_eq!(
        journal.steps(),
        [Step::PlatformMetadata, Step::IssueCredential, Step::Token, Step::Resource, Step::Token]
    );
    let issuance = journal.last(Step::IssueCredential).unwrap();
    let csr = issuance.csr.clone().unwrap();
    assert!(csr.starts_with(&[0x30]) && !issuance.attested);
    assert_eq!(issuance.query("cred-api-version"), Some("2.0"));
    assert_eq!(issuance.header("metadata"), Some("true"));
    let bound = journal.of(Step::Token).next().unwrap();
    assert_eq!(bound.form("token_type"), Some("mtls_pop"));
    assert_eq!(bound.form("scope"), Some("https://vault.azure.net/.default"));
    assert_eq!((&*bound.method, bound.status()), ("POST", Some(200)));
    let last = journal.last(Step::Token).unwrap();
    assert_eq!(
        last.form_names().collect::<Vec<_>>(),
        ["client_id", "client_secret", "client_assertion", "claims"]
    );
    assert_eq!((last.form("client_secret"), last.form("client_assertion")), (None, None));
    assert_eq!((last.authorization, last.header("client-request-id")), (Some("Basic"), Some("a-request-id")));

    let shown = format!(
        "{journal}{journal:?}{emulator:?}{:?}{:?}",
        emulator.issued(),
        Fault::claims_challenge(Step::Token, &token)
    );
    let csr = <base64ct::Base64 as base64ct::Encoding>::encode_string(&csr);
    for hidden in [secret, &token, "assertion.sig", "c2VjcmV0", r#"{"access_token""#, &csr[..20]] {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
    for (sequence, entry) in journal.entries().enumerate() {
        assert_eq!(entry.sequence, sequence as u64);
        assert_eq!(live.next().await.unwrap().sequence, sequence as u64);
    }
    drop(emulator);
    assert!(live.next().await.is_none());
}

#[tokio::test]
async fn environment_contains_url_and_ca() {
    let emulator = Emulator::start().await.unwrap();
    let file = emulator.ca_file().to_owned();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), emulator.ca_pem());
    let variables = emulator.environment();
    assert_eq!(variables[0], ("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.imds_url().to_owned()));
    assert_eq!(variables[1], ("SSL_CERT_FILE", file.display().to_string()));
    for (name, value) in variables {
        assert_eq!(emulator.context().env().var(name), Some(value));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let folder = file.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }
    drop(emulator);
    assert!(!file.parent().unwrap().exists());
}

#[tokio::test]
async fn ca_folder_stays() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::builder().ca_folder(folder.path()).start().await.unwrap();
    let file = emulator.ca_file().to_owned();
    assert_eq!(file.parent(), Some(folder.path()));
    drop(emulator);
    assert!(file.exists());
    let missing = folder.path().join("missing");
    let error = Emulator::builder().ca_folder(&missing).start().await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if path.starts_with(&missing)), "{error}");
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn context_has_the_clock_without_skew() {
    let clock = ManualClock::new();
    let emulator = Emulator::builder().clock(SharedClock::new(clock.clone())).clock_skew(60).start().await;
    let context = emulator.unwrap().context();
    assert_eq!(context.clock().now(), clock.now());
}

/// This test blocks its runtime while the child runs; the emulator has its own.
#[tokio::test]
async fn curl_gets_a_bound_token() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let emulator = Emulator::start().await.unwrap();
    let identity = emulator.issue_client_certificate(emulator.client_id()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.pem");
    std::fs::write(&file, identity.to_pem()).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
            .arg(emulator.ca_file())
            .arg("--cert")
            .arg(&file)
            .args([
                "--data",
                &format!(
                    "grant_type=client_credentials&token_type=mtls_pop&client_id={}",
                    emulator.client_id()
                ),
            ])
            .args(["--data-urlencode", "scope=https://vault.azure.net/.default"])
            .arg(emulator.token_endpoint().replace("127.0.0.1", host))
            .output()
            .unwrap();
        let body = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            body.contains(r#""token_type":"mtls_pop""#),
            "{body}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let journal = emulator.journal();
    assert!(
        journal.of(Step::Token).all(|entry| entry.certificate() == Some(identity.certificate.thumbprint))
    );
}

#[tokio::test]
async fn ipv6_loopback_is_supported() {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    let Ok(emulator) =
        Emulator::builder().address(Server::Imds, address).address(Server::Token, address).start().await
    else {
        // The machine has no IPv6.
        return;
    };
    let url = format!("{}/metadata/instance/compute", emulator.imds_url());
    assert!(url.starts_with("http://[::1]:"));
    assert_eq!(Client::new(&emulator, None).send(metadata(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn drop_removes_azure_arc_key_files() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("tokens");
    let emulator = Emulator::builder().arc_tokens(&keys).start().await.unwrap();
    let count = || std::fs::read_dir(&keys).map_or(0, Iterator::count);
    assert_eq!(count(), 0, "a file was written before the first challenge");
    let url = emulator.environment_of(symbolon_emulator::Source::AzureArc)[0].1.clone();
    let url = format!("{url}?api-version=2021-02-01&resource=https://x");
    let client = Client::new(&emulator, None);
    for challenges in 1..=2 {
        assert_eq!(client.send(metadata(&url)).await.unwrap().status, 401);
        assert_eq!(count(), challenges);
    }
    drop(emulator);
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn follow_continues_the_snapshot() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    client.send(get(emulator.imds_url())).await.unwrap();
    let (snapshot, mut live) = emulator.follow();
    client.send(get(emulator.imds_url())).await.unwrap();
    let next = live.next().await.unwrap();
    assert_eq!((snapshot.entries().len(), next.sequence), (1, 1));
}
