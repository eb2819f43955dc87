//! Blocking work outside of the async threads.

use symbolon_types::{Error, ErrorKind, catch_panic};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs blocking work (creating a key, using a device, writing a file) on Tokio's blocking pool, or
/// on a new thread if there is no Tokio runtime.
///
/// Work that has started runs to its end, even if the future is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), symbolon_types::Error> {
/// let sum = symbolon_files::spawn_blocking(|| (1..=100).sum::<u32>()).await?;
/// assert_eq!(sum, 5050);
/// # Ok(()) }
/// ```
///
/// # Errors
/// `work_failed` when no thread can be started, when the work panics, or when the runtime shuts
/// down before the work starts.
pub async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if let Ok(runtime) = Handle::try_current() {
        // Tokio panics when no thread can be started.
        let task = catch_panic("Tokio", || runtime.spawn_blocking(work)).map_err(|_| work_failed())?;
        // Without the source: the message of a panic may contain a secret.
        return task.await.map_err(|_| work_failed());
    }
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("symbolon".into());
    // Sending fails if the caller has stopped waiting.
    let spawned = thread.spawn(move || drop(sender.send(work())));
    spawned.map_err(|error| work_failed().with_source(error))?;
    receiver.await.map_err(|error| work_failed().with_source(error))
}

fn work_failed() -> Error {
    Error::new(ErrorKind::Environment, "work_failed", "could not complete work on a background thread")
        .with_advice("check that this process can start more threads (`ulimit -u`)")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn panicking_work_is_an_error() {
        let result = spawn_blocking(|| -> u8 { panic!("in the test") }).await;
        assert_eq!(result.unwrap_err().code(), "work_failed");
    }

    #[test]
    fn work_runs_without_a_runtime() {
        let mut work = Box::pin(spawn_blocking(|| 5));
        let result = loop {
            match (&mut work).now_or_never() {
                Some(result) => break result,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(result.unwrap(), 5);
    }
}
