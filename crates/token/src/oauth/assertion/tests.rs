use std::sync::LazyLock;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
use symbolon_types::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, Strength};

use super::*;

const AUDIENCE: &str = "https://login.example/tenant/oauth2/v2.0/token";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
/// 2026-01-01T00:00:00.75Z
const NOW: Duration = Duration::from_millis(1_767_225_600_750);
const RSA: &[SignatureScheme] = &[SignatureScheme::RsaPkcs1Sha256, SignatureScheme::RsaPssSha256];
const P256: &[SignatureScheme] = &[SignatureScheme::EcdsaP256Sha256];
const P384: &[SignatureScheme] = &[SignatureScheme::EcdsaP384Sha384];

/// A key that announces `offered`, but fails with the schemes in `refused`.
#[derive(Debug)]
struct TestKey {
    private: TestPrivateKey,
    public_key: SubjectPublicKeyInfoDer<'static>,
    offered: &'static [SignatureScheme],
    refused: &'static [SignatureScheme],
    garbles: bool,
}

#[derive(Debug)]
enum TestPrivateKey {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl SigningKey for TestKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.offered
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if self.refused.contains(&scheme) {
            return Err(SigningError::failed("the device refused"));
        }
        if self.garbles {
            return Ok(b"no signature".to_vec());
        }
        let random = SystemRandom::new();
        match &self.private {
            TestPrivateKey::Ecdsa(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
            TestPrivateKey::Rsa(pair) => {
                let encoding: &'static dyn signature::RsaEncoding = match scheme {
                    SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_SHA256,
                    SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
                    other => return Err(SigningError::UnsupportedScheme(other)),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(SigningError::failed)
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

/// A key with its certificate chain: leaf, intermediate, root.
struct CertifiedClient {
    leaf: KeyPair,
    chain: Vec<CertificateDer<'static>>,
}

impl CertifiedClient {
    fn new(leaf: KeyPair) -> Self {
        let ca = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, intermediate_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = ca("root").self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(ca("root"), &root_key);
        let intermediate = ca("intermediate").signed_by(&intermediate_key, &root_issuer).unwrap();
        let issuer = Issuer::new(ca("intermediate"), &intermediate_key);
        let certificate = CertificateParams::new(Vec::new()).unwrap().signed_by(&leaf, &issuer).unwrap();
        let chain = [certificate, intermediate, root].map(|certificate| certificate.der().clone()).into();
        Self { leaf, chain }
    }

    fn key(&self, offered: &'static [SignatureScheme]) -> TestKey {
        let pkcs8 = self.leaf.serialize_der();
        let private = match offered.first() {
            Some(SignatureScheme::EcdsaP256Sha256) => TestPrivateKey::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).unwrap(),
            ),
            Some(SignatureScheme::EcdsaP384Sha384) => TestPrivateKey::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &pkcs8).unwrap(),
            ),
            _ => TestPrivateKey::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).unwrap()),
        };
        let public_key = self.leaf.subject_public_key_info().into();
        TestKey { private, public_key, offered, refused: &[], garbles: false }
    }

    fn identity(&self, key: TestKey) -> ClientIdentity {
        ClientIdentity::new(self.chain.clone(), SharedSigningKey::new(key)).unwrap()
    }

    fn assertion(&self, offered: &'static [SignatureScheme]) -> AssertionSigner {
        AssertionSigner::new(self.identity(self.key(offered))).unwrap()
    }

    /// Verifies the signature with another library.
    fn signed(&self, jws: &DecodedAssertion, algorithm: &'static dyn VerificationAlgorithm) -> bool {
        let public = UnparsedPublicKey::new(algorithm, self.leaf.public_key_raw());
        public.verify(jws.signed.as_bytes(), &jws.signature).is_ok()
    }
}

static RSA_CLIENT: LazyLock<CertifiedClient> = LazyLock::new(|| {
    CertifiedClient::new(
        KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
    )
});
static P256_CLIENT: LazyLock<CertifiedClient> =
    LazyLock::new(|| CertifiedClient::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()));
static P384_CLIENT: LazyLock<CertifiedClient> =
    LazyLock::new(|| CertifiedClient::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()));

/// The parts of a JWS in compact form.
struct DecodedAssertion {
    header: Value,
    payload: Value,
    signed: String,
    signature: Vec<u8>,
}

impl DecodedAssertion {
    fn read(text: &str) -> Self {
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let json =
            |part: &str| serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap();
        Self {
            header: json(header),
            payload: json(payload),
            signed: signed.to_owned(),
            signature: Base64UrlUnpadded::decode_vec(signature).unwrap(),
        }
    }
}

fn sign(assertion: &AssertionSigner) -> DecodedAssertion {
    let now = SystemTime::UNIX_EPOCH + NOW;
    DecodedAssertion::read(assertion.sign(AUDIENCE, CLIENT, now).unwrap().expose())
}

