//! What a transport can do.

/// What a transport declares that it can do. Nothing, unless it says so.
///
/// ```
/// # use symbolon_transport::Capabilities;
/// let capabilities = Capabilities::none().with_client_certificates().with_external_signer();
/// assert!(capabilities.client_certificates() && !capabilities.renegotiation());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    client_certificates: bool,
    external_signer: bool,
    renegotiation: bool,
    pinned_servers: bool,
}

impl Capabilities {
    /// Plain requests only.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// It presents the identity of a request in the initial TLS handshake, or fails.
    #[must_use]
    pub fn with_client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self
    }

    /// It lets a key that cannot be exported sign the handshake.
    #[must_use]
    pub fn with_external_signer(mut self) -> Self {
        self.external_signer = true;
        self
    }

    /// It presents a certificate when a TLS 1.2 server asks for one by renegotiation, as Azure Key
    /// Vault does. rustls deliberately cannot.
    #[must_use]
    pub fn with_renegotiation(mut self) -> Self {
        self.renegotiation = true;
        self
    }

    /// It knows a server by the thumbprint of its certificate alone, verifies that the server has the
    /// key, and sends nothing of a request before.
    #[must_use]
    pub fn with_pinned_servers(mut self) -> Self {
        self.pinned_servers = true;
        self
    }

    /// Whether it presents client certificates in the initial handshake.
    #[must_use]
    pub fn client_certificates(self) -> bool {
        self.client_certificates
    }

    /// Whether a key that cannot be exported can sign the handshake.
    #[must_use]
    pub fn external_signer(self) -> bool {
        self.external_signer
    }

    /// Whether it presents client certificates on TLS 1.2 renegotiation.
    #[must_use]
    pub fn renegotiation(self) -> bool {
        self.renegotiation
    }

    /// Whether it can know a server by the thumbprint of its certificate.
    #[must_use]
    pub fn pinned_servers(self) -> bool {
        self.pinned_servers
    }
}
