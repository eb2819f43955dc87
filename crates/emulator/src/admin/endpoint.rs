//! The address of the admin server, and the secret in its path.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::error::Error;

/// Octets of the secret.
const SECRET: usize = 16;

/// The address and the secret of an admin server.
pub(crate) struct AdminEndpoint {
    address: SocketAddr,
    secret: String,
}

impl AdminEndpoint {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, Error> {
        let mut secret = [0; SECRET];
        aws_lc_rs::rand::fill(&mut secret).map_err(Error::certificate)?;
        let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { address, secret })
    }

    /// Returns the URL of the page. The API is relative to it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.secret)
    }

    /// Returns true if a `Host` header names this server. Refusing other hosts protects against DNS
    /// rebinding.
    pub(super) fn is_host(&self, host: &str) -> bool {
        host == self.address.to_string() || host == format!("localhost:{}", self.address.port())
    }

    /// Returns the path after the secret, if the secret is right.
    pub(super) fn strip_secret<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (secret, rest) = path.strip_prefix('/')?.split_once('/')?;
        verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes()).ok()?;
        Some(rest)
    }
}
