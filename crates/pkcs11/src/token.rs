//! The way to a token: its module, its slot, its PIN.

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

use crate::failure::{Doing, Failure, Outcome, known};

/// Modules are initialized once for the process, and most crash when two threads do it at the same
/// time: PKCS#11 has no lock to take before that.
static INITIALIZATION: Mutex<()> = Mutex::new(());

/// Which token.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Only,
    Label(String),
    Serial(String),
}

pub(crate) struct Token {
    module: PathBuf,
    choice: Choice,
    pin: Option<Secret>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    module: Option<Pkcs11>,
    /// Tokens count wrong PINs and lock themselves after a few.
    is_pin_refused: bool,
}

/// What a session is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Token {
    pub(crate) fn new(module: PathBuf, choice: Choice, pin: Option<Secret>) -> Self {
        Self { module, choice, pin, state: Mutex::default() }
    }

    /// A new session in which the user is logged in. The token is looked for anew: it may be in
    /// another slot than before.
    pub(crate) fn open(&self, access: Access) -> Outcome<Session> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = self.module(&mut state)?;
        let (slot, info) = self.find(&module)?;
        let session = match access {
            Access::Read => module.open_ro_session(slot),
            Access::Write => module.open_rw_session(slot),
        };
        let session = session.doing("open a session")?;
        self.log_in(&session, &info, &mut state)?;
        Ok(session)
    }

    /// Whether the token knows a mechanism.
    pub(crate) fn knows(&self, mechanism: MechanismType) -> Outcome<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let module = self.module(&mut state)?;
        let (slot, _) = self.find(&module)?;
        let known = module.get_mechanism_list(slot).doing("list its mechanisms")?;
        Ok(known.contains(&mechanism))
    }

    fn module(&self, state: &mut MutexGuard<'_, State>) -> Outcome<Pkcs11> {
        if let Some(module) = &state.module {
            return Ok(module.clone());
        }
        let _alone = INITIALIZATION.lock().unwrap_or_else(PoisonError::into_inner);
        let module = Pkcs11::new(&self.module).map_err(|error| self.unusable(error))?;
        // Never unloaded: it may have threads that run its code, and others in this process may use it.
        std::mem::forget(module.clone());
        self.initialize(&module)?;
        Ok(state.module.insert(module).clone())
    }

    fn initialize(&self, module: &Pkcs11) -> Outcome<()> {
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // By somebody else in this process.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(error) => Err(self.unusable(error)),
        }
    }

    /// The token, wherever it is now. Who else uses the module in this process may have finalized it.
    fn find(&self, module: &Pkcs11) -> Outcome<(Slot, TokenInfo)> {
        match self.look_for(module) {
            Err(failure) if failure.code() == Some(RvError::CryptokiNotInitialized) => {
                let alone = INITIALIZATION.lock().unwrap_or_else(PoisonError::into_inner);
                self.initialize(module)?;
                drop(alone);
                self.look_for(module)
            }
            outcome => outcome,
        }
    }

    fn look_for(&self, module: &Pkcs11) -> Outcome<(Slot, TokenInfo)> {
        let slots = module.get_slots_with_token().doing("list its slots")?;
        let mut found = Vec::new();
        for slot in slots {
            // Pulled out since, or not readable: not ours.
            let Ok(info) = module.get_token_info(slot) else { continue };
            let is_chosen = match &self.choice {
                Choice::Only => info.token_initialized(),
                Choice::Label(label) => info.label() == label,
                Choice::Serial(serial) => info.serial_number() == serial,
            };
            if is_chosen {
                found.push((slot, info));
            }
        }
        match <[_; 1]>::try_from(found) {
            Ok([found]) => Ok(found),
            Err(found) => Err(self.not_found(found.len())),
        }
    }

    fn log_in(&self, session: &Session, info: &TokenInfo, state: &mut MutexGuard<'_, State>) -> Outcome<()> {
        let pin = match &self.pin {
            Some(pin) => Some(AuthPin::from(pin.expose())),
            None if info.protected_authentication_path() => None,
            None if !info.login_required() => return Ok(()),
            None => {
                let error = known("pin_required", "the PKCS#11 token requires a log-in")
                    .with_advice("give the PIN of its user");
                return Err(Failure::Known(error));
            }
        };
        if pin.is_some() {
            let why = if state.is_pin_refused {
                Some("the token refused this PIN before; it is not tried again: give the right one")
            } else if info.user_pin_locked() {
                Some(
                    "the token is locked after too many wrong PINs: unlock it with the PIN of its security officer",
                )
            } else if info.user_pin_final_try() {
                Some(
                    "one more wrong PIN would lock the token, so none is tried: log in by hand with the right one",
                )
            } else {
                None
            };
            if let Some(advice) = why {
                return Err(Failure::Known(pin_refused().with_advice(advice)));
            }
        }
        match session.login(UserType::User, pin.as_ref()) {
            // By another session of this process.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) if is_about_the_pin(&error) => {
                state.is_pin_refused = true;
                let advice = "give the PIN of the token's user; it is not tried again";
                Err(Failure::Known(pin_refused().with_advice(advice).with_source(error)))
            }
            Err(error) => Err(error).doing("log in"),
        }
    }

    fn unusable(&self, error: ModuleError) -> Failure {
        let summary = format!("could not use the PKCS#11 module {}", self.module.display());
        Failure::Known(
            known("pkcs11_module_unusable", summary)
                .with_advice("name the shared library that its maker provides")
                .with_source(error),
        )
    }

    fn not_found(&self, count: usize) -> Failure {
        let by = match &self.choice {
            Choice::Only => "",
            Choice::Label(_) => " with this label",
            Choice::Serial(_) => " with this serial number",
        };
        let error = if count == 0 {
            known("token_not_found", format!("the PKCS#11 module has no token{by}"))
                .with_advice("check that it is plugged in and initialized; `pkcs11-tool -L` lists tokens")
        } else {
            known("token_ambiguous", format!("the PKCS#11 module has {count} tokens{by}"))
                .with_advice("name one by its serial number; `pkcs11-tool -L` lists them")
        };
        Failure::Known(error)
    }
}

fn pin_refused() -> symbolon_types::Error {
    known("pin_refused", "the PKCS#11 token does not let its user log in")
}

fn is_about_the_pin(error: &ModuleError) -> bool {
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("module", &self.module)
            .field("choice", &self.choice)
            .finish_non_exhaustive()
    }
}
