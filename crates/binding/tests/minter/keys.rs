//! Lost keys and missing keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use symbolon_binding::{Error, ErrorKind, KeyProvider, SoftwareKeys};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{CorrelationId, SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};

use crate::issuer::TestEnv;

/// Key whose private key was deleted.
#[derive(Debug)]
pub(crate) struct LostKey(pub(crate) SharedSigningKey);

impl SigningKey for LostKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }
    fn schemes(&self) -> &[SignatureScheme] {
        self.0.schemes()
    }
    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::gone("deleted"))
    }
    fn strength(&self) -> Strength {
        self.0.strength()
    }
}

/// Key provider whose first keys are lost.
#[derive(Clone, Debug)]
struct LossyKeys {
    gone: usize,
    asked: Arc<AtomicUsize>,
}

impl KeyProvider for LossyKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let key = SoftwareKeys::p256().key().await?;
        let is_gone = self.asked.fetch_add(1, Ordering::Relaxed) < self.gone;
        Ok(if is_gone { SharedSigningKey::new(LostKey(key)) } else { key })
    }
}

#[tokio::test]
async fn lost_key_is_replaced_once() {
    for (gone, asked, issued) in [(0, 1, true), (1, 2, true), (2, 2, false), (9, 2, false)] {
        let keys = LossyKeys { gone, asked: Arc::default() };
        let env = TestEnv::with(|builder| builder.key_provider(keys.clone())).await;
        let minted = env.minter.binding(&env.id, CorrelationId::random()).await;
        assert_eq!(keys.asked.load(Ordering::Relaxed), asked, "{gone}");
        assert_eq!(env.issuer.csrs().len(), usize::from(issued), "{gone}");
        match minted {
            Ok(_) => assert!(issued, "{gone}"),
            Err(error) => assert_eq!((error.code(), issued), ("key_gone", false)),
        }
    }
}

/// Key provider that fails several times first.
#[derive(Clone, Debug)]
struct DelayedKeys(Arc<AtomicUsize>);

impl KeyProvider for DelayedKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(Error::new(ErrorKind::Environment, "no_device", "the device is not plugged in")),
            Err(_) => SoftwareKeys::p256().key().await,
        }
    }
}

#[tokio::test]
async fn key_provider_error_is_returned() {
    let keys = DelayedKeys(Arc::new(AtomicUsize::new(2)));
    let env = TestEnv::with(|builder| builder.key_provider(keys.clone())).await;
    let ask = || env.minter.binding(&env.id, CorrelationId::random());
    for _ in 0..2 {
        let error = ask().await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("no_device", false));
        assert_eq!(env.mints(), 0);
    }
    assert!(ask().await.is_ok());
    assert_eq!(env.mints(), 1);
}
