#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A call takes four steps: a token from the [`TokenProvider`], mostly from its cache; a connection
//! that presents the certificate of this token, from [`Connections`]; the request with the
//! `Authorization` header; the head of the response. The pool of connections is keyed by origin and
//! certificate, so a new certificate leads to new connections, while requests under way end on the
//! old ones.
//!
//! A request is sent again for these reasons only, and only if the part of the body that was read
//! is within the [replay limit](ClientBuilder::replay_limit):
//!
//! - a claims challenge (401 with `insufficient_claims`), once: with a new token;
//! - a lost connection: three times if the server certainly did not process the request, such as
//!   after `REFUSED_STREAM` or `GOAWAY` over HTTP/2; once if the method is idempotent (RFC 9110
//!   §9.2.2);
//! - a refused certificate, once: with another one, if the provider has or mints it. The server
//!   refuses it by a TLS alert, before it processes the request, or by closing two new connections
//!   in a row, after which only an idempotent request is sent again;
//! - 408, 429 and 5xx, if [retries](ClientBuilder::retries) are configured.
//!
//! Redirects are returned, not followed: another host must not receive the token.
//!
//! # Logs
//!
//! The span `http_client` of a call has the attributes of OpenTelemetry's HTTP client spans
//! (semantic conventions for HTTP spans, stable): `http.request.method`,
//! `http.request.method_original`, `server.address`, `server.port`, `http.response.status_code`,
//! `http.request.resend_count` (the number of times that the call was sent again), `error.type`,
//! and for `tracing-opentelemetry` the kind, the name and the status of the span. `url.full` is
//! left out: paths, queries, headers and bodies are not logged.

mod body;
mod builder;
mod call;
mod calls;
mod client;
mod connections;
mod destination;
mod failure;
mod fallback;
mod late_certificate;
mod provider;
mod replay;
mod request;
mod response;
mod retries;
mod settings;
mod span;
mod sync_body;
mod transport_connections;
mod user_tokens;

pub use body::LimitedBody;
pub use builder::ClientBuilder;
pub use calls::HttpCalls;
pub use client::{CallFuture, Client};
pub use connections::{ConnectionFailure, HttpConnections};
pub use fallback::BearerFallback;
pub use late_certificate::{TOKEN_BOUND_AUTH, requests_certificate_late};
pub use provider::{ProviderRequest, TokenProvider};
pub use request::ClientRequest;
pub use response::ClientResponse;
#[doc(no_inline)]
pub use symbolon_hyper::{
    Connections, ConnectionsBuilder, OutgoingBody, ResponseBody, UploadBody, UploadGuard, outgoing,
};
#[doc(no_inline)]
pub use symbolon_token::{Error, ErrorKind, claims_challenge};
pub use sync_body::SyncBody;
pub use transport_connections::TransportConnections;
pub use user_tokens::UserTokens;
