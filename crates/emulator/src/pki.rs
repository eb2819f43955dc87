//! Keys, certificates and TLS: the certificate authority, the checks of certificate requests, and
//! the TLS configuration of the servers.

mod authority;
pub(crate) mod csr;
mod der;
pub(crate) mod fabric_certificate;
mod issued_certificate;
mod subject_key;
pub(crate) mod tls;
mod tls_session;

pub(crate) use self::authority::{BACKDATED, CertificateAuthority, LeafContents};
pub(crate) use self::fabric_certificate::FabricCertificate;
pub use self::issued_certificate::{CertifiedKey, IssuedCertificate};
pub(crate) use self::subject_key::{SubjectKey, SubjectKeyAlgorithm};
pub(crate) use self::tls::RefusedCertificates;
pub(crate) use self::tls_session::TlsSession;
pub use self::tls_session::TlsVersion;
