//! Errors of OpenSSL as those of rustls.

use std::io;

use openssl::error::ErrorStack;
use openssl::ssl::Error as SslError;
use symbolon_rustls::rustls::{AlertDescription, Error as RustlsError};

/// The offset of alerts among the reasons (`SSL_AD_REASON_OFFSET`).
const ALERTS: i32 = 1000;
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`: the connection ended without `close_notify`.
const UNEXPECTED_EOF: i32 = 294;

/// Returns the error of a TLS operation as one of the network or of rustls.
pub(crate) fn of_operation(error: SslError) -> io::Error {
    let error = match error.into_io_error() {
        Ok(io) => return of_stream(io),
        Err(error) => error,
    };
    match error.ssl_error() {
        Some(stack) => of_stack(stack),
        None => io::ErrorKind::UnexpectedEof.into(),
    }
}

/// Returns the error of a stream, which may contain one of OpenSSL.
pub(crate) fn of_stream(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<SslError>()) {
        Some(ssl) => ssl.ssl_error().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), of_stack),
        None => error,
    }
}

fn of_stack(stack: &ErrorStack) -> io::Error {
    let reasons = || stack.errors().iter().map(openssl::error::Error::reason_code);
    if let Some(alert) = reasons().find_map(|reason| u8::try_from(reason - ALERTS).ok()) {
        return of_rustls(RustlsError::AlertReceived(AlertDescription::from(alert)));
    }
    if reasons().any(|reason| reason == UNEXPECTED_EOF) {
        return io::ErrorKind::UnexpectedEof.into();
    }
    let texts: Vec<&str> = stack.errors().iter().filter_map(openssl::error::Error::reason).collect();
    of_rustls(RustlsError::General(format!("OpenSSL: {}", texts.join(", "))))
}

/// Wraps an error as rustls itself does.
pub(crate) fn of_rustls(error: RustlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
