//! Signature schemes and their code points in TLS.

use rustls::SignatureScheme as Wire;
use symbolon_types::SignatureScheme;

/// Schemes that keys may support, preferred first, with their code points (RFC 8446 §4.2.3).
pub(crate) const SCHEMES: [(SignatureScheme, Wire); 8] = [
    (SignatureScheme::RsaPssSha256, Wire::RSA_PSS_SHA256),
    (SignatureScheme::RsaPssSha384, Wire::RSA_PSS_SHA384),
    (SignatureScheme::RsaPssSha512, Wire::RSA_PSS_SHA512),
    (SignatureScheme::RsaPkcs1Sha256, Wire::RSA_PKCS1_SHA256),
    (SignatureScheme::RsaPkcs1Sha384, Wire::RSA_PKCS1_SHA384),
    (SignatureScheme::RsaPkcs1Sha512, Wire::RSA_PKCS1_SHA512),
    (SignatureScheme::EcdsaP256Sha256, Wire::ECDSA_NISTP256_SHA256),
    (SignatureScheme::EcdsaP384Sha384, Wire::ECDSA_NISTP384_SHA384),
];

pub(crate) fn on_the_wire(scheme: SignatureScheme) -> Option<Wire> {
    SCHEMES.iter().find(|(known, _)| *known == scheme).map(|(_, wire)| *wire)
}
