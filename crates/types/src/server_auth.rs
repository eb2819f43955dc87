//! The authentication of a server.

use std::fmt;
use std::sync::Arc;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, ServerName};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::CertificatePin;

/// The authentication of a server in the TLS handshake.
///
/// Connections and sessions of one value are never used for another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerAuth {
    /// By the root certificates that are trusted for all servers, and the host of the URL.
    #[default]
    Roots,
    /// By the thumbprint of its certificate alone.
    Pinned(CertificatePin),
    /// By root certificates or a name that apply to this server only.
    Private(PrivateTrust),
}

impl ServerAuth {
    /// Returns the name that the certificate has, where it is not the host of the URL.
    #[must_use]
    pub fn name(&self) -> Option<&ServerName<'static>> {
        match self {
            Self::Private(trust) => trust.name(),
            Self::Roots | Self::Pinned(_) => None,
        }
    }
}

impl From<Option<CertificatePin>> for ServerAuth {
    fn from(pin: Option<CertificatePin>) -> Self {
        pin.map_or(Self::Roots, Self::Pinned)
    }
}

/// The root certificates and the name of one server. Clones are cheap.
///
/// The root certificates replace those that are trusted for all servers. The name replaces the host
/// of the URL: it is sent in the handshake (SNI, RFC 6066 §3), and the certificate must have it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PrivateTrust(Arc<PrivateTrustParts>);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct PrivateTrustParts {
    roots: Option<Vec<CertificateDer<'static>>>,
    name: Option<ServerName<'static>>,
}

impl PrivateTrust {
    /// Creates trust by the usual roots and the host of the URL, to which the setters below add.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM text, and no other root. Other blocks are skipped.
    ///
    /// # Errors
    /// [`InvalidRoots`] if the text contains no certificate, or one that is malformed or cut off.
    pub fn with_roots_pem(mut self, pem: &[u8]) -> Result<Self, InvalidRoots> {
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let malformed = InvalidRoots::Malformed { position: roots.len() + 1 };
            let certificate = certificate.map_err(|_| malformed)?;
            Certificate::from_der(&certificate).map_err(|_| malformed)?;
            roots.push(certificate);
        }
        if roots.is_empty() {
            return Err(InvalidRoots::Missing);
        }
        Arc::make_mut(&mut self.0).roots = Some(roots);
        Ok(self)
    }

    /// Sets the name of the server.
    #[must_use]
    pub fn with_name(mut self, name: ServerName<'static>) -> Self {
        Arc::make_mut(&mut self.0).name = Some(name);
        self
    }

    /// Returns the root certificates; `None` for those that are trusted for all servers.
    #[must_use]
    pub fn roots(&self) -> Option<&[CertificateDer<'static>]> {
        self.0.roots.as_deref()
    }

    /// Returns the name of the server; `None` for the host of the URL.
    #[must_use]
    pub fn name(&self) -> Option<&ServerName<'static>> {
        self.0.name.as_ref()
    }
}

impl fmt::Debug for PrivateTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.roots().map(<[_]>::len);
        f.debug_struct("PrivateTrust").field("roots", &roots).field("name", &self.name()).finish()
    }
}

/// The error of a PEM text that is no list of root certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRoots {
    /// The text contains no certificate.
    #[error("the text has no CERTIFICATE block in PEM")]
    Missing,
    /// A certificate is malformed or cut off.
    #[error("certificate {position} of the text is malformed or cut off")]
    Malformed {
        /// The position in the text, counted from 1.
        position: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
    }

    #[test]
    fn roots_are_complete_certificates() {
        let (one, two) = (certificate("one.example"), certificate("two.example"));
        let text =
            format!("# comment\n{}{}{}", one.cert.pem(), one.signing_key.serialize_pem(), two.cert.pem());
        let trust = PrivateTrust::new().with_roots_pem(text.as_bytes()).unwrap();
        assert_eq!(trust.roots().unwrap(), [one.cert.der().clone(), two.cert.der().clone()]);
        let second = |text: &str| format!("{}{text}", one.cert.pem());
        let base64 = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for (text, error) in [
            (String::new(), InvalidRoots::Missing),
            ("no PEM".to_owned(), InvalidRoots::Missing),
            (one.signing_key.serialize_pem(), InvalidRoots::Missing),
            (one.cert.pem()[..100].to_owned(), InvalidRoots::Malformed { position: 1 }),
            (second(&two.cert.pem()[..100]), InvalidRoots::Malformed { position: 2 }),
            (second(base64), InvalidRoots::Malformed { position: 2 }),
        ] {
            assert_eq!(PrivateTrust::new().with_roots_pem(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn trust_is_equal_by_roots_and_name() {
        let pem = certificate("one.example").cert.pem();
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        let rooted = || PrivateTrust::new().with_roots_pem(pem.as_bytes()).unwrap();
        assert_eq!(rooted(), rooted());
        assert_ne!(rooted(), PrivateTrust::new());
        assert_ne!(rooted(), rooted().with_name(name("a.example")));
        assert_ne!(rooted().with_name(name("b.example")), rooted().with_name(name("a.example")));
        assert_eq!(
            ServerAuth::Private(rooted().with_name(name("a.example"))).name(),
            Some(&name("a.example"))
        );
        assert_eq!(ServerAuth::from(None), ServerAuth::Roots);
    }
}
