//! What a token request is founded on.

use std::borrow::Cow;
use std::collections::BTreeSet;

use symbolon_types::Secret;

use super::authorization_code::AuthorizationCode;

/// The scopes that every request on behalf of a user adds: OIDC Core §3.1.2.1, §11.
const USER_SCOPES: [&str; 3] = ["offline_access", "openid", "profile"];

/// What a token request is founded on: the authorization grant (RFC 6749 §1.3).
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// The client's own authority (RFC 6749 §4.4).
    ClientCredentials,
    /// The token that a user's client sent us (Entra's on-behalf-of, RFC 7523 §2.1).
    OnBehalfOf { assertion: Secret },
    /// A refresh token (RFC 6749 §6).
    RefreshToken { token: Secret },
    /// The refresh token that is kept for the user; it is looked up when it is needed.
    StoredRefreshToken,
    /// An authorization code (RFC 6749 §4.1.3), with its verifier (RFC 7636 §4.5).
    AuthorizationCode(Box<AuthorizationCode>),
}

impl Grant {
    /// Whether the token is about a user.
    pub(crate) fn is_for_user(&self) -> bool {
        !matches!(self, Self::ClientCredentials)
    }

    /// The scope parameter: what was asked for, and for a user what identifies them.
    pub(crate) fn scope<'a>(&self, asked: &'a str) -> Cow<'a, str> {
        if !self.is_for_user() {
            return Cow::Borrowed(asked);
        }
        Cow::Owned(user_scopes(asked))
    }

    /// What an ID token must repeat.
    pub(crate) fn nonce(&self) -> Option<&Secret> {
        match self {
            Self::AuthorizationCode(given) => given.nonce.as_ref(),
            _ => None,
        }
    }

    /// The parameters of this grant.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::ClientCredentials => vec![("grant_type", "client_credentials")],
            Self::OnBehalfOf { assertion } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", assertion.expose()),
                ("requested_token_use", "on_behalf_of"),
                CLIENT_INFO,
            ],
            Self::RefreshToken { token } => {
                vec![("grant_type", "refresh_token"), ("refresh_token", token.expose()), CLIENT_INFO]
            }
            // Never sent: it stands for the refresh token that is found.
            Self::StoredRefreshToken => Vec::new(),
            Self::AuthorizationCode(given) => {
                let AuthorizationCode { code, redirect_uri, verifier, .. } = &**given;
                let mut parameters = vec![
                    ("grant_type", "authorization_code"),
                    ("code", code.expose()),
                    ("redirect_uri", redirect_uri.as_str()),
                ];
                parameters.extend(verifier.as_ref().map(|verifier| ("code_verifier", verifier.expose())));
                parameters.push(CLIENT_INFO);
                parameters
            }
        }
    }
}

/// The scopes that are asked for on behalf of a user, and those that identify them.
pub(crate) fn user_scopes(asked: &str) -> String {
    let all: BTreeSet<&str> = asked.split(' ').chain(USER_SCOPES).filter(|scope| !scope.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}

/// Asks Entra to say who the user is; others ignore it (RFC 6749 §3.2).
const CLIENT_INFO: (&str, &str) = ("client_info", "1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_scopes_are_joined_by_those_that_identify_them() {
        let grant = Grant::RefreshToken { token: Secret::new("rt") };
        assert_eq!(grant.scope("User.Read openid"), "User.Read offline_access openid profile");
        assert_eq!(grant.scope(""), "offline_access openid profile");
        assert_eq!(Grant::ClientCredentials.scope("a b"), "a b");
    }
}
