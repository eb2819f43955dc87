//! Records of requests that the proxy did not pass on, for a log.

use std::fmt;

use symbolon_server::Peer;
use symbolon_types::printable;

use crate::failure::ProxyFailure;

/// A request that got an error of the proxy. `Display` formats one log line, without path, query
/// and headers.
#[derive(Debug)]
pub struct ProxyRecord {
    peer: Peer,
    status: u16,
    code: String,
    message: String,
}

impl ProxyRecord {
    pub(crate) fn new(peer: Peer, failure: &ProxyFailure) -> Self {
        let error = &failure.error;
        let message = match error.excerpt().filter(|excerpt| !excerpt.is_empty()) {
            Some(excerpt) => format!("{error}; the service said: {excerpt}"),
            None => error.to_string(),
        };
        Self {
            peer,
            status: failure.status.as_u16(),
            code: printable(error.code()).to_string(),
            message: printable(message).to_string(),
        }
    }

    /// Returns the client of the request.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the code of the error.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for ProxyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, status, code, message } = self;
        write!(f, "refused a request of {peer}: {status} {code}: {message}")
    }
}
