//! Signatures of loaded keys.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use symbolon_rustls::client_identity_from_pem;
use symbolon_types::{SignatureScheme, SigningError, SigningKey};

use crate::openssl::{KINDS, OpenSsl};

const ALGORITHMS: [(SignatureScheme, &dyn VerificationAlgorithm); 8] = [
    (SignatureScheme::RsaPssSha256, &RSA_PSS_2048_8192_SHA256),
    (SignatureScheme::RsaPssSha384, &RSA_PSS_2048_8192_SHA384),
    (SignatureScheme::RsaPssSha512, &RSA_PSS_2048_8192_SHA512),
    (SignatureScheme::RsaPkcs1Sha256, &RSA_PKCS1_2048_8192_SHA256),
    (SignatureScheme::RsaPkcs1Sha384, &RSA_PKCS1_2048_8192_SHA384),
    (SignatureScheme::RsaPkcs1Sha512, &RSA_PKCS1_2048_8192_SHA512),
    (SignatureScheme::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1),
    (SignatureScheme::EcdsaP384Sha384, &ECDSA_P384_SHA384_ASN1),
];

#[test]
fn key_signs_with_its_schemes_only() {
    let Some(openssl) = OpenSsl::new() else { return };
    for (generate, schemes) in KINDS {
        let client = openssl.client(generate);
        let identity = client_identity_from_pem(&[client.certificate, client.key].concat()).unwrap();
        let key = identity.key();
        assert_eq!(key.schemes().len(), schemes, "{generate}");
        for (scheme, algorithm) in ALGORITHMS {
            let signed = key.sign(scheme, b"header.payload");
            if key.schemes().contains(&scheme) {
                let public = UnparsedPublicKey::new(algorithm, key.public_key().as_ref());
                public.verify(b"header.payload", &signed.unwrap()).unwrap_or_else(|_| panic!("{scheme:?}"));
            } else {
                let refused = signed.unwrap_err();
                assert!(
                    matches!(refused, SigningError::UnsupportedScheme(of) if of == scheme),
                    "{generate} {scheme:?} {refused:?}"
                );
            }
        }
    }
}
