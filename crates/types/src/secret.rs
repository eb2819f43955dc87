//! Secret texts.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A secret text: an access token, a client secret, a client assertion.
///
/// `Debug` prints a placeholder; there is no `Display`, no serialization and no comparison. The
/// text is overwritten when the last clone is dropped. It is only accessible through
/// [`expose`](Self::expose), so a search for that word finds every use.
///
/// ```
/// # use symbolon_types::Secret;
/// let token = Secret::new("eyJ0eXAi");
/// assert_eq!(format!("{token:?}"), "Secret(redacted)");
/// assert_eq!(token.expose(), "eyJ0eXAi");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// Returns the text, to be sent but neither stored nor printed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let secret = Secret::new("s3cr3t-text");
        for shown in [format!("{secret:?}"), format!("{secret:#?}"), format!("{:?}", Some(&secret))] {
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
    }

    #[test]
    fn clones_share_one_text() {
        let secret = Secret::new("one");
        assert!(std::ptr::eq(secret.expose(), secret.clone().expose()));
    }
}
