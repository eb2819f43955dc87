//! Clients and the ways in which they authenticate to a token endpoint.

mod application;
mod assertion_source;
mod auth;
mod auth_future;
mod cached_auth;
mod client_assertion;
mod client_certificate;
mod client_secret;
mod memo;
mod source;
mod workload_identity;

pub use application::Application;
pub use assertion_source::{AssertionFn, AssertionRequest, AssertionSource, SignedAssertion, assertion_fn};
pub use auth::{ClientAuth, FreshParameters};
pub use auth_future::AuthFuture;
pub use cached_auth::CachedAuth;
pub use client_assertion::ClientAssertion;
pub use client_certificate::ClientCertificate;
pub use client_secret::ClientSecret;
pub(crate) use source::ErasedCredential;
pub use source::{CredentialRequest, CredentialSource, Purpose};
pub use workload_identity::WorkloadIdentity;
