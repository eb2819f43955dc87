//! A provider of OpenSSL 3 for keys that sign elsewhere (`provider-keymgmt(7)`,
//! `provider-signature(7)`).
//!
//! It has the key types RSA and EC without their private halves, and signatures of whole messages.
//! It exports no key, so OpenSSL uses its signatures and not those of the default provider.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl_sys::EVP_PKEY;

use crate::key::{Digest, OpensslKey, PublicParts};

/// `OSSL_LIB_CTX`
#[repr(C)]
pub(super) struct LibraryContext {
    _private: [u8; 0],
}

/// `OSSL_DISPATCH`
#[repr(C)]
struct Dispatch {
    id: c_int,
    function: Option<Function>,
}

/// `OSSL_ALGORITHM`
#[repr(C)]
struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    implementation: *const Dispatch,
    description: *const c_char,
}

/// `OSSL_PARAM`
#[repr(C)]
struct Param {
    key: *const c_char,
    data_type: c_uint,
    data: *mut c_void,
    data_size: usize,
    return_size: usize,
}

/// A table for OpenSSL, which ends with an empty entry.
struct Table<T, const N: usize>([T; N]);

// SAFETY: the tables are constants, and their pointers are to constants.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

type Function = unsafe extern "C" fn();
type PkeyContext = c_void;

unsafe extern "C" {
    fn OSSL_LIB_CTX_new() -> *mut LibraryContext;
    fn OSSL_PROVIDER_add_builtin(
        library: *mut LibraryContext,
        name: *const c_char,
        init: Option<Init>,
    ) -> c_int;
    fn OSSL_PROVIDER_load(library: *mut LibraryContext, name: *const c_char) -> *mut c_void;
    fn EVP_set_default_properties(library: *mut LibraryContext, properties: *const c_char) -> c_int;
    fn EVP_PKEY_CTX_new_from_name(
        library: *mut LibraryContext,
        name: *const c_char,
        properties: *const c_char,
    ) -> *mut PkeyContext;
    fn EVP_PKEY_CTX_free(context: *mut PkeyContext);
    fn EVP_PKEY_fromdata_init(context: *mut PkeyContext) -> c_int;
    fn EVP_PKEY_fromdata(
        context: *mut PkeyContext,
        key: *mut *mut EVP_PKEY,
        selection: c_int,
        params: *mut Param,
    ) -> c_int;
    fn OSSL_PARAM_set_int(param: *mut Param, value: c_int) -> c_int;
    fn OSSL_PARAM_set_utf8_string(param: *mut Param, value: *const c_char) -> c_int;
}

type Init =
    unsafe extern "C" fn(*const c_void, *const Dispatch, *mut *const Dispatch, *mut *mut c_void) -> c_int;

const PROVIDER: &CStr = c"symbolon";
const PROPERTIES: &CStr = c"provider=symbolon";
const RSA: &CStr = c"RSA";
const EC: &CStr = c"EC";
/// The parameter with the number of a pending key.
const KEY_NUMBER: &CStr = c"symbolon-key";

const INTEGER: c_uint = 1;
const UNSIGNED_INTEGER: c_uint = 2;
const UTF8_STRING: c_uint = 4;
const OCTET_STRING: c_uint = 5;

const SELECT_PRIVATE_KEY: c_int = 0x01;
const SELECT_KEY_PAIR: c_int = 0x03;
const SELECT_ALL: c_int = 0x87;

const OPERATION_KEY_MANAGEMENT: c_int = 10;
const OPERATION_SIGNATURE: c_int = 12;

/// The library context of this crate. It is created once and never freed, because connections may
/// outlive everything else.
struct Library(*mut LibraryContext);

