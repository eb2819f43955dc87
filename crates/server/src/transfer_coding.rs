//! The check of `Transfer-Encoding`.

use std::fmt;

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, StatusCode};

/// The reason why the transfer codings of a message are refused. hyper decodes `chunked` and
/// ignores the codings before it, so that their octets would be passed on as the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferCodingError {
    /// `chunked` is applied more than once, which no sender may do (RFC 9112 §6.1).
    Repeated,
    /// The codings are not `chunked` alone.
    Unsupported,
}

impl TransferCodingError {
    /// Returns the status of the response to a request (RFC 9112 §6.1).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Repeated => StatusCode::BAD_REQUEST,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Checks the fields of a message, which are one list (RFC 9110 §5.3).
    ///
    /// # Errors
    /// If there is a coding other than one `chunked`.
    pub fn check(headers: &HeaderMap) -> Result<(), Self> {
        let values = headers.get_all(TRANSFER_ENCODING).into_iter();
        let codings = values.flat_map(|value| value.as_bytes().split(|octet| *octet == b','));
        let mut count = 0;
        for coding in codings {
            if !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Self::Unsupported);
            }
            count += 1;
        }
        if count > 1 { Err(Self::Repeated) } else { Ok(()) }
    }
}

impl fmt::Display for TransferCodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => "the message has the transfer coding chunked more than once",
            Self::Unsupported => "the message has a transfer coding other than chunked",
        })
    }
}

impl std::error::Error for TransferCodingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_alone_is_accepted() {
        let check = |values: &[&str]| {
            let fields = values.iter().map(|value| (TRANSFER_ENCODING, value.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value);
            }
            TransferCodingError::check(&headers)
        };
        for values in [&[][..], &["chunked"], &["Chunked"], &["\tCHUNKED "]] {
            assert_eq!(check(values), Ok(()), "{values:?}");
        }
        for values in [&["chunked, chunked"][..], &["chunked", "Chunked"], &["chunked,chunked", "chunked"]] {
            assert_eq!(check(values), Err(TransferCodingError::Repeated), "{values:?}");
        }
        for values in [
            &[""][..],
            &["gzip"],
            &["gzip, chunked"],
            &["gzip", "chunked"],
            &["chunked", "gzip", "chunked"],
            &["identity, chunked"],
            &["chunked;q=1"],
            &["\"chunked\""],
            &[",chunked"],
            &["chunked,"],
            &["", "chunked"],
            &["xchunked"],
        ] {
            assert_eq!(check(values), Err(TransferCodingError::Unsupported), "{values:?}");
        }
    }
}
