#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! There is one path from a request to a token, for every kind of credential: resolve the
//! credential → cache key → look up → one flight per key → POST, with the credential's
//! certificate on the TLS connection → classify → on a refusal of the credential ask it whether
//! another try is worth it, once → check `token_type` and `cnf` → store → return. The path asks
//! whoever has the credential two questions, [`CredentialSource::resolve`] and
//! [`CredentialSource::refused`]; a client secret and a managed identity's minted certificate are
//! two answers to them.
//!
//! What the request is bound to is *data*: [`Scheme::MtlsPop`] holds the certificate that keys the
//! cache, is presented in the handshake, and is handed out with the token. All three come from one
//! [`ClientAuth`], so they cannot disagree.
//!
//! # Logs
//!
//! Through `tracing`; nothing is computed for a level that nobody listens to. No secret is ever in
//! them. The same facts are on the [`Token`] and on the [`Error`].
//!
//! | what | level | fields |
//! |---|---|---|
//! | span `token`: a fetch, whoever asked for it | info | `audience`, `bound`, `renewal` (there is a token that it replaces) |
//! | `fetched a token`, in that span | info | `token_type`, `attempts`, `duration_ms`, `correlation_id` |
//! | `could not fetch a token`, in that span | warn | `code`, `status`, `server_codes` (where the service named any), `duration_ms`, `correlation_id` |
//! | `the credential was refused` | warn | `code`, `has_successor` (one more attempt follows) |
//! | `served a token`, for each request | debug | `source` (`network`, `joined`: fetched by another request that this one waited with, `cache`), `audience`, `token_type`, `correlation_id` (of the fetch) |
//!
//! Other events are details at debug level; their text and fields may change.
//!
//! # What the token service is told beside the form
//!
//! Each token request carries, as MSAL's do, what lets Entra help and its operators understand:
//!
//! | header | what it says |
//! |---|---|
//! | `client-request-id` | the correlation id, also on the [`Token`] and on the [`Error`] |
//! | `x-client-sku`, `x-client-ver`, `x-client-os` | this library, its version, the operating system |
//! | `x-ms-lib-capability` | that `Retry-After` and 429 are honoured |
//! | `x-client-current-telemetry` | which flow it is, why the cached token did not do, which region was used and how it was found, whether there is a store behind the cache, the type of the token, and [whose library asks](TokenClientBuilder::caller_sdk) |
//! | `x-anchormailbox` | where the backup of Entra finds the user, where that is known ([`RoutingHint`]); personal, and never logged |
//!
//! The parameters `caller-sdk-id`, `caller-sdk-ver` and `ManagedCert` of
//! [`query_parameter`](TokenRequest::query_parameter) are told in the telemetry and not in the query.

pub mod authority;
mod cache;
mod client;
mod credential;
mod oauth;
mod store;
mod token;

pub use cache::{PortableRefreshToken, PortableToken, TokenCache, TokenSubject};
pub use client::{
    AuthorizationFuture, AuthorizationRequest, PendingAuthorization, Prompt, RequestOptions, ResponseMode,
    TokenClient, TokenClientBuilder, TokenFuture, TokenRequest,
};
pub use credential::{
    Application, AssertionFn, AssertionRequest, AssertionSource, CacheIdentity, ClientAssertion, ClientAuth,
    ClientCertificate, ClientSecret, CredentialRequest, CredentialSource, FreshParameters, SignedAssertion,
    WorkloadIdentity, assertion_fn,
};
pub use oauth::{
    Account, AuthorizationCode, Caching, Challenge, CredentialRejection, Expiry, ManagedIdentityKind,
    RoutingHint, Scheme, TokenEndpoint, claims_challenge, merge_claims, resource_name,
};
pub use store::{CacheStore, MemoryStore, Precondition, PutOutcome, StoredEntry};
#[cfg(feature = "sealed-store")]
pub use store::{SealedStore, SealingKey};
pub use symbolon_types::{Error, ErrorKind};
pub use token::{CacheKey, IssuedToken, Partition, Token, TokenSource};
