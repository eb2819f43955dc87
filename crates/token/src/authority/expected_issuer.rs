//! The issuer of the response to an authorization request (RFC 9207).

use serde::{Deserialize, Serialize};

use super::authority_url::Authority;

/// The issuer to which an authorization request was sent (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpectedIssuer {
    /// The authority in its canonical form, or the issuer of an OpenID provider to the letter.
    pub(crate) authority: String,
    pub(crate) is_oidc: bool,
    /// The metadata announce `iss` in every response.
    pub(crate) is_announced: bool,
}

impl ExpectedIssuer {
    /// Returns whether a response with this `iss`, or without one, is from this issuer.
    pub(crate) fn matches(&self, issuer: Option<&str>) -> bool {
        match issuer {
            None => !self.is_announced,
            Some(issuer) if self.is_oidc => issuer == self.authority,
            Some(issuer) => Authority::allowing_http_on_loopback(&self.authority)
                .is_ok_and(|authority| authority.may_issue_as(issuer)),
        }
    }
}
