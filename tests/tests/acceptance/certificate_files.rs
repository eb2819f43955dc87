//! Certificates in files that other programs replace.

use std::fs;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use symbolon::{ClientIdentity, Thumbprint, Token, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_rustls::{ClientIdentityLoader, LoadError};
use symbolon_test_programs::Folder;
use symbolon_tests::RESOURCE;
use symbolon_token::{ClientCertificate, IdentityCell, TokenClient};
use symbolon_transport::{Transport, transport_fn};

use crate::clients::CLIENT_ID;
use crate::test_env::TestEnv;

/// The age at which the files are read again.
const INTERVAL: Duration = Duration::from_secs(10);
const BEARER: &str = "https://bearer.example";

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
    thumbprint: Thumbprint,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(der))
}

/// A certificate of the client, issued by the emulator.
fn issued(env: &TestEnv) -> Pair {
    let issued = env.emulator.issue_client_certificate(CLIENT_ID).expect("a certificate");
    let thumbprint = Thumbprint::of(&issued.certificate.der);
    Pair {
        certificate: pem("CERTIFICATE", &issued.certificate.der),
        key: pem("PRIVATE KEY", &issued.pkcs8),
        thumbprint,
    }
}

/// A folder with the two files of a certificate.
struct Files(Folder);

impl Files {
    fn with(pair: &Pair) -> Self {
        let files = Self(Folder::new());
        files.write(pair);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes both files in place.
    fn write(&self, pair: &Pair) {
        fs::write(self.path("tls.crt"), &pair.certificate).expect("a file");
        fs::write(self.path("tls.key"), &pair.key).expect("a file");
    }

    /// Replaces both files by renaming others.
    fn rename(&self, pair: &Pair) {
        for (name, content) in [("tls.crt", &pair.certificate), ("tls.key", &pair.key)] {
            fs::write(self.path("new"), content).expect("a file");
            fs::rename(self.path("new"), self.path(name)).expect("a rename");
        }
    }

    /// Replaces both files as kubelet does: each is a link through `..data`, which is renamed.
    #[cfg(unix)]
    fn swap(&self, version: &str, pair: &Pair) {
        use std::os::unix::fs::symlink;
        let folder = self.path(version);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("tls.crt"), &pair.certificate).expect("a file");
        fs::write(folder.join("tls.key"), &pair.key).expect("a file");
        symlink(Path::new(version), self.path("..data_tmp")).expect("a link");
        fs::rename(self.path("..data_tmp"), self.path("..data")).expect("a rename");
        for name in ["tls.crt", "tls.key"] {
            if fs::symlink_metadata(self.path(name)).is_ok_and(|found| found.is_symlink()) {
                continue;
            }
            fs::remove_file(self.path(name)).expect("a file");
            symlink(Path::new("..data").join(name), self.path(name)).expect("a link");
        }
    }

    fn cell(&self, env: &TestEnv) -> IdentityCell {
        let files = ["tls.crt", "tls.key"].map(|name| self.path(name));
        ClientIdentityLoader::new().follow_files(files, &env.context()).expect("an identity")
    }

    fn client(&self, env: &TestEnv) -> TokenClient {
        env.client_builder(credential(env, self.cell(env))).build()
    }
}

fn credential(env: &TestEnv, certificate: IdentityCell) -> ClientCertificate {
    ClientCertificate::rotating(env.application(), certificate).expect("a credential")
}

async fn bound(env: &TestEnv, client: &TokenClient) -> Token {
    env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.expect("a bound token"))
}

fn bound_to(token: &Token) -> Option<Thumbprint> {
    token.bound_to().map(ClientIdentity::thumbprint)
}

/// The certificates of a request for a bound and for a bearer token, neither from the cache.
async fn used(env: &TestEnv, client: &TokenClient) -> Option<Thumbprint> {
    let before = env.count(Step::Token);
    let token = client.token_for_resource(RESOURCE).proof_of_possession().force_refresh().await;
    let token = env.keep(token.expect("a bound token"));
    let presented = env.last_token_request().certificate();
    assert_eq!(bound_to(&token), presented);
    env.keep(client.token_for_resource(BEARER).force_refresh().await.expect("a bearer token"));
    assert_eq!(env.last_token_request().certificate(), None);
    assert_eq!(env.count(Step::Token), before + 2, "none was refused");
    presented
}

/// Makes a pipe without a writer: opening it to read waits for one.
#[cfg(unix)]
pub(crate) fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo {}", path.display());
}

#[tokio::test]
async fn cert_01_replaced_files_are_used() {
    let env = TestEnv::new().await;
    let [first, second, third, fourth, fifth] = [(); 5].map(|()| issued(&env));
    let files = Files::with(&first);
    let client = files.client(&env);
    assert_eq!(used(&env, &client).await, Some(first.thumbprint));
    files.rename(&second);
    // The assertion for the bearer token is signed with the new key: that of a revoked one is
    // refused.
    env.emulator.revoke(first.thumbprint);
    assert_eq!(used(&env, &client).await, Some(second.thumbprint));
    files.write(&third);
    env.emulator.revoke(second.thumbprint);
    assert_eq!(used(&env, &client).await, Some(third.thumbprint));
    #[cfg(unix)]
    for (version, pair) in [("..one", &fourth), ("..two", &fifth)] {
        files.swap(version, pair);
        assert_eq!(used(&env, &client).await, Some(pair.thumbprint), "{version}");
    }
}

