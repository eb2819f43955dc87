//! Connection to a token: module, slot and login.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use symbolon_types::Secret;

use crate::error::{OperationContext, Pkcs11Error, environment_error};
use crate::uri::key_uri;

/// Locked while a module is initialized. That happens once for the process, and most modules crash
/// if two threads do it at the same time.
static INITIALIZATION: Mutex<()> = Mutex::new(());

/// Selection of a token by all properties that are set; without any, of the only initialized one.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenSelector {
    pub(crate) label: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
}

impl TokenSelector {
    fn selects(&self, info: &TokenInfo) -> bool {
        let properties = [
            (&self.label, info.label()),
            (&self.serial, info.serial_number()),
            (&self.manufacturer, info.manufacturer_id()),
            (&self.model, info.model()),
        ];
        let mut set = properties.iter().filter_map(|(expected, found)| Some((expected.as_deref()?, *found)));
        match properties.iter().any(|(expected, _)| expected.is_some()) {
            true => set.all(|(expected, found)| expected == found),
            false => info.token_initialized(),
        }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " with";
        for (name, value) in [
            ("label", &self.label),
            ("serial number", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ] {
            if let Some(value) = value {
                write!(f, "{separator} the {name} `{value}`")?;
                separator = " and";
            }
        }
        Ok(())
    }
}

pub(crate) struct Pkcs11Token {
    module: PathBuf,
    selector: TokenSelector,
    pin: Option<Secret>,
    state: Mutex<ModuleState>,
}

#[derive(Default)]
struct ModuleState {
    module: Option<Pkcs11>,
    /// A token counts wrong PINs and locks itself after a few.
    is_pin_refused: bool,
}

/// Access mode of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionAccess {
    Read,
    Write,
}

impl Pkcs11Token {
    pub(crate) fn new(module: PathBuf, selector: TokenSelector, pin: Option<Secret>) -> Self {
        Self { module, selector, pin, state: Mutex::default() }
    }

