//! Errors of the token endpoint in Entra's format (docs/protocol/errors.md#fields).

use std::time::SystemTime;

use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};

use crate::calendar::timestamp;
use crate::protocol::reply::Reply;
use crate::protocol::request::ParsedRequest;
use crate::random::guid;

/// An error of the token endpoint: the OAuth error, the AADSTS code and a description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenError {
    pub(crate) code: u64,
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    /// The reason in the journal.
    reason: &'static str,
}

/// The errors that the endpoint returns, with the codes of Entra's error reference
/// (docs/protocol/errors.md#aadsts-codes).
impl TokenError {
    pub(crate) const TENANT: Self =
        Self::request(90_002, "tenant", "Tenant not found: name a tenant, not common or organizations.");
    /// A strict emulator refuses tenants that were not declared.
    pub(crate) const UNKNOWN_TENANT: Self = Self::request(
        90_002,
        "tenant_unknown",
        "Tenant not found: declare it with EmulatorBuilder::tenant, `emulate --tenant`, or `tenants` under [host].",
    );
    /// A strict emulator refuses resources that were not declared.
    pub(crate) const UNKNOWN_RESOURCE: Self = Self::bad(
        "invalid_resource",
        500_011,
        "resource_unknown",
        "The resource principal was not found in the tenant: declare it with EmulatorBuilder::resource, \
         `emulate --resource`, or `resources` under [host].",
    );
    pub(crate) const CONTENT_TYPE: Self =
        Self::request(900_144, "content_type", "The request body must be application/x-www-form-urlencoded.");
    pub(crate) const REPEATED: Self =
        Self::request(90_100, "repeated_parameter", "A parameter is repeated (RFC 6749 section 3.2).");
    pub(crate) const CLIENT_ID: Self =
        Self::request(900_144, "client_id", "The request body must contain the parameter client_id.");
    pub(crate) const GRANT_TYPE: Self = Self::bad(
        "unsupported_grant_type",
        70_003,
        "grant_type",
        "The grant type must be client_credentials, jwt-bearer (RFC 7523), refresh_token or user_fic.",
    );
    pub(crate) const SCOPE: Self = Self::bad(
        "invalid_scope",
        1_002_012,
        "scope",
        "The scope must be one resource followed by exactly one /.default.",
    );
    /// An invalid scope of a request for a user's token.
    pub(crate) const USER_SCOPE: Self = Self::bad(
        "invalid_scope",
        70_011,
        "scope",
        "The scope must be resource/.default or several resource/name, besides those of OpenID Connect.",
    );
    pub(crate) const RESOURCES: Self =
        Self::bad("invalid_scope", 28_000, "resources", "The scope contains more than one resource.");
    pub(crate) const CLAIMS: Self =
        Self::request(90_100, "claims", "The parameter claims must be a JSON object.");
    pub(crate) const TOKEN_TYPE: Self =
        Self::request(90_100, "token_type", "The parameter token_type must be mtls_pop or absent.");
    pub(crate) const EXTRA_CREDENTIAL: Self = Self::request(
        90_100,
        "extra_credential",
        "A request for a bound token must not carry a secret, req_cnf or an unbound assertion.",
    );
    pub(crate) const NO_CERTIFICATE: Self =
        Self::client(392_200, "certificate_missing", "The TLS connection carries no client certificate.");
    pub(crate) const OTHER_CLIENT: Self = Self::client(
        700_027,
        "certificate_of_other_client",
        "The certificate on the TLS connection does not belong to this client.",
    );
    pub(crate) const OTHER_TENANT: Self = Self::bad(
        "unauthorized_client",
        700_016,
        "certificate_of_other_tenant",
        "The application was not found in this tenant.",
    );
    /// The first of the codes at which clients mint a new certificate
    /// (docs/protocol/errors.md#refused-client-authentication).
    pub(crate) const REVOKED: Self =
        Self::client(1_000_610, "certificate_revoked", "The certificate was revoked: get a new one.");
    pub(crate) const OUTLIVED: Self = Self::request(
        1_000_901,
        "certificate_expired",
        "The certificate is outside its validity, or its token_not_after has passed: get a new one.",
    );
    pub(crate) const UNKNOWN_CLIENT: Self = Self::bad(
        "unauthorized_client",
        700_016,
        "client_unknown",
        "The application was not found: register it with EmulatorBuilder::application, or under \
         [host.applications] in the file of faults; without a secret, with EmulatorBuilder::client, \
         `emulate --client`, or in `clients` under [host].",
    );
    pub(crate) const SECRET: Self =
        Self::client(7_000_215, "client_secret", "Invalid client secret provided.");
    pub(crate) const NO_CREDENTIAL: Self =
        Self::client(7_000_218, "credential_missing", "The request carries no valid client credential.");
    pub(crate) const BASIC: Self =
        Self::client(7_000_218, "authorization_header", "The Authorization header is not HTTP Basic.");
    pub(crate) const SIGNING: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: "server_error",
        code: 90_033,
        description: "The emulator could not sign.",
        reason: "signing",
    };
    pub(crate) const ASSERTION_TYPE: Self = Self::request(
        90_100,
        "assertion_type",
        "client_assertion needs the client_assertion_type jwt-bearer or jwt-pop, and no other credential.",
    );
    pub(crate) const ASSERTION_SIGNATURE: Self = Self::client(
        700_027,
        "assertion_signature",
        "The assertion is signed neither with a certificate of this client nor by this service.",
    );
    pub(crate) const ASSERTION_CLAIMS: Self = Self::client(
        700_023,
        "assertion_claims",
        "The issuer, subject, audience or expiry of the assertion is not valid for this client.",
    );
    pub(crate) const ASSERTION_CERTIFICATE: Self = Self::client(
        500_181,
        "assertion_certificate",
        "The assertion is bound to another certificate than the one on the TLS connection.",
    );
    pub(crate) const TOKEN_USE: Self = Self::request(
        90_100,
        "requested_token_use",
        "The parameter requested_token_use must be on_behalf_of.",
    );
    pub(crate) const NO_USER_ASSERTION: Self =
        Self::request(900_144, "assertion", "The request body must contain the parameter assertion.");
    pub(crate) const USER_ASSERTION: Self = Self::grant(
        50_013,
        "user_assertion_signature",
        "The assertion is not a token that this service issued for this tenant.",
    );
    pub(crate) const USER_ASSERTION_AUDIENCE: Self = Self::grant(
        500_131,
        "user_assertion_audience",
        "The audience of the assertion must be this client's id, or api:// and its id.",
    );
    pub(crate) const USER_ASSERTION_EXPIRED: Self =
        Self::grant(500_133, "user_assertion_expired", "The assertion is expired or not valid yet.");
    pub(crate) const USER_ASSERTION_BOUND: Self = Self::grant(
        50_013,
        "user_assertion_bound",
        "The assertion is bound to a certificate, so no other client can use it.",
    );
    pub(crate) const NO_USER: Self = Self::bad(
        "unauthorized_client",
        7_000_114,
        "user_assertion_subject",
        "The assertion is not an access token of a user; an application cannot be acted for.",
    );
    pub(crate) const NO_FEDERATED_CREDENTIAL: Self = Self::request(
        900_144,
        "federated_credential",
        "The request body must contain the parameter user_federated_identity_credential.",
    );
    pub(crate) const FEDERATED_CREDENTIAL: Self = Self::grant(
        50_013,
        "federated_credential_token",
        "The federated identity credential is not a current token of this client for api://AzureADTokenExchange.",
    );
    pub(crate) const FEDERATED_USER: Self = Self::request(
        900_144,
        "federated_user",
        "The request body must contain user_id or username, not both.",
    );
    pub(crate) const NO_REFRESH_TOKEN: Self =
        Self::request(900_144, "refresh_token", "The request body must contain the parameter refresh_token.");
    pub(crate) const REFRESH_TOKEN: Self = Self::grant(
        70_000,
        "refresh_token_unknown",
        "The refresh token was not issued by this service, or is too old.",
    );
    pub(crate) const REFRESH_TOKEN_CLIENT: Self = Self::grant(
        70_000,
        "refresh_token_of_other_client",
        "The refresh token was issued to another client.",
    );
    pub(crate) const REFRESH_TOKEN_EXPIRED: Self = Self::grant(
        70_008,
        "refresh_token_expired",
        "The refresh token has expired: the user must sign in again.",
    );

    const fn bad(error: &'static str, code: u64, reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, code, description, reason }
    }

    const fn request(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self::bad("invalid_request", code, reason, description)
    }

    const fn grant(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self::bad("invalid_grant", code, reason, description)
    }

    const fn client(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", code, description, reason }
    }

    pub(crate) fn reply(self, request: &ParsedRequest, now: SystemTime) -> Reply {
        error_reply(request, now, self.status, self.error, &[self.code], self.description)
            .because(self.reason)
    }
}

