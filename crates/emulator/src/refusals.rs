//! What the token endpoint refuses: numbers of Entra's error reference, and of IMDSv2: OAuth error mapping.

use http::StatusCode;

use crate::oauth::Refusal;

pub(crate) const TENANT: Refusal =
    Refusal::request(90_002, "tenant", "Tenant not found: name the tenant, not a common endpoint.");
pub(crate) const CONTENT_TYPE: Refusal =
    Refusal::request(900_144, "content_type", "The request body is application/x-www-form-urlencoded.");
pub(crate) const REPEATED: Refusal =
    Refusal::request(90_100, "repeated_parameter", "A parameter is repeated (RFC 6749 section 3.2).");
pub(crate) const CLIENT_ID: Refusal =
    Refusal::request(900_144, "client_id", "The request body must contain the parameter client_id.");
pub(crate) const GRANT_TYPE: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "unsupported_grant_type",
    code: 70_003,
    description: "The grant type is client_credentials, jwt-bearer (RFC 7523) or refresh_token.",
    reason: "grant_type",
};
pub(crate) const SCOPE: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "invalid_scope",
    code: 1_002_012,
    description: "The scope is one resource followed by exactly one /.default.",
    reason: "scope",
};
/// The scope of a request about a user.
pub(crate) const USER_SCOPE: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "invalid_scope",
    code: 70_011,
    description: "The scope is resource/.default, or several resource/name, beside those of OpenID Connect.",
    reason: "scope",
};
pub(crate) const RESOURCES: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "invalid_scope",
    code: 28_000,
    description: "The scope contains more than one resource.",
    reason: "resources",
};
pub(crate) const CLAIMS: Refusal =
    Refusal::request(90_100, "claims", "The parameter claims is a JSON object.");
pub(crate) const TOKEN_TYPE: Refusal =
    Refusal::request(90_100, "token_type", "The parameter token_type is mtls_pop or absent.");
pub(crate) const EXTRA_CREDENTIAL: Refusal = Refusal::request(
    90_100,
    "extra_credential",
    "A request for a bound token carries no secret, req_cnf or unbound assertion: the certificate is all.",
);
pub(crate) const NO_CERTIFICATE: Refusal =
    Refusal::client(392_200, "certificate_missing", "The TLS connection carries no client certificate.");
pub(crate) const OTHER_CLIENT: Refusal = Refusal::client(
    700_027,
    "certificate_of_other_client",
    "The certificate on the TLS connection is not one of this client.",
);
pub(crate) const OTHER_TENANT: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "unauthorized_client",
    code: 700_016,
    description: "The application was not found in this tenant.",
    reason: "certificate_of_other_tenant",
};
/// The first of the codes on which the revocation design mints again (IMDSv2: revocation, trigger A).
pub(crate) const REVOKED: Refusal =
    Refusal::client(1_000_610, "certificate_revoked", "The certificate was revoked: get a new one.");
pub(crate) const OUTLIVED: Refusal = Refusal::request(
    1_000_901,
    "certificate_expired",
    "The certificate is outside of its validity, or its token_not_after is past: get a new one.",
);
pub(crate) const SECRET: Refusal =
    Refusal::client(7_000_215, "client_secret", "Invalid client secret provided.");
pub(crate) const NO_CREDENTIAL: Refusal = Refusal::client(
    7_000_218,
    "credential_missing",
    "The request carries no client credential that is known here.",
);
pub(crate) const BASIC: Refusal =
    Refusal::client(7_000_218, "authorization_header", "The Authorization header is not HTTP Basic.");
pub(crate) const SIGNING: Refusal = Refusal {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    error: "server_error",
    code: 90_033,
    description: "The emulator could not sign.",
    reason: "signing",
};
pub(crate) const ASSERTION_TYPE: Refusal = Refusal::request(
    90_100,
    "assertion_type",
    "client_assertion comes with client_assertion_type jwt-bearer, or jwt-pop, and with no other credential.",
);
pub(crate) const ASSERTION_SIGNATURE: Refusal = Refusal::client(
    700_027,
    "assertion_signature",
    "The assertion is signed neither with a certificate of this client nor by this service.",
);
pub(crate) const ASSERTION_CLAIMS: Refusal = Refusal::client(
    700_023,
    "assertion_claims",
    "The assertion's issuer, subject, audience or expiry is not right for this client here.",
);
pub(crate) const ASSERTION_CERTIFICATE: Refusal = Refusal::client(
    500_181,
    "assertion_certificate",
    "The certificate on the TLS connection is not the one that the assertion is bound to.",
);
pub(crate) const TOKEN_USE: Refusal =
    Refusal::request(90_100, "requested_token_use", "The parameter requested_token_use is on_behalf_of.");
pub(crate) const NO_USER_ASSERTION: Refusal =
    Refusal::request(900_144, "assertion", "The request body must contain the parameter assertion.");
pub(crate) const USER_ASSERTION: Refusal = Refusal::grant(
    50_013,
    "user_assertion_signature",
    "The assertion is no token that this service issued for this tenant.",
);
pub(crate) const USER_ASSERTION_AUDIENCE: Refusal = Refusal::grant(
    500_131,
    "user_assertion_audience",
    "The audience of the assertion is neither this client's id nor api:// and its id.",
);
pub(crate) const USER_ASSERTION_EXPIRED: Refusal =
    Refusal::grant(500_133, "user_assertion_expired", "The assertion is not within its time.");
pub(crate) const USER_ASSERTION_BOUND: Refusal = Refusal::grant(
    50_013,
    "user_assertion_bound",
    "The assertion is bound to a certificate, and so of no use to anybody else.",
);
/// The name of this error is that of [a report](https://github.com/AzureAD/microsoft-authentication-library-for-dotnet/issues/2130).
pub(crate) const NO_USER: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    error: "unauthorized_client",
    code: 7_000_114,
    description: "The assertion is no access token of a user, and applications do not act on behalf of each other.",
    reason: "user_assertion_subject",
};
pub(crate) const NO_REFRESH_TOKEN: Refusal =
    Refusal::request(900_144, "refresh_token", "The request body must contain the parameter refresh_token.");
pub(crate) const REFRESH_TOKEN: Refusal = Refusal::grant(
    70_000,
    "refresh_token_unknown",
    "The refresh token is not one of this service, or too old.",
);
pub(crate) const REFRESH_TOKEN_CLIENT: Refusal = Refusal::grant(
    70_000,
    "refresh_token_of_other_client",
    "The refresh token was issued to another client.",
);
pub(crate) const REFRESH_TOKEN_EXPIRED: Refusal = Refusal::grant(
    70_008,
    "refresh_token_expired",
    "The refresh token has expired: let the user sign in again.",
);
