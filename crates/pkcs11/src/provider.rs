//! The key of a token, as a key provider.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_binding::{Error, KeyProvider, spawn_blocking};
use symbolon_types::SharedSigningKey;

use crate::Pkcs11KeysBuilder;
use crate::failure::{Failure, Outcome, known};
use crate::key::Pkcs11Key;
use crate::key_pair::Wanted;
use crate::token::{Access, Token};

/// Looking for a key and making it is one step among the providers of this process, so that those for
/// one key make one.
static MAKING: Mutex<()> = Mutex::new(());

/// The key with a label on a PKCS#11 token. It is made when there is none, and found again by the
/// next process, and by the next mint.
///
/// The token is asked off the async threads; a key pair takes an HSM seconds to make. Signing, which
/// happens inside TLS handshakes, blocks the thread that asks for as long as the token takes. Clones
/// share one key and one session.
///
/// Of processes that start at the same time on an empty token, each may make a key, because PKCS#11
/// has no way to make one only once; within a process one is made. Whoever asks later gets the one with
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
/// Those of [`key`](KeyProvider::key), all of kind
/// [`Environment`](symbolon_types::ErrorKind::Environment):
///
/// | code | what happened |
/// |---|---|
/// | `pkcs11_module_unusable` | the module cannot be loaded or initialized |
/// | `token_not_found`, `token_ambiguous` | no token, or several, are meant |
/// | `pin_required`, `pin_refused` | the user cannot log in; a refused PIN is not tried again |
/// | `key_creation_failed` | the token made no key |
/// | `key_not_supported` | the key there is cannot be used |
/// | `token_failed` | anything else that the module reports |
#[derive(Clone)]
pub struct Pkcs11Keys(Arc<Inner>);

struct Inner {
    token: Arc<Token>,
    wanted: Wanted,
    in_hardware: bool,
    current: Mutex<Option<Pkcs11Key>>,
}

impl Pkcs11Keys {
    /// Begins with the path of the module: the shared library that the maker of the token provides.
    pub fn builder(module: impl Into<PathBuf>) -> Pkcs11KeysBuilder {
        Pkcs11KeysBuilder::new(module.into())
    }

    pub(crate) fn new(token: Token, wanted: Wanted, in_hardware: bool) -> Self {
        let (token, current) = (Arc::new(token), Mutex::default());
        Self(Arc::new(Inner { token, wanted, in_hardware, current }))
    }
}

impl KeyProvider for Pkcs11Keys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let inner = Arc::clone(&self.0);
        let key = spawn_blocking(move || inner.key()).await??;
        Ok(SharedSigningKey::new(key))
    }
}

impl Inner {
    fn key(&self) -> Result<Pkcs11Key, Error> {
        // Held throughout, so that of callers in this process one makes the key.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = current.as_ref() {
            match key.is_there() {
                Ok(()) => return Ok(key.clone()),
                Err(Failure::Gone) => *current = None,
                Err(failure) => return Err(failure.into()),
            }
        }
        let key = self.find_or_make()?;
        *current = Some(key.clone());
        Ok(key)
    }

    fn find_or_make(&self) -> Outcome<Pkcs11Key> {
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.token.open(Access::Read)?;
        let found = match self.wanted.find(&session)? {
            Some(found) => found,
            None => {
                self.wanted.make(&self.token.open(Access::Write)?)?;
                tracing::info!("made a key on the PKCS#11 token");
                let lost =
                    || known("key_creation_failed", "the key that the PKCS#11 token made is not there");
                self.wanted.find(&session)?.ok_or_else(|| Failure::Known(lost()))?
            }
        };
        let (token, algorithm) = (Arc::clone(&self.token), self.wanted.algorithm);
        Pkcs11Key::new(token, algorithm, session, found, self.in_hardware)
    }
}

impl fmt::Debug for Pkcs11Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Keys").field("token", &self.0.token).finish_non_exhaustive()
    }
}