// SAFETY: a library context of OpenSSL may be used by several threads (`OSSL_LIB_CTX(3)`).
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// Returns the library context, with the default provider and that of this module.
pub(super) fn library() -> Result<*mut LibraryContext, ErrorStack> {
    static LIBRARY: OnceLock<Result<Library, ErrorStack>> = OnceLock::new();
    // SAFETY: the strings are constants, and the function is of the required type.
    let library = LIBRARY.get_or_init(|| unsafe {
        let library = OSSL_LIB_CTX_new();
        let is_ready = !library.is_null()
            && OSSL_PROVIDER_add_builtin(library, PROVIDER.as_ptr(), Some(init)) == 1
            && !OSSL_PROVIDER_load(library, c"default".as_ptr()).is_null()
            && !OSSL_PROVIDER_load(library, PROVIDER.as_ptr()).is_null()
            // Keys of servers belong to the default provider.
            && EVP_set_default_properties(library, c"?provider=default".as_ptr()) == 1;
        if is_ready { Ok(Library(library)) } else { Err(ErrorStack::get()) }
    });
    library.as_ref().map(|library| library.0).map_err(Clone::clone)
}

/// Returns a key of OpenSSL that signs with this key.
pub(crate) fn private_key(key: &Arc<OpensslKey>) -> Result<PKey<Private>, ErrorStack> {
    let library = library()?;
    let name = match key.public {
        PublicParts::Rsa { .. } => RSA,
        PublicParts::Ec { .. } => EC,
    };
    let mut number = PendingKey::new(Arc::clone(key));
    let mut params = [number.param(), END];
    let mut made = ptr::null_mut();
    // SAFETY: the context is freed below; the parameters end with an empty one and are valid during
    // the call; a successful call makes an owned key.
    unsafe {
        let context = EVP_PKEY_CTX_new_from_name(library, name.as_ptr(), PROPERTIES.as_ptr());
        let is_made = !context.is_null()
            && EVP_PKEY_fromdata_init(context) == 1
            && EVP_PKEY_fromdata(context, &raw mut made, SELECT_ALL, params.as_mut_ptr()) == 1;
        EVP_PKEY_CTX_free(context);
        if is_made && !made.is_null() { Ok(PKey::from_ptr(made)) } else { Err(ErrorStack::get()) }
    }
}

/// A key on its way into OpenSSL, which takes it by its number.
struct PendingKey(u64);

static PENDING: OnceLock<Mutex<HashMap<u64, Arc<OpensslKey>>>> = OnceLock::new();
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

