//! Keys, certificates and TLS: the certificate authority, the checks of certificate requests, and
//! the TLS configuration of the servers.

pub(crate) mod authority;
pub(crate) mod csr;
pub(crate) mod der;
pub(crate) mod fabric_certificate;
pub(crate) mod issued_certificate;
pub(crate) mod subject_key;
pub(crate) mod tls;
pub(crate) mod tls_session;
