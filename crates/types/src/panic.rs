//! Panics as errors.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::{Error, ErrorKind};

/// Runs a function; a panic in it becomes the error `panicked`, whose summary names `component`.
///
/// The message of the panic may contain a secret, so the error omits it. The panic hook of the
/// process has already printed it.
///
/// # Errors
/// `panicked`.
pub fn catch_panic<T>(component: &'static str, run: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        Error::new(ErrorKind::Environment, "panicked", format!("{component} panicked"))
            .with_advice("read the message of the panic on standard error, and correct its cause")
    })
}

/// Starts and runs a future; a panic in either becomes the error `panicked`, as in
/// [`catch_panic`].
///
/// # Errors
/// `panicked`.
pub async fn catch_panic_of<F: Future>(
    component: &'static str,
    start: impl FnOnce() -> F,
) -> Result<F::Output, Error> {
    let mut future = pin!(catch_panic(component, start)?);
    poll_fn(|context| match catch_panic(component, || future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn panic_is_an_error_without_its_message() {
        let function = catch_panic("the plug-in", || -> u8 { panic!("s3cr3t") });
        let start = || -> Ready<u8> { panic!("s3cr3t") };
        let start = catch_panic_of("the plug-in", start).now_or_never().unwrap();
        let future = catch_panic_of("the plug-in", || async { panic!("s3cr3t") });
        let future: Result<u8, Error> = future.now_or_never().unwrap();
        for error in [function.unwrap_err(), start.unwrap_err(), future.unwrap_err()] {
            assert_eq!((error.code(), error.kind()), ("panicked", ErrorKind::Environment));
            assert!(error.to_string().starts_with("the plug-in panicked; read "), "{error}");
            assert!(!format!("{error:?}").contains("s3cr3t"));
        }
        assert_eq!(catch_panic_of("the plug-in", || async { 1 }).now_or_never().unwrap().unwrap(), 1);
    }
}
