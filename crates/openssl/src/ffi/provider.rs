//! A provider of OpenSSL 3 for keys that sign elsewhere (`provider(7)`).
//!
//! It exports no key, so OpenSSL uses its signatures and not those of the default provider.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl_sys::EVP_PKEY;

use super::dispatch::{Dispatch, NO_FUNCTION, Table, entry};
use super::key_management::{EC, EC_KEY_FUNCTIONS, PendingKey, RSA, RSA_KEY_FUNCTIONS};
use super::params::{END, Param};
use super::signature::SIGNATURE_FUNCTIONS;
use crate::key::{OpensslKey, PublicParts};

/// `OSSL_LIB_CTX`
#[repr(C)]
pub(super) struct LibraryContext {
    _private: [u8; 0],
}

/// `OSSL_ALGORITHM`
#[repr(C)]
struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    implementation: *const Dispatch,
    description: *const c_char,
}

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
}

type Init =
    unsafe extern "C" fn(*const c_void, *const Dispatch, *mut *const Dispatch, *mut *mut c_void) -> c_int;

const PROVIDER: &CStr = c"symbolon";
const PROPERTIES: &CStr = c"provider=symbolon";

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

static PROVIDER_FUNCTIONS: Table<Dispatch, 2> = Table([
    entry!(1027, query_operation, fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm),
    NO_FUNCTION,
]);