fn pending() -> MutexGuard<'static, HashMap<u64, Arc<OpensslKey>>> {
    PENDING.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl PendingKey {
    fn new(key: Arc<OpensslKey>) -> Self {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        pending().insert(number, key);
        Self(number)
    }

    fn param(&mut self) -> Param {
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

const END: Param =
    Param { key: ptr::null(), data_type: 0, data: ptr::null_mut(), data_size: 0, return_size: 0 };

const fn described(key: &'static CStr, data_type: c_uint) -> Param {
    Param { key: key.as_ptr(), data_type, data: ptr::null_mut(), data_size: 0, return_size: usize::MAX }
}

impl Param {
    /// # Safety
    /// The name and the data are valid.
    unsafe fn is(&self, name: &CStr) -> bool {
        // SAFETY: the caller's.
        unsafe { CStr::from_ptr(self.key) == name }
    }

    /// # Safety
    /// The data is valid.
    unsafe fn bytes(&self) -> &[u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.data_size) }
    }

    /// Returns a number as big-endian bytes without leading zeros.
    ///
    /// # Safety
    /// The data is valid.
    unsafe fn number(&self) -> Vec<u8> {
        // SAFETY: the caller's.
        let mut bytes = unsafe { self.bytes() }.to_vec();
        if cfg!(target_endian = "little") {
            bytes.reverse();
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.split_off(zeros)
    }

    /// Returns a text, which may end with a NUL.
    ///
    /// # Safety
    /// The data is valid.
    unsafe fn text(&self) -> String {
        // SAFETY: the caller's.
        String::from_utf8_lossy(unsafe { self.bytes() }).trim_end_matches('\0').to_owned()
    }
}

/// Iterates over parameters until the empty one.
///
/// # Safety
/// `params` is null, or points to valid parameters that end with an empty one.
unsafe fn params_of<'a>(params: *const Param) -> impl Iterator<Item = &'a Param> {
    let mut next = params;
    std::iter::from_fn(move || {
        // SAFETY: the caller's.
        let param = unsafe { next.as_ref() }.filter(|param| !param.key.is_null())?;
        next = next.wrapping_add(1);
        Some(param)
    })
}

// The provider.

unsafe extern "C" fn init(
    handle: *const c_void,
    _core: *const Dispatch,
    functions: *mut *const Dispatch,
    context: *mut *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes valid places. The context is not used; it must not be null.
    unsafe {
        *functions = PROVIDER_FUNCTIONS.0.as_ptr();
        *context = handle.cast_mut();
    }
    1
}

unsafe extern "C" fn query_operation(
    _context: *mut c_void,
    operation: c_int,
    no_store: *mut c_int,
) -> *const Algorithm {
    // SAFETY: OpenSSL passes a valid place.
    unsafe { *no_store = 0 };
    match operation {
        OPERATION_KEY_MANAGEMENT => KEY_TYPES.0.as_ptr(),
        OPERATION_SIGNATURE => SIGNATURES.0.as_ptr(),
        _ => ptr::null(),
    }
}

const fn algorithm(names: &'static CStr, implementation: &'static [Dispatch]) -> Algorithm {
    Algorithm {
        names: names.as_ptr(),
        properties: PROPERTIES.as_ptr(),
        implementation: implementation.as_ptr(),
        description: ptr::null(),
    }
}

const NO_ALGORITHM: Algorithm = Algorithm {
    names: ptr::null(),
    properties: ptr::null(),
    implementation: ptr::null(),
    description: ptr::null(),
};

static KEY_TYPES: Table<Algorithm, 3> = Table([
    algorithm(c"RSA:rsaEncryption:1.2.840.113549.1.1.1", &RSA_KEY_FUNCTIONS.0),
    algorithm(c"EC:id-ecPublicKey:1.2.840.10045.2.1", &EC_KEY_FUNCTIONS.0),
    NO_ALGORITHM,
]);

static SIGNATURES: Table<Algorithm, 3> = Table([
    algorithm(c"RSA:rsaEncryption:1.2.840.113549.1.1.1", &SIGNATURE_FUNCTIONS.0),
    algorithm(c"ECDSA", &SIGNATURE_FUNCTIONS.0),
    NO_ALGORITHM,
]);

/// An entry of a table: the number of a function, the function, and its type, which belongs to the
/// number.
macro_rules! entry {
    ($id:expr, $function:expr, fn($($argument:ty),*) $(-> $result:ty)?) => {
        Dispatch {
            id: $id,
            // SAFETY: OpenSSL casts the function back to its type.
            function: Some(unsafe {
                transmute::<unsafe extern "C" fn($($argument),*) $(-> $result)?, Function>($function)
            }),
        }
    };
}

const NO_FUNCTION: Dispatch = Dispatch { id: 0, function: None };

static PROVIDER_FUNCTIONS: Table<Dispatch, 2> = Table([
    entry!(1027, query_operation, fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm),
    NO_FUNCTION,
]);

// Key types.

/// A key as OpenSSL holds it.
enum KeyData {
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

static RSA_KEY_FUNCTIONS: Table<Dispatch, 10> = key_functions!(rsa_operation_name);
static EC_KEY_FUNCTIONS: Table<Dispatch, 10> = key_functions!(ec_operation_name);

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
                let Ok(group) = std::ffi::CString::new(group.as_str()) else { return 0 };
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

// Signatures.

/// A signature that is being made.
#[derive(Default)]
struct Signature {
    key: Option<Arc<OpensslKey>>,
    digest: Option<Digest>,
    is_pss: bool,
}

static SIGNATURE_FUNCTIONS: Table<Dispatch, 7> = Table([
    entry!(1, signature_new, fn(*mut c_void, *const c_char) -> *mut Signature),
    entry!(8, digest_sign_init, fn(*mut Signature, *const c_char, *const KeyData, *const Param) -> c_int),
    entry!(
        11,
        digest_sign,
        fn(*mut Signature, *mut c_uchar, *mut usize, usize, *const c_uchar, usize) -> c_int
    ),
    entry!(16, signature_free, fn(*mut Signature)),
    entry!(20, set_signature_params, fn(*mut Signature, *const Param) -> c_int),
    entry!(21, settable_signature_params, fn(*mut Signature, *mut c_void) -> *const Param),
    NO_FUNCTION,
]);

static SIGNATURE_PARAMS: Table<Param, 3> =
    Table([described(c"pad-mode", UTF8_STRING), described(c"saltlen", UTF8_STRING), END]);

unsafe extern "C" fn signature_new(_context: *mut c_void, _properties: *const c_char) -> *mut Signature {
    Box::into_raw(Box::default())
}

unsafe extern "C" fn signature_free(signature: *mut Signature) {
    if !signature.is_null() {
        // SAFETY: it was made by `signature_new` and is freed once.
        drop(unsafe { Box::from_raw(signature) });
    }
}

unsafe extern "C" fn digest_sign_init(
    signature: *mut Signature,
    digest: *const c_char,
    key: *const KeyData,
    params: *const Param,
) -> c_int {
    // SAFETY: OpenSSL passes values of `signature_new` and `key_new`, and a text or null.
    let (Some(state), key) = (unsafe { (signature.as_mut(), key.as_ref()) }) else { return 0 };
    if let Some(KeyData::Signing(key)) = key {
        state.key = Some(Arc::clone(key));
    }
    state.digest = match digest.is_null() {
        true => Some(Digest::Sha256),
        // SAFETY: as above.
        false => unsafe { CStr::from_ptr(digest) }.to_str().ok().and_then(Digest::of_name),
    };
    if state.key.is_none() || state.digest.is_none() {
        return 0;
    }
    // SAFETY: the arguments are those of OpenSSL.
    unsafe { set_signature_params(signature, params) }
}

unsafe extern "C" fn set_signature_params(signature: *mut Signature, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes a value of `signature_new`.
    let Some(signature) = (unsafe { signature.as_mut() }) else { return 0 };
    // SAFETY: OpenSSL passes valid parameters that end with an empty one. The length of the salt is
    // always that of the digest (RFC 8446 §4.2.3).
    unsafe {
        for param in params_of(params) {
            if param.is(c"pad-mode") {
                signature.is_pss = match param.data_type {
                    UTF8_STRING => param.text() == "pss",
                    // `RSA_PKCS1_PSS_PADDING`
                    _ => param.number() == [6],
                };
            }
        }
    }
    1
}

unsafe extern "C" fn settable_signature_params(
    _signature: *mut Signature,
    _context: *mut c_void,
) -> *const Param {
    SIGNATURE_PARAMS.0.as_ptr()
}

/// Signs a message, or returns the size of a signature if `output` is null.
unsafe extern "C" fn digest_sign(
    signature: *mut Signature,
    output: *mut c_uchar,
    length: *mut usize,
    capacity: usize,
    message: *const c_uchar,
    message_length: usize,
) -> c_int {
    // SAFETY: OpenSSL passes a value of `signature_new`.
    let Some(Signature { key: Some(key), digest: Some(digest), is_pss }) = (unsafe { signature.as_ref() })
    else {
        return 0;
    };
    if output.is_null() {
        // SAFETY: OpenSSL passes a valid place.
        unsafe { *length = usize::try_from(key.max_size).unwrap_or_default() };
        return 1;
    }
    // SAFETY: OpenSSL passes a message of this length.
    let message = unsafe { std::slice::from_raw_parts(message, message_length) };
    match key.sign(*digest, *is_pss, message) {
        Some(signed) if signed.len() <= capacity => {
            // SAFETY: the output has this capacity.
            unsafe {
                ptr::copy_nonoverlapping(signed.as_ptr(), output, signed.len());
                *length = signed.len();
            }
            1
        }
        _ => 0,
    }
}
