//! Authorization grants and their parameters.

use std::borrow::Cow;
use std::collections::BTreeSet;

use symbolon_types::{Error, Secret};

use super::authorization_code::AuthorizationCode;
use super::federated_user::FederatedUser;
use super::routing_hint::RoutingHint;

/// The scopes of every request about a user: a refresh token and the user's identity (OIDC Core
/// §3.1.2.1, §11).
const USER_SCOPES: [&str; 3] = ["offline_access", "openid", "profile"];
/// Requests `client_info` from Entra; other servers ignore it (RFC 6749 §3.2).
const CLIENT_INFO: (&str, &str) = ("client_info", "1");

/// The authorization grant of a token request (RFC 6749 §1.3).
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// Client credentials (RFC 6749 §4.4).
    ClientCredentials,
    /// The access token that a caller presented (Entra's on-behalf-of flow, RFC 7523 §2.1).
    OnBehalfOf { assertion: Secret },
    /// A refresh token (RFC 6749 §6).
    RefreshToken { token: Secret },
    /// The user's refresh token in the cache, which is looked up before the exchange.
    StoredRefreshToken,
    /// The federated identity credential of a user (`user_fic`).
    FederatedUser { user: FederatedUser, credential: Secret },
    /// An authorization code (RFC 6749 §4.1.3), with its verifier (RFC 7636 §4.5).
    AuthorizationCode(Box<AuthorizationCode>),
}

impl Grant {
    /// Returns whether the token is about a user.
    pub(crate) fn is_for_user(&self) -> bool {
        !matches!(self, Self::ClientCredentials)
    }

    /// Returns true if the server may accept the grant only once: an authorization code (RFC 6749
    /// §4.1.2), or a refresh token that it rotates (RFC 9700 §4.14.2).
    pub(crate) fn is_one_time(&self) -> bool {
        match self {
            Self::ClientCredentials | Self::OnBehalfOf { .. } | Self::FederatedUser { .. } => false,
            Self::RefreshToken { .. } | Self::StoredRefreshToken | Self::AuthorizationCode(_) => true,
        }
    }

    /// Returns the `scope` parameter for the requested scopes.
    pub(crate) fn scope<'a>(&self, requested: &'a str) -> Cow<'a, str> {
        if self.is_for_user() { Cow::Owned(user_scopes(requested)) } else { Cow::Borrowed(requested) }
    }

    /// Validates the parameters of the caller.
    ///
    /// # Errors
    /// `invalid_parameter` for a federated user without a name or a credential.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::FederatedUser { user, credential } => user.check(credential),
            _ => Ok(()),
        }
    }

    /// Returns the routing hint for the user whom the grant names.
    pub(crate) fn routing_hint(&self, tenant_id: Option<&str>) -> Option<RoutingHint> {
        match self {
            Self::FederatedUser { user, .. } => user.routing_hint(tenant_id),
            _ => None,
        }
    }

    /// Returns the nonce that an ID token must contain.
    pub(crate) fn nonce(&self) -> Option<&Secret> {
        match self {
            Self::AuthorizationCode(code) => code.nonce.as_ref(),
            _ => None,
        }
    }

    /// Returns the secrets in the parameters, and the nonce, which the server has.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::ClientCredentials | Self::StoredRefreshToken => Vec::new(),
            Self::OnBehalfOf { assertion: secret }
            | Self::RefreshToken { token: secret }
            | Self::FederatedUser { credential: secret, .. } => vec![secret.clone()],
            Self::AuthorizationCode(code) => {
                let AuthorizationCode { code, verifier, nonce, .. } = &**code;
                [Some(code), verifier.as_ref(), nonce.as_ref()].into_iter().flatten().cloned().collect()
            }
        }
    }

    /// Returns `grant_type` and its parameters (`docs/protocol/token-request.md#flows`).
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
            Self::FederatedUser { user, credential } => vec![
                ("grant_type", "user_fic"),
                ("user_federated_identity_credential", credential.expose()),
                user.parameter(),
                CLIENT_INFO,
            ],
            // Replaced by `RefreshToken` before the request is built.
            Self::StoredRefreshToken => Vec::new(),
            Self::AuthorizationCode(code) => {
                let AuthorizationCode { code, redirect_uri, verifier, .. } = &**code;
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

/// Returns the requested scopes together with those of every request about a user.
pub(crate) fn user_scopes(requested: &str) -> String {
    let scopes: BTreeSet<&str> =
        requested.split(' ').chain(USER_SCOPES).filter(|scope| !scope.is_empty()).collect();
    scopes.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_scopes_are_added() {
        let grant = Grant::RefreshToken { token: Secret::new("rt") };
        assert_eq!(grant.scope("User.Read openid"), "User.Read offline_access openid profile");
        assert_eq!(grant.scope(""), "offline_access openid profile");
        assert_eq!(Grant::ClientCredentials.scope("a b"), "a b");
    }
}
