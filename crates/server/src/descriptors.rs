//! The file descriptors of the process.

use std::error::Error;
use std::io;

/// Returns the maximum number of open files of this process.
pub(crate) fn descriptor_limit() -> usize {
    #[cfg(unix)]
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(limit).unwrap_or(usize::MAX);
    }
    usize::MAX
}

/// Raises the limit of open files of this process to the highest that it may set. Does nothing
/// where that fails.
pub fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let maximum = getrlimit(Resource::Nofile).maximum;
        let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Returns true if a system call failed for lack of file descriptors, in this process or on the
/// machine.
pub fn lacks_descriptors(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io_error = error.downcast_ref::<io::Error>();
        if io_error.and_then(io::Error::raw_os_error).is_some_and(is_descriptor_limit) {
            return true;
        }
        // `source` skips the error that an `io::Error` wraps.
        next = match io_error.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

#[cfg(unix)]
fn is_descriptor_limit(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| errno.raw_os_error() == code)
}

#[cfg(not(unix))]
fn is_descriptor_limit(code: i32) -> bool {
    // WSAEMFILE
    code == 10_024
}
