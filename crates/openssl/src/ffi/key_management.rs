//! Keys of the provider (`provider-keymgmt(7)`): RSA and EC, without their private halves.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::dispatch::{Dispatch, NO_FUNCTION, Table, entry};
use super::params::{END, INTEGER, OCTET_STRING, Param, UNSIGNED_INTEGER, UTF8_STRING, described, params_of};
use crate::key::{OpensslKey, PublicParts};

unsafe extern "C" {
    fn OSSL_PARAM_set_int(param: *mut Param, value: c_int) -> c_int;
    fn OSSL_PARAM_set_utf8_string(param: *mut Param, value: *const c_char) -> c_int;
}

pub(super) const RSA: &CStr = c"RSA";
pub(super) const EC: &CStr = c"EC";
/// The parameter with the number of a pending key.
const KEY_NUMBER: &CStr = c"symbolon-key";

const SELECT_PRIVATE_KEY: c_int = 0x01;
const SELECT_KEY_PAIR: c_int = 0x03;

/// A key on its way into OpenSSL, which takes it by its number.
pub(super) struct PendingKey(u64);

static PENDING: OnceLock<Mutex<HashMap<u64, Arc<OpensslKey>>>> = OnceLock::new();
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

fn pending() -> MutexGuard<'static, HashMap<u64, Arc<OpensslKey>>> {
    PENDING.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl PendingKey {
    pub(super) fn new(key: Arc<OpensslKey>) -> Self {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        pending().insert(number, key);
        Self(number)
    }

    pub(super) fn param(&mut self) -> Param {
        Param {
            key: KEY_NUMBER.as_ptr(),
            data_type: OCTET_STRING,
            data: (&raw mut self.0).cast(),
            data_size: size_of::<u64>(),
            return_size: usize::MAX,
        }
    }
}

impl Drop for PendingKey {
    fn drop(&mut self) {
        pending().remove(&self.0);
    }
}

/// A key as OpenSSL holds it.
pub(super) enum KeyData {
    Empty,
    Signing(Arc<OpensslKey>),
    /// A key of a certificate, to be compared.
    Public(PublicParts),
}

impl KeyData {
    fn public(&self) -> Option<&PublicParts> {
        match self {
            Self::Empty => None,
            Self::Signing(key) => Some(&key.public),
            Self::Public(parts) => Some(parts),
        }
    }
}

/// The functions of a key type; `name` is that of its signatures.
macro_rules! key_functions {
    ($operation_name:ident) => {
        Table([
            entry!(1, key_new, fn(*mut c_void) -> *mut KeyData),
            entry!(10, key_free, fn(*mut KeyData)),
            entry!(11, key_get_params, fn(*const KeyData, *mut Param) -> c_int),
            entry!(12, key_gettable_params, fn(*mut c_void) -> *const Param),
            entry!(20, $operation_name, fn(c_int) -> *const c_char),
            entry!(21, key_has, fn(*const KeyData, c_int) -> c_int),
            entry!(23, key_match, fn(*const KeyData, *const KeyData, c_int) -> c_int),
            entry!(40, key_import, fn(*mut KeyData, c_int, *const Param) -> c_int),
            entry!(41, key_import_types, fn(c_int) -> *const Param),
            NO_FUNCTION,
        ])
    };
}

pub(super) static RSA_KEY_FUNCTIONS: Table<Dispatch, 10> = key_functions!(rsa_operation_name);
pub(super) static EC_KEY_FUNCTIONS: Table<Dispatch, 10> = key_functions!(ec_operation_name);

static KEY_PARAMS: Table<Param, 5> = Table([
    described(c"bits", INTEGER),
    described(c"security-bits", INTEGER),
    described(c"max-size", INTEGER),
    described(c"group", UTF8_STRING),
    END,
]);

static IMPORTED_PARAMS: Table<Param, 6> = Table([
    described(KEY_NUMBER, OCTET_STRING),
    described(c"n", UNSIGNED_INTEGER),
    described(c"e", UNSIGNED_INTEGER),
    described(c"group", UTF8_STRING),
    described(c"pub", OCTET_STRING),
    END,
]);

unsafe extern "C" fn rsa_operation_name(_operation: c_int) -> *const c_char {
    RSA.as_ptr()
}

unsafe extern "C" fn ec_operation_name(_operation: c_int) -> *const c_char {
    c"ECDSA".as_ptr()
}

