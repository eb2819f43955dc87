//! Stored bindings.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, StatusCode};
use symbolon_binding::{Binding, Error, ManagedIdentityId, Minter};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, Response, RetryPolicy, SharedTransport};
use symbolon_types::{Context, CorrelationId, Jitter, Thumbprint};

use crate::fixture::{CorpusKeys, wait};

/// A binding store with the file of its only entry.
struct StoreFixture {
    folder: tempfile::TempDir,
    file: PathBuf,
}

static FIXTURE: LazyLock<StoreFixture> = LazyLock::new(StoreFixture::new);

/// Arbitrary entries do not make the minter panic. An input that starts with `=` is a file; every
/// other one is the JSON of an entry with a valid checksum.
pub(crate) fn run(input: &[u8]) -> bool {
    let file = match input.strip_prefix(b"=") {
        Some(file) => file.to_vec(),
        None => [checksum(input).as_bytes(), b"\n", input].concat(),
    };
    FIXTURE.put(&file);
    match FIXTURE.obtain() {
        Ok(binding) => {
            assert_eq!(binding.token_endpoint().scheme(), "https");
            true
        }
        Err(error) => {
            assert_eq!(error.code(), "managed_identity_request_failed", "{error:?}");
            false
        }
    }
}

fn checksum(json: &[u8]) -> String {
    Thumbprint::of(json).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl StoreFixture {
    /// Finds the name of the entry by its lock, which a failed mint leaves behind.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut fixture = Self { folder, file: PathBuf::new() };
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
        let metadata = include_str!("../corpus/metadata.json");
        let transport = ScriptedTransport::new([
            Ok(Response::new(StatusCode::OK, metadata).with_headers(server)),
            Ok(Response::new(StatusCode::FORBIDDEN, "")),
        ]);
        let context = Context::default().with_jitter(Jitter::fixed(0.5));
        let http = HttpClient::new(SharedTransport::new(transport), context);
        let minter = Minter::builder("http://127.0.0.1".parse().expect("a URL"), http)
            .issuance_retry_policy(RetryPolicy::once())
            .key_provider(CorpusKeys)
            .store(self.folder.path().join("state"));
        let minter = minter.build().expect("a minter");
        wait(minter.binding(&ManagedIdentityId::system_assigned(), CorrelationId::random()))
    }

    fn put(&self, bytes: &[u8]) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let opened =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file);
        opened.and_then(|mut file| file.write_all(bytes)).expect("a file");
    }
}
