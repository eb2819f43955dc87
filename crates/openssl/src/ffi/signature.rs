//! Signatures of the provider (`provider-signature(7)`), which are those of whole messages.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::ptr;
use std::sync::Arc;

use super::dispatch::{Dispatch, NO_FUNCTION, Table, entry};
use super::key_management::KeyData;
use super::params::{END, Param, UTF8_STRING, described, params_of};
use crate::key::{Digest, OpensslKey};

/// A signature that is being made.
#[derive(Default)]
pub(super) struct Signature {
    key: Option<Arc<OpensslKey>>,
    digest: Option<Digest>,
    is_pss: bool,
}

pub(super) static SIGNATURE_FUNCTIONS: Table<Dispatch, 7> = Table([
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
