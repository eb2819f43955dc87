//! The rejection of a credential.

/// The rejection of a credential by the token service or its TLS peer.
///
/// Only these errors lead to another attempt with another credential; any other error would come
/// back with every credential (`docs/protocol/errors.md#refused-client-authentication`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialRejection {
    /// The TLS peer refused the certificate: by an alert in or after the handshake, or by closing a
    /// new connection.
    Tls,
    /// The private key of the certificate no longer exists ([`SigningError::Gone`]), so that the
    /// handshake could not be signed.
    ///
    /// [`SigningError::Gone`]: symbolon_types::SigningError::Gone
    KeyGone,
    /// The token service refused the client: by `invalid_client` (RFC 6749 §5.2), or by an AADSTS
    /// code about the certificate.
    Client {
        /// The AADSTS codes of the response.
        server_codes: Vec<u32>,
    },
}

/// The AADSTS code for a certificate after its `token_not_after`.
const CERTIFICATE_NOT_FOR_TOKENS: u32 = 1_000_901;
/// The AADSTS code for a certificate on TLS that differs from the one in the assertion.
const CERTIFICATE_MISMATCH: u32 = 500_181;

impl CredentialRejection {
    /// Returns the rejection that an OAuth error stands for, if it is one.
    pub(crate) fn of(code: &str, server_codes: &[u32]) -> Option<Self> {
        let is_rejection = code == "invalid_client"
            || server_codes
                .iter()
                .any(|code| matches!(*code, CERTIFICATE_NOT_FOR_TOKENS | CERTIFICATE_MISMATCH));
        is_rejection.then(|| Self::Client { server_codes: server_codes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credential_errors_are_rejections() {
        for (code, server_codes, rejected) in [
            ("invalid_client", &[7_000_218][..], true),
            ("invalid_client", &[], true),
            ("invalid_request", &[1_000_901], true),
            ("invalid_grant", &[500_181], true),
            ("invalid_request", &[900_144, 1_000_901], true),
            ("invalid_request", &[900_144], false),
            ("unauthorized_client", &[700_016], false),
            ("temporarily_unavailable", &[], false),
        ] {
            let expected =
                rejected.then(|| CredentialRejection::Client { server_codes: server_codes.to_vec() });
            assert_eq!(CredentialRejection::of(code, server_codes), expected, "{code} {server_codes:?}");
        }
    }
}