/// Returns an error with these AADSTS codes.
pub(crate) fn error_reply(
    request: &ParsedRequest,
    now: SystemTime,
    status: StatusCode,
    error: &str,
    codes: &[u64],
    description: &str,
) -> Reply {
    not_cached(status, &body(request, now, error, codes, description))
}

/// Returns `interaction_required` with the claims that the client must send.
pub(crate) fn claims_challenge(request: &ParsedRequest, now: SystemTime, claims: &str) -> Reply {
    /// Multi-factor authentication is required (docs/protocol/errors.md#claims-challenge).
    const INTERACTION_REQUIRED: u64 = 50_076;
    let description = "Present the token request with claims.";
    let mut body = body(request, now, "interaction_required", &[INTERACTION_REQUIRED], description);
    body["claims"] = Value::from(claims);
    not_cached(StatusCode::BAD_REQUEST, &body).because("claims_challenge")
}

/// Returns a response that clients must not cache (RFC 6749 §5.1).
fn not_cached(status: StatusCode, body: &Value) -> Reply {
    Reply::json(status, body).header(CACHE_CONTROL, "no-store")
}

fn body(request: &ParsedRequest, now: SystemTime, error: &str, codes: &[u64], description: &str) -> Value {
    let trace_id = guid();
    let correlation_id = request.header("client-request-id").map_or_else(guid, str::to_owned);
    let at = timestamp(now);
    let code = codes.first().map_or_else(String::new, |code| format!("AADSTS{code}: "));
    json!({
        "error": error,
        "error_description":
            format!("{code}{description} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {at}"),
        "error_codes": codes,
        "timestamp": at,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
    })
}