fn refusal(result: Result<AssertionSigner, Error>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.code().to_owned())
}

fn hashed(algorithm: &'static digest::Algorithm, certificate: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(digest::digest(algorithm, certificate).as_ref())
}

#[test]
fn algorithm_follows_the_key() {
    const PSS: &[SignatureScheme] = &[SignatureScheme::RsaPssSha256];
    const PKCS1: &[SignatureScheme] = &[SignatureScheme::RsaPkcs1Sha256];
    let (ps256, rs256) = (&signature::RSA_PSS_2048_8192_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256);
    type Row<'a> = (&'a CertifiedClient, AssertionSigner, &'a str, &'static dyn VerificationAlgorithm);
    let rows: [Row<'_>; 6] = [
        (&RSA_CLIENT, RSA_CLIENT.assertion(RSA), "PS256", ps256),
        (&RSA_CLIENT, RSA_CLIENT.assertion(RSA).rs256().unwrap(), "RS256", rs256),
        (&RSA_CLIENT, RSA_CLIENT.assertion(PSS), "PS256", ps256),
        (&RSA_CLIENT, RSA_CLIENT.assertion(PKCS1), "RS256", rs256),
        (&P256_CLIENT, P256_CLIENT.assertion(P256), "ES256", &signature::ECDSA_P256_SHA256_FIXED),
        (&P384_CLIENT, P384_CLIENT.assertion(P384), "ES384", &signature::ECDSA_P384_SHA384_FIXED),
    ];
    for (client, assertion, algorithm, verifying) in rows {
        let jws = sign(&assertion);
        let leaf = &client.chain[0];
        let expected = if algorithm == "RS256" {
            json!({ "typ": "JWT", "alg": algorithm, "x5t": hashed(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf) })
        } else {
            json!({ "typ": "JWT", "alg": algorithm, "x5t#S256": hashed(&digest::SHA256, leaf) })
        };
        assert_eq!(jws.header, expected);
        assert!(client.signed(&jws, verifying), "{algorithm}");
        let altered = DecodedAssertion { signed: jws.signed.replacen('.', ".e", 1), ..jws };
        assert!(!client.signed(&altered, verifying), "{algorithm}");
    }
}

#[test]
fn claims_are_those_of_rfc_7523() {
    let mut jws = sign(&P256_CLIENT.assertion(P256));
    let jti = jws.payload["jti"].take();
    assert!(jti.as_str().unwrap().parse::<CorrelationId>().is_ok(), "{jti}");
    assert_eq!(
        jws.payload,
        json!({
            "aud": AUDIENCE, "iss": CLIENT, "sub": CLIENT, "jti": null,
            "iat": 1_767_225_600, "nbf": 1_767_225_600, "exp": 1_767_226_200,
        })
    );
}

#[test]
fn each_assertion_has_a_new_jti() {
    let assertion = P256_CLIENT.assertion(P256);
    assert_ne!(sign(&assertion).payload["jti"], sign(&assertion).payload["jti"]);
}

