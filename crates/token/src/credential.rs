//! Clients and the ways in which they authenticate to a token endpoint.

mod application;
mod assertion_source;
mod auth;
mod cache_identity;
mod client_assertion;
mod client_certificate;
mod client_secret;
mod source;
mod token_proxy;
mod workload_identity;

pub use application::Application;
pub use assertion_source::{AssertionFn, AssertionRequest, AssertionSource, SignedAssertion, assertion_fn};
pub use auth::{ClientAuth, FreshParameters};
pub use cache_identity::CacheIdentity;
pub use client_assertion::ClientAssertion;
pub use client_certificate::ClientCertificate;
pub use client_secret::ClientSecret;
pub(crate) use source::ErasedCredential;
pub use source::{CredentialRequest, CredentialSource};
pub use token_proxy::KubernetesTokenProxy;
pub use workload_identity::WorkloadIdentity;
