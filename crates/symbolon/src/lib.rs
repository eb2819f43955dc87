#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A bearer token from the metadata service is one request to it. A bound token is two legs: the
//! minter (`symbolon-binding`) gets a certificate for a key of this process, and the token client
//! (`symbolon-token`) exchanges it like any confidential client would exchange its own. The two
//! never see each other; the file `delegation.rs` is all there is between them. Nothing in this
//! crate posts to a token endpoint, so claims, capabilities, cache keys and error handling are the
//! core's.

mod delegation;
mod detection;
mod federation;
mod future;
mod identity;
mod imds_v1;
mod request;

pub use detection::{Detection, Source};
pub use federation::ManagedIdentityAssertions;
pub use future::ManagedIdentityFuture;
pub use identity::{ManagedIdentity, ManagedIdentityBuilder};
pub use request::ManagedIdentityRequest;

#[cfg(unix)]
pub use symbolon_binding::PersistedKeys;
pub use symbolon_binding::{IdKind, KeyProvider, ManagedIdentityId, SoftwareKeys};
#[cfg(feature = "hyper")]
pub use symbolon_hyper::HyperTransport;
pub use symbolon_token::{Error, ErrorKind, Token, TokenCache, TokenSource};
pub use symbolon_types::{ClientIdentity, CorrelationId, Env, Secret, SharedClock, Strength, Thumbprint};

/// The crates that this one is made of, for what is not re-exported at the root.
pub mod parts {
    pub use symbolon_binding as binding;
    #[cfg(feature = "hyper")]
    pub use symbolon_hyper as hyper;
    pub use symbolon_token as token;
    pub use symbolon_transport as transport;
    pub use symbolon_types as types;
}
