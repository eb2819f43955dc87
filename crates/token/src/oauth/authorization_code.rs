//! The authorization code of a sign-in.

use symbolon_types::Secret;

/// An authorization code (RFC 6749 §4.1.2), with the verifier and the nonce of its authorization
/// request.
///
/// [`PendingAuthorization::receive`](crate::PendingAuthorization::receive) returns one. Create one
/// with [`new`](Self::new) if another component sent the authorization request.
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    pub(crate) code: Secret,
    pub(crate) redirect_uri: String,
    pub(crate) verifier: Option<Secret>,
    pub(crate) nonce: Option<Secret>,
}

impl AuthorizationCode {
    /// Creates a code that arrived at `redirect_uri`, which the authorization request contained.
    #[must_use]
    pub fn new(code: Secret, redirect_uri: impl Into<String>) -> Self {
        Self { code, redirect_uri: redirect_uri.into(), verifier: None, nonce: None }
    }

    /// Sets the verifier whose challenge the authorization request contained (RFC 7636). Every
    /// authorization request should have one.
    #[must_use]
    pub fn with_verifier(mut self, verifier: Secret) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Sets the nonce of the authorization request. An ID token without it is refused (OIDC Core
    /// §3.1.3.7).
    #[must_use]
    pub fn with_nonce(mut self, nonce: Secret) -> Self {
        self.nonce = Some(nonce);
        self
    }
}
