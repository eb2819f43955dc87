//! What a user's browser brings.

use symbolon_types::Secret;

/// An authorization code (RFC 6749 §4.1.2), with what proves that the user's browser got it for us.
///
/// [`PendingAuthorization::receive`](crate::PendingAuthorization::receive) makes one. Make your own
/// where the authorization request was not ours.
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    pub(crate) code: Secret,
    pub(crate) redirect_uri: String,
    pub(crate) verifier: Option<Secret>,
    pub(crate) nonce: Option<Secret>,
}

impl AuthorizationCode {
    /// A code that came to this redirect URI, which the authorization request named.
    #[must_use]
    pub fn new(code: Secret, redirect_uri: impl Into<String>) -> Self {
        Self { code, redirect_uri: redirect_uri.into(), verifier: None, nonce: None }
    }

    /// The same, with the verifier whose challenge the authorization request carried (RFC 7636). Use
    /// one always.
    #[must_use]
    pub fn with_verifier(mut self, verifier: Secret) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The same, with the nonce of the authorization request: an ID token that does not repeat it is
    /// refused (OIDC Core §3.1.3.7).
    #[must_use]
    pub fn with_nonce(mut self, nonce: Secret) -> Self {
        self.nonce = Some(nonce);
        self
    }
}
