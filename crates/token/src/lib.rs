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

mod account;
mod application;
mod assertion;
pub mod authority;
mod cache;
mod challenge;
mod claims;
mod client;
mod client_assertion;
mod client_certificate;
mod client_secret;
mod credential;
mod endpoint;
mod exchange;
mod expiry;
mod form;
mod grant;
mod key;
mod parameters;
mod partition;
mod refusal;
mod request;
mod response;
mod scheme;
mod scope;
mod store;
mod throttle;
mod token;
mod user;
mod workload_identity;

pub use account::Account;
pub use application::Application;
pub use cache::{Fetched, TokenCache};
pub use challenge::{Challenge, claims_challenge};
pub use claims::merge as merge_claims;
pub use client::{TokenClient, TokenClientBuilder};
pub use client_assertion::{
    AssertionFn, AssertionRequest, AssertionSource, ClientAssertion, SignedAssertion, assertion_fn,
};
pub use client_certificate::ClientCertificate;
pub use client_secret::ClientSecret;
pub use credential::{ClientAuth, CredentialRequest, CredentialSource, FreshParameters, Purpose, Resolution};
pub use endpoint::TokenEndpoint;
pub use expiry::Expiry;
pub use key::CacheKey;
pub use parameters::Caching;
pub use partition::Partition;
pub use refusal::Refusal;
pub use request::{TokenFuture, TokenRequest};
pub use scheme::Scheme;
pub use scope::resource_name;
#[cfg(feature = "msal-cache")]
pub use store::MsalImport;
pub use store::{CacheStore, MemoryStore, Precondition, PutOutcome, StoredEntry};
#[cfg(feature = "sealed-store")]
pub use store::{SealedStore, SealingKey};
pub use symbolon_types::{Error, ErrorKind};
pub use token::{Token, TokenSource};
pub use workload_identity::WorkloadIdentity;
