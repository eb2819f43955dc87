//! Parameters of OpenSSL (`OSSL_PARAM(3)`).

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::ptr;

pub(super) const INTEGER: c_uint = 1;
pub(super) const UNSIGNED_INTEGER: c_uint = 2;
pub(super) const UTF8_STRING: c_uint = 4;
pub(super) const OCTET_STRING: c_uint = 5;

/// `OSSL_PARAM`
#[repr(C)]
pub(super) struct Param {
    pub(super) key: *const c_char,
    pub(super) data_type: c_uint,
    pub(super) data: *mut c_void,
    pub(super) data_size: usize,
    pub(super) return_size: usize,
}

pub(super) const END: Param =
    Param { key: ptr::null(), data_type: 0, data: ptr::null_mut(), data_size: 0, return_size: 0 };

pub(super) const fn described(key: &'static CStr, data_type: c_uint) -> Param {
    Param { key: key.as_ptr(), data_type, data: ptr::null_mut(), data_size: 0, return_size: usize::MAX }
}

impl Param {
    /// # Safety
    /// The name and the data are valid.
    pub(super) unsafe fn is(&self, name: &CStr) -> bool {
        // SAFETY: the caller's.
        unsafe { CStr::from_ptr(self.key) == name }
    }

    /// # Safety
    /// The data is valid.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
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
    pub(super) unsafe fn number(&self) -> Vec<u8> {
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
    pub(super) unsafe fn text(&self) -> String {
        // SAFETY: the caller's.
        String::from_utf8_lossy(unsafe { self.bytes() }).trim_end_matches('\0').to_owned()
    }
}

/// Iterates over parameters until the empty one.
///
/// # Safety
/// `params` is null, or points to valid parameters that end with an empty one.
pub(super) unsafe fn params_of<'a>(params: *const Param) -> impl Iterator<Item = &'a Param> {
    let mut next = params;
    std::iter::from_fn(move || {
        // SAFETY: the caller's.
        let param = unsafe { next.as_ref() }.filter(|param| !param.key.is_null())?;
        next = next.wrapping_add(1);
        Some(param)
    })
}
