//! The syntax of access tokens.

use symbolon_types::Secret;

/// The text of an access token that fits into an `Authorization` header: letters, digits and
/// `-._~+/`, then any number of `=` (`b64token`, RFC 6750 §2.1). A token in any other form could
/// add header lines to a request, or lines to the output of a program.
#[derive(Clone, Debug)]
pub struct AccessToken(Secret);

impl AccessToken {
    /// Wraps a text; `None` if it is empty or contains a character that is not allowed.
    #[must_use]
    pub fn parse(text: Secret) -> Option<Self> {
        let unpadded = text.expose().trim_end_matches('=');
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let is_valid = !unpadded.is_empty() && unpadded.bytes().all(is_allowed);
        is_valid.then_some(Self(text))
    }

    /// Returns the text as a secret.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    pub(crate) fn into_secret(self) -> Secret {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_a_header_is_a_token() {
        for text in ["t", "eyJ0.eyJ1.c2ln", "EwAoA8l6BAAU+/x==", "a-._~+/Z9", "a="] {
            let token = AccessToken::parse(Secret::new(text));
            assert_eq!(token.unwrap().secret().expose(), text);
        }
        for text in [
            "",
            "=",
            "a b",
            " a",
            "a\n",
            "a\r\nX: y",
            "a\0",
            "a\u{7f}",
            "a\u{e9}",
            "a=b",
            "a\"",
            "a,b",
            "a:b",
            "{a}",
            "\u{202e}a",
        ] {
            assert!(AccessToken::parse(Secret::new(text)).is_none(), "{text:?}");
        }
    }
}
