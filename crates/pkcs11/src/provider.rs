//! Key provider of a token.

use std::sync::{Arc, Mutex, PoisonError};

use symbolon_binding::{Error, KeyProvider, spawn_blocking};
use symbolon_types::SharedSigningKey;

use crate::error::{Pkcs11Error, environment_error};
use crate::key::Pkcs11Key;
use crate::key_pair::KeySpec;
use crate::token::{Pkcs11Token, SessionAccess};

/// Locked while a key is looked up and created, so that the providers of this process create it
/// once.
static CREATION: Mutex<()> = Mutex::new(());

/// Key provider of the key with a certain label on a PKCS#11 token. The key is created if it is
/// missing.
///
/// The token is used with [`spawn_blocking`](symbolon_binding::spawn_blocking); an HSM takes
/// seconds to create a key pair. Signing, which happens inside TLS handshakes, blocks its thread
/// for as long as the token takes. Clones share one key and one session.
///
/// A process creates a key at most once. Several processes that start at the same time on an empty
/// token may each create one, because PKCS#11 cannot prevent it; later requests use the key with
/// the smallest `CKA_ID`. Nothing is ever deleted.
///
/// ```
/// use symbolon_pkcs11::Pkcs11Keys;
/// use symbolon_types::Secret;
///
/// let keys = Pkcs11Keys::builder("/usr/lib/softhsm/libsofthsm2.so")
///     .token_label("symbolon")
///     .pin(Secret::new("1234"))
///     .p256()
///     .build();
/// ```
///
/// # Errors
/// Errors of [`key`](KeyProvider::key), all of kind
/// [`Environment`](symbolon_types::ErrorKind::Environment):
///
/// | code | cause |
/// |---|---|
/// | `pkcs11_module_unusable` | the module cannot be loaded or initialized |
/// | `token_not_found`, `token_ambiguous` | no token, or more than one, matches |
/// | `pin_required`, `pin_refused` | the user cannot log in; a refused PIN is not tried again |
/// | `key_creation_failed` | the token could not create a key |
/// | `key_not_supported` | the existing key cannot be used |
/// | `token_failed` | any other error of the module |
#[derive(Clone)]
pub struct Pkcs11Keys(Arc<Pkcs11KeySource>);

struct Pkcs11KeySource {
    token: Arc<Pkcs11Token>,
    spec: KeySpec,
    in_hardware: bool,
    current: Mutex<Option<Pkcs11Key>>,
}

impl Pkcs11Keys {
    pub(crate) fn new(token: Pkcs11Token, spec: KeySpec, in_hardware: bool) -> Self {
        let (token, current) = (Arc::new(token), Mutex::default());
        Self(Arc::new(Pkcs11KeySource { token, spec, in_hardware, current }))
    }
}

impl KeyProvider for Pkcs11Keys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let source = Arc::clone(&self.0);
        let key = spawn_blocking(move || source.key()).await??;
        Ok(SharedSigningKey::new(key))
    }
}

impl Pkcs11KeySource {
    fn key(&self) -> Result<Pkcs11Key, Error> {
        // Locked until the end, so that concurrent callers create one key.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = current.as_ref() {
            match key.check_exists() {
                Ok(()) => return Ok(key.clone()),
                Err(Pkcs11Error::KeyGone) => *current = None,
                Err(error) => return Err(error.into()),
            }
        }
        let key = self.find_or_create()?;
        *current = Some(key.clone());
        Ok(key)
    }

    fn find_or_create(&self) -> Result<Pkcs11Key, Pkcs11Error> {
        let _exclusive = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.token.open(SessionAccess::Read)?;
        let pair = match self.spec.find(&session)? {
            Some(pair) => pair,
            None => {
                self.spec.create(&self.token.open(SessionAccess::Write)?)?;
                tracing::info!("created a key on the PKCS#11 token");
                let missing = || {
                    environment_error(
                        "key_creation_failed",
                        "the PKCS#11 token does not have the key that it created",
                    )
                };
                self.spec.find(&session)?.ok_or_else(|| Pkcs11Error::Token(missing()))?
            }
        };
        let (token, algorithm) = (Arc::clone(&self.token), self.spec.algorithm);
        Pkcs11Key::new(token, algorithm, session, pair, self.in_hardware)
    }
}

symbolon_types::debug_fields!(Pkcs11Keys |this| token: this.0.token);
