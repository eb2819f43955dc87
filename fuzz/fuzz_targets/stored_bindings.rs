//! Arbitrary stored entries do not make the minter panic, and none becomes a binding.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::{arbitrary, fuzz_target};
use symbolon_binding::{Binding, Error, KeyProvider, ManagedIdentityId, Minter, SoftwareKeys};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, Response, RetryPolicy, SharedTransport};
use symbolon_types::{Context, CorrelationId, Jitter, SharedSigningKey, Thumbprint};

/// The content of a stored file.
#[derive(Debug, arbitrary::Arbitrary)]
enum Entry<'a> {
    /// The bytes as they are.
    Bytes(&'a [u8]),
    /// Text with a valid checksum.
    Text(&'a str),
    /// A well-formed entry for this identity.
    Members { version: u8, client_id: Option<&'a str>, certificate: &'a str, endpoint: &'a str, minted_at: u64 },
}

impl Entry<'_> {
    fn to_bytes(&self) -> Vec<u8> {
        let json = match self {
            Self::Bytes(bytes) => return bytes.to_vec(),
            Self::Text(text) => (*text).to_owned(),
            Self::Members { version, client_id, certificate, endpoint, minted_at } => serde_json::json!({
                "version": version % 3,
                "id": r#"["t","c","{\"vmId\":\"v\"}",false]"#,
                "client_id": client_id.unwrap_or("c"),
                "tenant_id": "t",
                "certificate": certificate,
                "mtls_authentication_endpoint": endpoint,
                "minted_at": minted_at,
            })
            .to_string(),
        };
        let sum: String =
            Thumbprint::of(json.as_bytes()).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{sum}\n{json}").into_bytes()
    }
}

/// A binding store with one key and the file of its entry.
struct StoreFixture {
    key: SharedSigningKey,
    folder: tempfile::TempDir,
    file: PathBuf,
}

#[derive(Debug)]
struct OneKey(SharedSigningKey);

impl KeyProvider for OneKey {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        Ok(self.0.clone())
    }
}

impl StoreFixture {
    /// Finds the name of the entry by its lock, which a failed mint leaves behind.
    fn new() -> Self {
        let key = wait(SoftwareKeys::p256().key()).expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let mut fixture = Self { key, folder, file: PathBuf::new() };
        let error = fixture.obtain().expect_err("no certificate was issued");
        assert_eq!(error.code(), "managed_identity_request_failed", "{error:?}");
        let names = fs::read_dir(fixture.folder.path().join("state")).expect("a folder");
        let mut names = names.map(|entry| entry.expect("a file").path());
        let lock = names.find(|path| path.extension().is_some_and(|end| end == "lock"));
        fixture.file = lock.expect("a lock").with_extension("json");
        fixture
    }

    /// Obtains a binding from the store; issuance is refused.
    fn obtain(&self) -> Result<Binding, Error> {
        let server = HeaderMap::from_iter([(http::header::SERVER, HeaderValue::from_static("IMDS/1"))]);
        let metadata = r#"{"clientId":"c","tenantId":"t","cuId":{"vmId":"v"}}"#;
        let transport = ScriptedTransport::new([
            Ok(Response::new(StatusCode::OK, metadata).with_headers(server)),
            Ok(Response::new(StatusCode::FORBIDDEN, "")),
        ]);
        let http = HttpClient::new(SharedTransport::new(transport), Context::default().with_jitter(Jitter::fixed(0.5)));
        let minter = Minter::builder("http://127.0.0.1".parse().expect("a URL"), http)
            .issuance_retry_policy(RetryPolicy::once())
            .key_provider(OneKey(self.key.clone()))
            .store(self.folder.path().join("state"));
        let minter = minter.build().expect("a minter");
        wait(minter.binding(&ManagedIdentityId::system_assigned(), CorrelationId::random()))
    }

    fn put(&self, bytes: &[u8]) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file);
        opened.and_then(|mut file| file.write_all(bytes)).expect("a file");
    }
}

/// Polls until a file has been read on another thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    loop {
        match (&mut future).now_or_never() {
            Some(done) => return done,
            None => std::thread::yield_now(),
        }
    }
}

static FIXTURE: OnceLock<StoreFixture> = OnceLock::new();

fuzz_target!(|entry: Entry<'_>| {
    let fixture = FIXTURE.get_or_init(StoreFixture::new);
    fixture.put(&entry.to_bytes());
    let error = fixture.obtain().expect_err("no certificate was issued");
    assert_eq!(error.code(), "managed_identity_request_failed");
});
