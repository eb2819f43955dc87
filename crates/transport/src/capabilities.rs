//! Optional abilities of a transport.

/// The optional abilities that a transport declares; none by default.
///
/// ```
/// # use symbolon_transport::Capabilities;
/// let capabilities = Capabilities::none().with_client_certificates();
/// assert!(capabilities.client_certificates() && !capabilities.pinned_servers());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Capabilities {
    client_certificates: bool,
    pinned_servers: bool,
    private_trust: bool,
    renegotiation: bool,
}

impl Capabilities {
    /// Creates capabilities without any ability.
    pub fn none() -> Self {
        Self::default()
    }

    /// Declares that the transport presents the identity of a request in the TLS handshake, or
    /// fails.
    pub fn with_client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self
    }

    /// Declares that the transport authenticates a server by the thumbprint of its certificate
    /// alone, verifies that the server has the key, and sends nothing before.
    pub fn with_pinned_servers(mut self) -> Self {
        self.pinned_servers = true;
        self
    }

    /// Declares that the transport authenticates a server by the root certificates and the name of
    /// a request, where it [has them](crate::Request::with_private_trust), and by no others.
    pub fn with_private_trust(mut self) -> Self {
        self.private_trust = true;
        self
    }

    /// Declares that the transport presents the identity of a request also if the server requests
    /// it after the handshake, where the request
    /// [permits it](crate::Request::with_late_certificate): by renegotiation in TLS 1.2, and by
    /// post-handshake authentication in TLS 1.3 (RFC 8446 §4.6.2).
    pub fn with_renegotiation(mut self) -> Self {
        self.renegotiation = true;
        self
    }

    /// Returns true if the transport presents client certificates.
    #[must_use]
    pub fn client_certificates(self) -> bool {
        self.client_certificates
    }

    /// Returns true if the transport authenticates servers by thumbprint.
    #[must_use]
    pub fn pinned_servers(self) -> bool {
        self.pinned_servers
    }

    /// Returns true if the transport authenticates servers by roots and names of their own.
    #[must_use]
    pub fn private_trust(self) -> bool {
        self.private_trust
    }

    /// Returns true if the transport presents client certificates after the handshake.
    #[must_use]
    pub fn renegotiation(self) -> bool {
        self.renegotiation
    }
}