#[tokio::test]
async fn cert_02_unusable_files_keep_the_last() {
    let env = TestEnv::new().await;
    let [first, second] = [(); 2].map(|()| issued(&env));
    let (expired, key_of_expired) = {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    };
    let files = Files::with(&first);
    let cell = files.cell(&env);
    let client = env.client_builder(credential(&env, cell.clone())).build();
    let warnings = || env.logs().matches("the last one stays").count();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    for (case, certificate, key) in [
        ("half a certificate", half(&second.certificate), second.key.clone()),
        ("half a key", second.certificate.clone(), half(&second.key)),
        ("an empty file", String::new(), second.key.clone()),
        ("two empty files", String::new(), String::new()),
        ("the key of another", second.certificate.clone(), first.key.clone()),
        ("an ended certificate", expired, key_of_expired),
    ] {
        fs::write(files.path("tls.crt"), certificate).expect("a file");
        fs::write(files.path("tls.key"), key).expect("a file");
        let before = warnings();
        // On this thread, whose logs are captured.
        for _ in 0..2 {
            cell.reload();
        }
        assert_eq!(warnings(), before + 1, "{case}");
        assert_eq!(used(&env, &client).await, Some(first.thumbprint), "{case}");
    }
    fs::remove_file(files.path("tls.key")).expect("a file");
    let before = warnings();
    for _ in 0..2 {
        cell.reload();
    }
    assert_eq!(warnings(), before + 1, "a missing file");
    assert_eq!(used(&env, &client).await, Some(first.thumbprint), "a missing file");
    #[cfg(unix)]
    {
        pipe(&files.path("tls.key"));
        cell.reload();
        assert_eq!(used(&env, &client).await, Some(first.thumbprint), "a pipe");
        let loaded = ClientIdentityLoader::new().follow_files([files.path("tls.key")], &env.context());
        assert!(matches!(loaded, Err(LoadError::Unreadable { .. })));
    }
    files.rename(&second);
    assert_eq!(used(&env, &client).await, Some(second.thumbprint));
    // At first, each of these is an error.
    let load = |name: &str| {
        let loaded = ClientIdentityLoader::new().follow_files([files.path(name)], &env.context());
        loaded.expect_err("an error")
    };
    assert!(matches!(load("missing"), LoadError::Unreadable { path, .. } if path.ends_with("missing")));
    assert!(matches!(load("tls.crt"), LoadError::NoPrivateKey));
    assert!(matches!(load("tls.key"), LoadError::NoCertificate));
}

#[tokio::test]
async fn cert_03_old_token_serves_until_the_new_one() {
    let env = TestEnv::new().await;
    let [first, second] = [(); 2].map(|()| issued(&env));
    let files = Files::with(&first);
    let client = files.client(&env);
    assert_eq!(bound_to(&bound(&env, &client).await), Some(first.thumbprint));
    let requests = env.count(Step::Token);
    files.rename(&second);
    env.emulator.inject(Fault::status(Step::Token, 503).always());
    // Not before the interval has passed.
    env.manual_clock.advance(INTERVAL / 2);
    assert_eq!(bound_to(&bound(&env, &client).await), Some(first.thumbprint));
    assert_eq!(env.count(Step::Token), requests);
    env.manual_clock.advance(INTERVAL);
    env.wait_until_with(async || {
        let token = bound(&env, &client).await;
        assert_eq!((bound_to(&token), token.origin()), (Some(first.thumbprint), TokenOrigin::Cache));
        env.count(Step::Token) > requests
    })
    .await;
    let token = bound(&env, &client).await;
    assert_eq!(client.call(&token, env.resource_request()).await.expect("a response").status(), 200);
    env.emulator.clear_faults();
    env.manual_clock.advance(Duration::from_secs(60));
    env.wait_until_with(async || bound_to(&bound(&env, &client).await) == Some(second.thumbprint)).await;
    let token = bound(&env, &client).await;
    assert_eq!(env.last_token_request().certificate(), Some(second.thumbprint));
    assert_eq!(client.call(&token, env.resource_request()).await.expect("a response").status(), 200);
    let journal = env.emulator.journal();
    assert_eq!(journal.last(Step::Resource).expect("a call").certificate(), Some(second.thumbprint));
}

#[tokio::test]
async fn cert_04_refused_certificate_is_read_again() {
    let env = TestEnv::new().await;
    let [first, second] = [(); 2].map(|()| issued(&env));
    let files = Arc::new(Files::with(&first));
    env.emulator.revoke(first.thumbprint);
    let (inner, replaced, thumbprint) = (env.transport(), Arc::clone(&files), second.thumbprint);
    // The files are replaced when the request has its certificate already.
    let capabilities = inner.capabilities();
    let transport = transport_fn(move |request| {
        replaced.rename(&second);
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    let client =
        TokenClient::builder(credential(&env, files.cell(&env)), transport.with_capabilities(capabilities));
    let client = client.context(env.context()).build();
    assert_eq!(bound_to(&bound(&env, &client).await), Some(thumbprint));
    assert_eq!(env.count(Step::Token), 2);
}
