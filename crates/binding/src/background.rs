//! Work that takes too long for a thread that polls futures.

use symbolon_types::{Error, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs what blocks (making a key, asking a device, writing a file) on Tokio's blocking pool, or on a
/// thread of its own where there is no Tokio runtime.
///
/// Work that has begun goes on to its end, also when nobody waits for it any more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), symbolon_binding::Error> {
/// let sum = symbolon_binding::off_the_async_threads(|| (1..=100).sum::<u32>()).await?;
/// assert_eq!(sum, 5050);
/// # Ok(()) }
/// ```
///
/// # Errors
/// `work_failed` when no thread could be started, when the work panicked, or when the runtime ended
/// before it began.
pub async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if let Ok(runtime) = Handle::try_current() {
        // The message of a panic is not for a log.
        return runtime.spawn_blocking(work).await.map_err(|_| failed());
    }
    let (give, given) = oneshot::channel();
    let thread = std::thread::Builder::new().name("symbolon".into());
    // Whoever stopped waiting has no use for the outcome.
    let spawned = thread.spawn(move || drop(give.send(work())));
    spawned.map_err(|error| failed().with_source(error))?;
    given.await.map_err(|error| failed().with_source(error))
}

fn failed() -> Error {
    Error::new(ErrorKind::Environment, "work_failed", "could not finish work on a thread of its own")
        .with_advice("check whether this machine can start threads")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_not_a_panic() {
        let outcome = off_the_async_threads(|| -> u8 { panic!("in the test") }).await;
        assert_eq!(outcome.unwrap_err().code(), "work_failed");
    }

    #[test]
    fn work_is_done_without_a_runtime() {
        let mut work = Box::pin(off_the_async_threads(|| 5));
        let done = loop {
            match (&mut work).now_or_never() {
                Some(done) => break done,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(done.unwrap(), 5);
    }
}