unsafe extern "C" fn key_new(_context: *mut c_void) -> *mut KeyData {
    Box::into_raw(Box::new(KeyData::Empty))
}

unsafe extern "C" fn key_free(key: *mut KeyData) {
    if !key.is_null() {
        // SAFETY: it was made by `key_new` and is freed once.
        drop(unsafe { Box::from_raw(key) });
    }
}

unsafe extern "C" fn key_has(key: *const KeyData, selection: c_int) -> c_int {
    // SAFETY: OpenSSL passes a key of `key_new`, or null.
    c_int::from(match unsafe { key.as_ref() } {
        Some(KeyData::Signing(_)) => true,
        Some(KeyData::Public(_)) => selection & SELECT_PRIVATE_KEY == 0,
        Some(KeyData::Empty) | None => false,
    })
}

unsafe extern "C" fn key_match(one: *const KeyData, other: *const KeyData, selection: c_int) -> c_int {
    // SAFETY: OpenSSL passes keys of `key_new`, or null.
    let (one, other) = unsafe { (one.as_ref(), other.as_ref()) };
    let (Some(one), Some(other)) = (one.and_then(KeyData::public), other.and_then(KeyData::public)) else {
        return 0;
    };
    let is_same_group = match (one, other) {
        (PublicParts::Rsa { .. }, PublicParts::Rsa { .. }) => true,
        (PublicParts::Ec { group: one, .. }, PublicParts::Ec { group: other, .. }) => one == other,
        _ => false,
    };
    c_int::from(is_same_group && (selection & SELECT_KEY_PAIR == 0 || one == other))
}

unsafe extern "C" fn key_import(key: *mut KeyData, _selection: c_int, params: *const Param) -> c_int {
    let (mut number, mut n, mut e, mut group, mut point) = (None, None, None, None, None);
    // SAFETY: OpenSSL passes valid parameters that end with an empty one.
    unsafe {
        for param in params_of(params) {
            if param.is(KEY_NUMBER) {
                number = param.bytes().try_into().ok().map(u64::from_ne_bytes);
            } else if param.is(c"n") {
                n = Some(param.number());
            } else if param.is(c"e") {
                e = Some(param.number());
            } else if param.is(c"group") {
                group = Some(param.text());
            } else if param.is(c"pub") {
                point = Some(param.bytes().to_vec());
            }
        }
    }
    let imported = match (number, n, e, group, point) {
        (Some(number), ..) => pending().get(&number).map(|key| KeyData::Signing(Arc::clone(key))),
        (None, Some(n), Some(e), ..) => Some(KeyData::Public(PublicParts::Rsa { n, e })),
        (None, _, _, Some(group), Some(point)) => Some(KeyData::Public(PublicParts::Ec { group, point })),
        _ => None,
    };
    // SAFETY: OpenSSL passes a key of `key_new`.
    match (imported, unsafe { key.as_mut() }) {
        (Some(imported), Some(key)) => {
            *key = imported;
            1
        }
        _ => 0,
    }
}

unsafe extern "C" fn key_import_types(_selection: c_int) -> *const Param {
    IMPORTED_PARAMS.0.as_ptr()
}

unsafe extern "C" fn key_gettable_params(_context: *mut c_void) -> *const Param {
    KEY_PARAMS.0.as_ptr()
}

unsafe extern "C" fn key_get_params(key: *const KeyData, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes a key of `key_new`.
    let Some(KeyData::Signing(key)) = (unsafe { key.as_ref() }) else { return 0 };
    let mut next = params;
    // SAFETY: OpenSSL passes valid parameters that end with an empty one.
    while let Some(param) = unsafe { next.as_mut() }.filter(|param| !param.key.is_null()) {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(param.key) };
        let number = match name.to_bytes() {
            b"bits" => Some(key.bits),
            b"security-bits" => Some(key.security_bits),
            b"max-size" => Some(key.max_size),
            _ => None,
        };
        let is_set = match (number, &key.public) {
            // SAFETY: as above.
            (Some(number), _) => unsafe { OSSL_PARAM_set_int(param, number) == 1 },
            (None, PublicParts::Ec { group, .. }) if name == c"group" => {
                let Ok(group) = CString::new(group.as_str()) else { return 0 };
                // SAFETY: as above; the text is copied.
                unsafe { OSSL_PARAM_set_utf8_string(param, group.as_ptr()) == 1 }
            }
            _ => true,
        };
        if !is_set {
            return 0;
        }
        next = next.wrapping_add(1);
    }
    1
}
