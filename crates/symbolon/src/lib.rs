#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A bearer token is one request to the source that the environment names; each source is a file that
//! makes the request and knows what is peculiar about the answer, and `bearer.rs` puts the one cache in
//! front of them. A bound token is two legs: the
//! minter (`symbolon-binding`) gets a certificate for a key of this process, and the token client
//! (`symbolon-token`) exchanges it like any confidential client would exchange its own. The two
//! never see each other; the file `delegation.rs` is all there is between them. Nothing in this
//! crate posts to a token endpoint, so claims, capabilities, cache keys and error handling are the
//! core's.

mod bearer;
mod capabilities;
mod chain;
mod default_transport;
mod delegation;
mod detection;
mod downgrade;
mod federation;
mod future;
mod identity;
mod options;
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
pub use symbolon_binding::PersistedKeys;
pub use symbolon_binding::{
    Attestation, AttestationRequest, Attester, Binding, BindingWatch, KeyProvider, ManagedIdentityId,
    SoftwareKeys,
};
#[cfg(feature = "hyper")]
pub use symbolon_hyper::HyperTransport;
pub use symbolon_token::{Error, ErrorKind, Token, TokenCache, TokenSource};
pub use symbolon_types::{
    ClientIdentity, Context, CorrelationId, Env, IdKind, Secret, SharedClock, Source, SourceInfo, Strength,
    Thumbprint,
};

/// The crates that this one is made of, for what is not re-exported at the root.
pub mod parts {
    pub use symbolon_binding as binding;
    #[cfg(feature = "hyper")]
    pub use symbolon_hyper as hyper;
    pub use symbolon_token as token;
    pub use symbolon_transport as transport;
    pub use symbolon_types as types;
}