    /// Opens a session and logs the user in. The slot is looked up each time, because the token may
    /// have moved.
    pub(crate) fn open(&self, access: SessionAccess) -> Result<Session, Pkcs11Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = self.module(&mut state)?;
        let (slot, info) = self.find(&module)?;
        let session = match access {
            SessionAccess::Read => module.open_ro_session(slot),
            SessionAccess::Write => module.open_rw_session(slot),
        };
        let session = session.context("open a session")?;
        self.log_in(&session, &info, &mut state)?;
        Ok(session)
    }

    /// Returns true if the token supports a mechanism.
    pub(crate) fn supports(&self, mechanism: MechanismType) -> Result<bool, Pkcs11Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = self.module(&mut state)?;
        let (slot, _) = self.find(&module)?;
        let mechanisms = module.get_mechanism_list(slot).context("list its mechanisms")?;
        Ok(mechanisms.contains(&mechanism))
    }

    /// Returns the URI of a key on the token (RFC 7512).
    pub(crate) fn key_uri(&self, id: &[u8]) -> Result<String, Pkcs11Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = self.module(&mut state)?;
        let (_, info) = self.find(&module)?;
        Ok(key_uri(info.label(), info.serial_number(), id, &self.module))
    }

    fn module(&self, state: &mut MutexGuard<'_, ModuleState>) -> Result<Pkcs11, Pkcs11Error> {
        if let Some(module) = &state.module {
            return Ok(module.clone());
        }
        let _exclusive = INITIALIZATION.lock().unwrap_or_else(PoisonError::into_inner);
        let module = Pkcs11::new(&self.module).map_err(|error| self.unusable(error))?;
        // Never unloaded: it may have threads, and other components of this process may use it.
        std::mem::forget(module.clone());
        self.initialize(&module)?;
        Ok(state.module.insert(module).clone())
    }

    fn initialize(&self, module: &Pkcs11) -> Result<(), Pkcs11Error> {
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another component of this process has initialized it.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(error) => Err(self.unusable(error)),
        }
    }

    /// Returns the slot of the token. Initializes the module again if another component of this
    /// process has finalized it.
    fn find(&self, module: &Pkcs11) -> Result<(Slot, TokenInfo), Pkcs11Error> {
        match self.find_slot(module) {
            Err(error) if error.code() == Some(RvError::CryptokiNotInitialized) => {
                let exclusive = INITIALIZATION.lock().unwrap_or_else(PoisonError::into_inner);
                self.initialize(module)?;
                drop(exclusive);
                self.find_slot(module)
            }
            result => result,
        }
    }

    fn find_slot(&self, module: &Pkcs11) -> Result<(Slot, TokenInfo), Pkcs11Error> {
        let slots = module.get_slots_with_token().context("list its slots")?;
        let mut found = Vec::new();
        for slot in slots {
            // Removed meanwhile, or not readable.
            let Ok(info) = module.get_token_info(slot) else { continue };
            if self.selector.selects(&info) {
                found.push((slot, info));
            }
        }
        match <[_; 1]>::try_from(found) {
            Ok([found]) => Ok(found),
            Err(found) => Err(self.not_found(found.len())),
        }
    }

    fn log_in(
        &self,
        session: &Session,
        info: &TokenInfo,
        state: &mut MutexGuard<'_, ModuleState>,
    ) -> Result<(), Pkcs11Error> {
        let pin = match &self.pin {
            Some(pin) => Some(AuthPin::from(pin.expose())),
            None if info.protected_authentication_path() => None,
            None if !info.login_required() => return Ok(()),
            None => {
                let error = environment_error("pin_required", "the PKCS#11 token requires a login")
                    .with_advice("set the PIN of its user");
                return Err(Pkcs11Error::Token(error));
            }
        };
        if pin.is_some() {
            let advice = if state.is_pin_refused {
                Some("the token refused this PIN before, and it is not tried again: set the right PIN")
            } else if info.user_pin_locked() {
                Some(
                    "the token is locked after too many wrong PINs: unlock it with the PIN of the security officer",
                )
            } else if info.user_pin_final_try() {
                Some(
                    "one more wrong PIN would lock the token, so none is tried: log in manually with the right PIN",
                )
            } else {
                None
            };
            if let Some(advice) = advice {
                return Err(Pkcs11Error::Token(pin_refused().with_advice(advice)));
            }
        }
        match session.login(UserType::User, pin.as_ref()) {
            // Another session of this process has logged in.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) if is_pin_error(&error) => {
                state.is_pin_refused = true;
                let advice = "set the PIN of the token's user; this PIN is not tried again";
                Err(Pkcs11Error::Token(pin_refused().with_advice(advice).with_source(error)))
            }
            Err(error) => Err(error).context("log in"),
        }
    }

    fn unusable(&self, error: ModuleError) -> Pkcs11Error {
        let summary = format!("could not use the PKCS#11 module {}", self.module.display());
        Pkcs11Error::Token(
            environment_error("pkcs11_module_unusable", summary)
                .with_advice("set the path of the shared library of the token's vendor")
                .with_source(error),
        )
    }

    fn not_found(&self, count: usize) -> Pkcs11Error {
        let selection = &self.selector;
        let error = if count == 0 {
            environment_error("token_not_found", format!("the PKCS#11 module has no token{selection}"))
                .with_advice("check that it is plugged in and initialized; `pkcs11-tool -L` lists tokens")
        } else {
            environment_error("token_ambiguous", format!("the PKCS#11 module has {count} tokens{selection}"))
                .with_advice("select one by its serial number; `pkcs11-tool -L` lists them")
        };
        Pkcs11Error::Token(error)
    }
}

fn pin_refused() -> symbolon_types::Error {
    environment_error("pin_refused", "the PKCS#11 token refused the login of its user")
}

fn is_pin_error(error: &ModuleError) -> bool {
    matches!(
        error,
        ModuleError::Pkcs11(
            RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked,
            _
        )
    )
}

symbolon_types::debug_fields!(Pkcs11Token: module, selector);
