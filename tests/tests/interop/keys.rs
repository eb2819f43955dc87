//! Every kind of key, and certificate requests for them.

use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding as _};
use http::header::SERVER;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use symbolon_binding::{
    KeyProvider, ManagedIdentityId, Minter, PersistedKeys, SharedKeyProvider, SoftwareKeys,
};
use symbolon_pkcs11::Pkcs11Keys;
use symbolon_test_programs::{SoftHsm, Swtpm};
use symbolon_tpm::TpmKeys;
use symbolon_transport::{HttpClient, Request, Response, SharedTransport, transport_fn};
use symbolon_types::{Context, CorrelationId, Jitter, SharedSigningKey};

pub(crate) const CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
pub(crate) const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";
pub(crate) const VM: &str = "a-machine";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rsa2048,
    P256,
}

pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rsa2048, Algorithm::P256];

/// A key with the certificate request of the minter.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) name: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: SharedSigningKey,
    pub(crate) csr: Vec<u8>,
    _tpm: Option<Swtpm>,
}

/// The place of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    Memory,
    File,
    Token,
    Tpm,
}

impl Home {
    /// A key of each algorithm with its request. Call it within [`SoftHsm::run`] for a token; empty
    /// if swtpm is missing.
    pub(crate) fn keys(self) -> Vec<Requested> {
        let folder = tempfile::tempdir().unwrap();
        let one = |algorithm| {
            let store = folder.path().join("store");
            let (provider, tpm) = match self {
                Self::Tpm => {
                    let tpm = Swtpm::start()?;
                    let keys = TpmKeys::builder(&tpm.tcti(), store).unwrap();
                    let keys = match algorithm {
                        Algorithm::Rsa2048 => keys.rsa_2048(),
                        Algorithm::P256 => keys.p256(),
                    };
                    (SharedKeyProvider::new(keys.build().unwrap()), Some(tpm))
                }
                _ => (self.provider(algorithm, &store), None),
            };
            let (key, csr) = request(provider);
            Some(Requested { name: format!("{algorithm:?} in {self:?}"), algorithm, key, csr, _tpm: tpm })
        };
        ALGORITHMS.into_iter().filter_map(one).collect()
    }

    fn provider(self, algorithm: Algorithm, folder: &std::path::Path) -> SharedKeyProvider {
        let token = Pkcs11Keys::builder(SoftHsm::module()).pin(SoftHsm::pin());
        match (self, algorithm) {
            (Self::Memory, Algorithm::Rsa2048) => SharedKeyProvider::new(SoftwareKeys::rsa_2048()),
            (Self::Memory, Algorithm::P256) => SharedKeyProvider::new(SoftwareKeys::p256()),
            (Self::File, Algorithm::Rsa2048) => SharedKeyProvider::new(PersistedKeys::rsa_2048(folder)),
            (Self::File, Algorithm::P256) => SharedKeyProvider::new(PersistedKeys::p256(folder)),
            (Self::Token, Algorithm::Rsa2048) => SharedKeyProvider::new(token.rsa_2048().build()),
            (Self::Token, Algorithm::P256) => SharedKeyProvider::new(token.p256().build()),
            (Self::Tpm, _) => unreachable!("each has a TPM of its own"),
        }
    }
}

/// Runs a future on a new runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The key of a provider, and the certificate request that a minter sends for it.
fn request(provider: SharedKeyProvider) -> (SharedSigningKey, Vec<u8>) {
    let sent = Arc::new(Mutex::new(None));
    let key = Arc::new(Mutex::new(None));
    let keys = Remembered { provider, key: Arc::clone(&key) };
    let received = Arc::clone(&sent);
    let transport = transport_fn(move |request: Request| {
        let answer = answer(&request, &received);
        async move { Ok(answer) }
    });
    let http =
        HttpClient::new(SharedTransport::new(transport), Context::default().with_jitter(Jitter::fixed(0.0)));
    let imds = "http://169.254.169.254".parse().unwrap();
    let minter = Minter::builder(imds, http).key_provider(keys).build().unwrap();
    let id = ManagedIdentityId::system_assigned();
    let refused = block_on(minter.binding(&id, CorrelationId::random())).unwrap_err();
    assert_eq!(refused.status(), Some(400), "{refused:?}");
    let (key, csr) = (key.lock().unwrap().take(), sent.lock().unwrap().take());
    (key.unwrap(), csr.unwrap())
}

/// A metadata service that records certificate requests and issues nothing.
fn answer(request: &Request, received: &Mutex<Option<Vec<u8>>>) -> Response {
    let response = if request.url().path().ends_with("/getplatformmetadata") {
        let metadata = json!({
            "clientId": CLIENT,
            "tenantId": TENANT,
            "cuId": { "vmId": VM },
            "attestationEndpoint": "https://attest.example",
        });
        Response::new(StatusCode::OK, metadata.to_string())
    } else {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let csr = Base64::decode_vec(body["csr"].as_str().unwrap()).unwrap();
        *received.lock().unwrap() = Some(csr);
        Response::new(StatusCode::BAD_REQUEST, "{}")
    };
    let name = HeaderValue::from_static("IMDS/150.870.65.1854");
    response.with_headers([(SERVER, name)].into_iter().collect())
}

/// Returns the key of a provider, and remembers it.
#[derive(Debug)]
struct Remembered {
    provider: SharedKeyProvider,
    key: Arc<Mutex<Option<SharedSigningKey>>>,
}

impl KeyProvider for Remembered {
    async fn key(&self) -> Result<SharedSigningKey, symbolon_binding::Error> {
        let key = self.provider.key().await?;
        *self.key.lock().unwrap() = Some(key.clone());
        Ok(key)
    }
}
