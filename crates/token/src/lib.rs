#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A token takes the same way for every kind of credential:
//!
//! 1. [`CredentialSource::cache_identity`] returns the credential's part of the cache key, and the
//!    cache is read. A hit ends here.
//! 2. On a miss, a token of an earlier certificate is served, if there is one, and the next steps
//!    run in the background. Requests with the same key share one exchange.
//! 3. [`CredentialSource::authenticate`] returns the [`ClientAuth`] of the exchange. If the cache
//!    key depends on it, because no certificate is held yet, this step comes first.
//! 4. The token request is sent, with the certificate of the `ClientAuth` on the TLS connection.
//! 5. If the credential is rejected, [`CredentialSource::refused`] returns `true` if there is a
//!    successor. Then steps 3 and 4 are repeated, once.
//! 6. `token_type` and `cnf` of the response are validated, and the token is cached and returned.
//!
//! For a bound token, [`Scheme::MtlsPop`] holds the certificate. The cache key, the TLS handshake
//! and the [`Token`] take it from the same [`ClientAuth`], so they cannot differ.
//!
//! # Logs
//!
//! Logs go through `tracing` and contain no secret. The same facts are on the [`Token`] and on the
//! [`Error`].
//!
//! | event | level | fields |
//! |---|---|---|
//! | span `token`: one fetch, which several requests can share | info | `audience`, `bound`, `renewal` (the fetch replaces a token) |
//! | `fetched a token`, in that span | info | `token_type`, `attempts`, `duration_ms`, `correlation_id` |
//! | `could not fetch a token`, in that span | warn | `code`, `status`, `server_codes` (if the service sent any), `duration_ms`, `correlation_id` |
//! | `the credential was refused` | warn | `code`, `has_successor` (one more attempt follows) |
//! | `served a token`, for each request | debug | `source` (`network`, `cache`, or `joined` for the fetch of another request), `audience`, `token_type`, `correlation_id` (of the fetch) |
//!
//! Other events have debug level; their texts and fields may change.
//!
//! For metrics, the [`Observer`] of the [`Context`] receives an [`Event`] for each of these
//! operations, and for each call to a store (`docs/guide/metrics.md`). [`Token::metadata`] and
//! [`Error::metadata`] describe one request.
//!
//! # Request headers
//!
//! Each token request has headers, as MSAL's requests do, that help Entra and its operators:
//!
//! | header | content |
//! |---|---|
//! | `client-request-id` | the correlation id, also on the [`Token`] and on the [`Error`] |
//! | `x-client-sku`, `x-client-ver`, `x-client-os` | this library, its version, the operating system |
//! | `x-ms-lib-capability` | support for `Retry-After` and status 429 |
//! | `x-client-current-telemetry` | the flow, the reason for the request, the region and its origin, the presence of a store, the type of the token, and the [calling library](TokenClientBuilder::caller_sdk) |
//! | `x-anchormailbox` | the user, for Entra's backup service, if known ([`RoutingHint`]); personal, and never logged |
//!
//! The parameters `caller-sdk-id`, `caller-sdk-ver` and `ManagedCert` of
//! [`query_parameter`](TokenRequest::query_parameter) are sent in the telemetry header and not in
//! the query.

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
    ClientCertificate, ClientSecret, CredentialRequest, CredentialSource, FreshParameters,
    KubernetesTokenProxy, SignedAssertion, WorkloadIdentity, assertion_fn,
};
pub use oauth::{
    AccessToken, Account, AuthorizationCode, Caching, Challenge, CredentialRejection, Expiry, FederatedUser,
    ManagedIdentityKind, RoutingHint, Scheme, TokenEndpoint, check_resource, claims_challenge, merge_claims,
    resource_name,
};
#[cfg(all(unix, feature = "file-store"))]
pub use store::FileStore;
#[cfg(feature = "conformance")]
pub use store::conformance;
pub use store::{CacheStore, LockOutcome, MemoryStore, Precondition, PutOutcome, StoreLock, StoredEntry};
#[cfg(feature = "sealed-store")]
pub use store::{SealedStore, SealingKey};
#[doc(inline)]
pub use symbolon_transport::Transport;
#[doc(inline)]
pub use symbolon_types::{
    CacheLevel, ClientIdentity, Context, CorrelationId, Env, Error, ErrorKind, Event, IdentityCell, Jitter,
    ManualClock, Observer, RefreshReason, RegionUse, RequestMetadata, Secret, SharedClock, SharedSigningKey,
    Thumbprint, TokenOrigin,
};
pub use token::{CacheKey, IssuedToken, Partition, Token, check_url};
