//! Messages and checks of a mint: platform metadata, certificate request, issued certificate, token
//! endpoint.

mod certificate;
mod compute_unit;
mod credential;
mod csr;
mod platform_metadata;
mod token_hosts;

#[cfg(unix)]
pub(crate) use self::certificate::CertificateError;
pub(crate) use self::certificate::{UncheckedCertificate, token_not_after};
pub(crate) use self::credential::{IssuedCredential, request_body};
pub(crate) use self::csr::Csr;
pub(crate) use self::platform_metadata::PlatformMetadata;
pub(crate) use self::token_hosts::TokenHosts;