#[test]
fn chain_is_optional_and_leaf_first() {
    let assertion = RSA_CLIENT.assertion(RSA);
    assert!(sign(&assertion).header.get("x5c").is_none());
    for assertion in [assertion.clone().with_chain(), assertion.rs256().unwrap().with_chain()] {
        let header = sign(&assertion).header;
        let chain: Vec<_> =
            header["x5c"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
        assert_eq!(chain.len(), 3);
        for (entry, certificate) in chain.iter().zip(&RSA_CLIENT.chain) {
            assert_eq!(Base64::decode_vec(entry).unwrap(), certificate.as_ref());
        }
    }
}

#[test]
fn extra_claims_are_added() {
    let extra = r#"{ "client_ip": "203.0.113.7", "nested": {"iss": [1, null]}, "text": "{\"iss\":\"x\"}" }"#;
    let payload = sign(&P256_CLIENT.assertion(P256).with_claims(extra).unwrap()).payload;
    assert_eq!(payload.as_object().unwrap().len(), 7 + 3);
    assert_eq!(payload["client_ip"], "203.0.113.7");
    assert_eq!(payload["nested"], json!({ "iss": [1, null] }));
    assert_eq!(payload["text"], r#"{"iss":"x"}"#);
    assert_eq!(payload["iss"], CLIENT);
    assert!(P256_CLIENT.assertion(P256).with_claims("{}").is_ok());
}

#[test]
fn bad_extra_claims_are_refused_unquoted() {
    for claims in [
        r#"{"aud":"s3cr3t"}"#,
        r#"{"exp":1,"x":"s3cr3t"}"#,
        r#"{"iat":"s3cr3t"}"#,
        r#"{"x":"s3cr3t","iss":null}"#,
        r#"{"jti":"s3cr3t"}"#,
        r#"{"nbf":"s3cr3t"}"#,
        r#"{"\u0073ub":"s3cr3t"}"#,
        r#""s3cr3t""#,
        r#"["s3cr3t"]"#,
        r#""x":"s3cr3t""#,
        r#"{"s3cr3t""#,
        r#"{}s3cr3t"#,
        "",
    ] {
        let error = P256_CLIENT.assertion(P256).with_claims(claims).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Request, "invalid_client_assertion"),
            "{claims}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
}

#[test]
fn too_long_assertion_is_refused() {
    let with_filler = |length: usize| {
        let claims = json!({ "filler": "f".repeat(length) }).to_string();
        P256_CLIENT.assertion(P256).with_claims(&claims).unwrap()
    };
    let without = sign(&with_filler(0)).signed.len();
    // Base64 encodes three bytes as four.
    let fitting = (LONGEST_SIGNING_INPUT - without) / 4 * 3;
    assert!(sign(&with_filler(fitting)).signed.len() <= LONGEST_SIGNING_INPUT);
    let now = SystemTime::UNIX_EPOCH + NOW;
    let error = with_filler(fitting + 3).sign(AUDIENCE, CLIENT, now).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_client_assertion"));
}

#[test]
fn failed_pss_falls_back_to_pkcs1() {
    let refused = &[SignatureScheme::RsaPssSha256];
    let key = TestKey { refused, ..RSA_CLIENT.key(RSA) };
    let jws = sign(&AssertionSigner::new(RSA_CLIENT.identity(key)).unwrap());
    assert_eq!(jws.header["alg"], "RS256");
    assert_eq!(jws.header["x5t"], hashed(&digest::SHA1_FOR_LEGACY_USE_ONLY, &RSA_CLIENT.chain[0]));
    assert!(jws.header.get("x5t#S256").is_none());
    assert!(RSA_CLIENT.signed(&jws, &signature::RSA_PKCS1_2048_8192_SHA256));
}

#[test]
fn key_without_algorithm_is_refused() {
    const TLS_ONLY: &[SignatureScheme] = &[SignatureScheme::RsaPssSha512, SignatureScheme::RsaPkcs1Sha512];
    let unusable = (ErrorKind::Credential, "key_unusable".to_owned());
    for offered in [TLS_ONLY, &[]] {
        let identity = RSA_CLIENT.identity(RSA_CLIENT.key(offered));
        assert_eq!(refusal(AssertionSigner::new(identity)), unusable, "{offered:?}");
    }
    assert_eq!(refusal(P256_CLIENT.assertion(P256).rs256()), unusable);
}

#[test]
fn failing_key_is_unusable() {
    for (case, client, key) in [
        ("fails", &*RSA_CLIENT, TestKey { refused: RSA, ..RSA_CLIENT.key(RSA) }),
        ("fails", &*P256_CLIENT, TestKey { refused: P256, ..P256_CLIENT.key(P256) }),
        ("garbles", &*RSA_CLIENT, TestKey { garbles: true, ..RSA_CLIENT.key(RSA) }),
        ("garbles", &*P384_CLIENT, TestKey { garbles: true, ..P384_CLIENT.key(P384) }),
    ] {
        let assertion = AssertionSigner::new(client.identity(key)).unwrap();
        let error = assertion.sign(AUDIENCE, CLIENT, SystemTime::UNIX_EPOCH).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Credential, "key_unusable"), "{case}");
        let source = std::error::Error::source(&error);
        assert_eq!(source.is_some(), case == "fails");
    }
}

#[test]
fn clock_before_1970_is_an_error() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let error = P256_CLIENT.assertion(P256).sign(AUDIENCE, CLIENT, before).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "invalid_client_assertion"));
}

#[test]
fn debug_hides_claims() {
    let assertion = P256_CLIENT.assertion(P256).with_claims(r#"{"s3cr3t-name":"s3cr3t-value"}"#).unwrap();
    let shown = format!("{assertion:?}");
    assert!(shown.contains("Es256") && !shown.contains("s3cr3t"), "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_names_are_signed(audience in ".{0,40}", client_id in ".{0,40}", seconds in 0_u64..1 << 40) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let assertion = P256_CLIENT.assertion(P256).sign(&audience, &client_id, now).unwrap();
        let jws = DecodedAssertion::read(assertion.expose());
        prop_assert_eq!(&jws.payload["aud"], &audience);
        prop_assert_eq!(&jws.payload["iss"], &client_id);
        prop_assert_eq!(&jws.payload["sub"], &client_id);
        prop_assert_eq!(&jws.payload["exp"], seconds + 600);
        prop_assert!(P256_CLIENT.signed(&jws, &signature::ECDSA_P256_SHA256_FIXED));
    }
}
