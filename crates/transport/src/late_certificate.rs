//! The permission to request the client certificate late.

/// An extension of an `http::Request` that permits the server to request the client certificate
/// after it has received the request, as [`Request::with_late_certificate`] does.
///
/// [`Request::with_late_certificate`]: crate::Request::with_late_certificate
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LateCertificate;

impl LateCertificate {
    /// Creates the extension.
    #[must_use]
    pub fn permitted() -> Self {
        Self
    }
}
