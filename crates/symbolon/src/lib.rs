#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A bearer token is one request to the source of the environment (`source/`), behind the token
//! cache (`bearer.rs`). A bound token takes two steps: the minter (`symbolon-binding`) obtains a
//! certificate for a key of this process, and the token client (`symbolon-token`) sends a token
//! request with it, as for any confidential client. Only `delegation.rs` connects the two. This
//! crate sends nothing to a token endpoint itself, so claims, capabilities, cache keys and error
//! handling are those of the token client.
//!
//! The path of one request: `request.rs`, `future.rs`, then `bearer.rs` and `source/` for a bearer
//! token, or the token client and `delegation.rs` for a bound one.

mod bearer;
mod binding;
mod capabilities;
mod chain;
#[cfg(feature = "client")]
mod client;
mod default_transport;
mod delegation;
mod detection;
mod downgrade;
mod federation;
mod future;
mod identity;
mod partition;
mod request;
mod source;

pub use capabilities::{HostCapabilities, ImdsProbes, ImdsVersion};
pub use chain::{
    AzureCli, AzureDeveloperCli, ChainFuture, ChainLink, ChainRequest, CredentialChain,
    CredentialChainBuilder, SkippedLink,
};
pub use detection::{Detection, SkippedSource};
pub use downgrade::Downgrade;
pub use federation::ManagedIdentityAssertions;
pub use future::ManagedIdentityFuture;
pub use identity::{ManagedIdentity, ManagedIdentityBuilder};
pub use request::ManagedIdentityRequest;

#[cfg(unix)]
#[doc(inline)]
pub use symbolon_binding::PersistedKeys;
#[doc(inline)]
pub use symbolon_binding::{
    Attestation, AttestationRequest, Attester, Binding, BindingWatch, KeyProvider, ManagedIdentityId,
    SoftwareKeys,
};
#[cfg(feature = "client")]
#[doc(inline)]
pub use symbolon_client::{
    BearerFallback, Client, ClientBuilder, ClientRequest, ClientResponse, Connections, HttpCalls,
    LimitedBody, TokenProvider, UserTokens,
};
#[cfg(feature = "hyper")]
#[doc(inline)]
pub use symbolon_hyper::HyperTransport;
#[doc(inline)]
pub use symbolon_token::{
    Error, ErrorKind, RequestOptions, Token, TokenCache, TokenOrigin, claims_challenge,
};
#[doc(inline)]
pub use symbolon_transport::Transport;
#[doc(inline)]
pub use symbolon_types::{
    ClientIdentity, Context, CorrelationId, Env, Event, IdKind, Jitter, ManualClock, Observer,
    RequestMetadata, Secret, SharedClock, SharedSigningKey, Source, SourceInfo, Strength, Thumbprint,
};

/// The crates that this crate is built from: confidential clients in `token`, the interface of a
/// transport in `transport`, certificates in `binding`.
pub mod parts {
    pub use symbolon_binding as binding;
    #[cfg(feature = "client")]
    pub use symbolon_client as client;
    #[cfg(feature = "hyper")]
    pub use symbolon_hyper as hyper;
    pub use symbolon_token as token;
    pub use symbolon_transport as transport;
    pub use symbolon_types as types;
}
