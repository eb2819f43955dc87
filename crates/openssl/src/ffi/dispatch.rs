//! Tables of functions for OpenSSL (`OSSL_DISPATCH(3)`).

use std::ffi::c_int;

/// `OSSL_DISPATCH`
#[repr(C)]
pub(super) struct Dispatch {
    pub(super) id: c_int,
    pub(super) function: Option<Function>,
}

/// A table for OpenSSL, which ends with an empty entry.
pub(super) struct Table<T, const N: usize>(pub(super) [T; N]);

// SAFETY: the tables are constants, and their pointers are to constants.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

pub(super) type Function = unsafe extern "C" fn();

/// An entry of a table: the number of a function, the function, and its type, which belongs to the
/// number.
macro_rules! entry {
    ($id:expr, $function:expr, fn($($argument:ty),*) $(-> $result:ty)?) => {
        $crate::ffi::dispatch::Dispatch {
            id: $id,
            // SAFETY: OpenSSL casts the function back to its type.
            function: Some(unsafe {
                std::mem::transmute::<
                    unsafe extern "C" fn($($argument),*) $(-> $result)?,
                    $crate::ffi::dispatch::Function,
                >($function)
            }),
        }
    };
}

pub(super) const NO_FUNCTION: Dispatch = Dispatch { id: 0, function: None };

pub(super) use entry;
