//! Why a credential was refused.

/// Why the token service, or its TLS peer, refused a credential.
///
/// Only these are worth asking the credential for another: any other error would come back with
/// every credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialRejection {
    /// The TLS peer refused the certificate: an alert in or after the handshake, or the loss of a
    /// fresh connection.
    Tls,
    /// The private key of the certificate is gone ([`SigningError::Gone`]), so the handshake could
    /// not be signed: no peer refused anything, but the certificate is worthless.
    ///
    /// [`SigningError::Gone`]: symbolon_types::SigningError::Gone
    KeyGone,
    /// The token service refused the client: `invalid_client` (RFC 6749 §5.2) with any code, or a
    /// code that says the certificate is no longer good for tokens.
    Client {
        /// The numbers of the service's own error codes (AADSTS).
        server_codes: Vec<u32>,
    },
}

/// The certificate's `token_not_after` has passed (sent with `invalid_request`).
const CERTIFICATE_NOT_FOR_TOKENS: u32 = 1_000_901;
/// The certificate on TLS is not the one the assertion is bound to.
const CERTIFICATE_MISMATCH: u32 = 500_181;

impl CredentialRejection {
    /// What an OAuth error says about the credential, if it says anything about it.
    pub(crate) fn of(code: &str, server_codes: &[u32]) -> Option<Self> {
        let is_refusal = code == "invalid_client"
            || server_codes
                .iter()
                .any(|code| matches!(*code, CERTIFICATE_NOT_FOR_TOKENS | CERTIFICATE_MISMATCH));
        is_refusal.then(|| Self::Client { server_codes: server_codes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_credential_is_a_refusal() {
        for (code, server_codes, refused) in [
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
                refused.then(|| CredentialRejection::Client { server_codes: server_codes.to_vec() });
            assert_eq!(CredentialRejection::of(code, server_codes), expected, "{code} {server_codes:?}");
        }
    }
}
