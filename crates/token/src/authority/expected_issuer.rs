//! The issuer that must answer an authorization request (RFC 9207).

use serde::{Deserialize, Serialize};

use super::authority_url::Authority;

/// Who was asked, to know their answer from another's (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpectedIssuer {
    /// The authority in its canonical form, or the issuer of an OpenID provider to the letter.
    pub(crate) authority: String,
    pub(crate) is_oidc: bool,
    /// They always say who they are.
    pub(crate) is_announced: bool,
}

impl ExpectedIssuer {
    /// Whether an answer that says so, or says nothing, is theirs.
    pub(crate) fn fits(&self, told: Option<&str>) -> bool {
        match told {
            None => !self.is_announced,
            Some(told) if self.is_oidc => told == self.authority,
            Some(told) => Authority::allowing_http_on_loopback(&self.authority)
                .is_ok_and(|authority| authority.may_issue_as(told)),
        }
    }
}
