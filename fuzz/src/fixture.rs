//! The key that certificates of the corpus are for, and the execution of futures.

use std::sync::LazyLock;

use futures_util::FutureExt;
use symbolon_binding::{Error, KeyProvider};
use symbolon_rustls::client_identity_from_pem;
use symbolon_types::SharedSigningKey;

/// A P-256 key with a certificate, which belong to the corpus and to nothing else.
static KEY: LazyLock<SharedSigningKey> = LazyLock::new(|| {
    let identity = client_identity_from_pem(include_bytes!("../corpus/key.pem")).expect("an identity");
    identity.key().clone()
});

pub(crate) fn key() -> SharedSigningKey {
    KEY.clone()
}

/// A provider of the key of the corpus.
#[derive(Debug)]
pub(crate) struct CorpusKeys;

impl KeyProvider for CorpusKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        Ok(key())
    }
}

/// Polls until the work on another thread is done.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    loop {
        match (&mut future).now_or_never() {
            Some(done) => return done,
            None => std::thread::yield_now(),
        }
    }
}
