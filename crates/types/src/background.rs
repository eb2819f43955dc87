//! Work that no caller waits for.

use std::future::Future;

/// Runs a future in the background of the current Tokio runtime, or hands it back where there is
/// none, so that the caller drives it itself.
pub(crate) fn spawn<F>(future: F) -> Result<(), F>
where
    F: Future<Output = ()> + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            drop(runtime.spawn(future));
            Ok(())
        }
        Err(_) => Err(future),
    }
}
