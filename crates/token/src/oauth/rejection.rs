//! The rejection of a credential.

/// The rejection of a credential by the token service or its TLS peer.
///
/// Only these errors lead to another attempt with another credential; any other error would come
/// back with every credential (`docs/protocol/errors.md#refused-client-authentication`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialRejection {
    /// The TLS peer refused the certificate by an alert in or after the handshake.
    Tls,
    /// The TLS peer closed a new connection that presented the certificate, without an alert. Some
    /// servers refuse a certificate in this way; others fail in this way.
    Lost,
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

    /// Returns `true` if the certificate of the client can be the cause, so that another one can
    /// help (`docs/protocol/errors.md#codes-about-a-certificate`).
    ///
    /// An `invalid_client` without an AADSTS code counts: the service does not say more.
    #[must_use]
    pub fn concerns_certificate(&self) -> bool {
        match self {
            Self::Tls | Self::Lost | Self::KeyGone => true,
            Self::Client { server_codes } => {
                server_codes.is_empty() || server_codes.iter().any(|code| is_about_certificate(*code))
            }
        }
    }

    /// Returns `true` if the tokens that are bound to the certificate are refused with it. A lost
    /// connection does not say so. After its `token_not_after` a certificate gets no new tokens,
    /// and those it has stay valid.
    pub(crate) fn withdraws_tokens(&self) -> bool {
        match self {
            Self::Lost => false,
            Self::Tls | Self::KeyGone => true,
            Self::Client { server_codes } => {
                self.concerns_certificate() && !server_codes.contains(&CERTIFICATE_NOT_FOR_TOKENS)
            }
        }
    }
}

/// Returns `true` for an AADSTS code about a certificate, or about what its key signed.
fn is_about_certificate(code: u32) -> bool {
    matches!(
        code,
        CERTIFICATE_NOT_FOR_TOKENS | CERTIFICATE_MISMATCH | 1_000_610
            ..=1_000_614 | 700_024 | 700_027 | 700_030 | 7_000_218 | 7_005_004
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_about_the_certificate() {
        let client = |codes: &[u32]| CredentialRejection::Client { server_codes: codes.to_vec() };
        for (rejection, concerns, withdraws) in [
            (CredentialRejection::Tls, true, true),
            (CredentialRejection::KeyGone, true, true),
            (CredentialRejection::Lost, true, false),
            (client(&[]), true, true),
            (client(&[1_000_901]), true, false),
            (client(&[500_181]), true, true),
            (client(&[1_000_610]), true, true),
            (client(&[1_000_614]), true, true),
            (client(&[1_000_615]), false, false),
            (client(&[700_027]), true, true),
            (client(&[7_000_218]), true, true),
            (client(&[90_002, 7_005_004]), true, true),
            (client(&[7_000_215]), false, false),
            (client(&[7_000_222]), false, false),
            (client(&[700_016]), false, false),
            (client(&[392_200]), false, false),
        ] {
            assert_eq!(
                (rejection.concerns_certificate(), rejection.withdraws_tokens()),
                (concerns, withdraws),
                "{rejection:?}"
            );
        }
    }

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
