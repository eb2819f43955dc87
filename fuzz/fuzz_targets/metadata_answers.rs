//! Arbitrary responses of the metadata service do not make the minter panic.

#![no_main]

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use symbolon_binding::{Error, KeyProvider, ManagedIdentityId, Minter};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, Response, RetryPolicy, SharedTransport};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{
    Context, CorrelationId, Jitter, SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength,
};

/// P-256, from RFC 7515 Appendix A.3; its signatures are not real.
const PUBLIC_KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x7f, 0xcd, 0xce, 0x27, 0x70, 0xf6, 0xc4, 0x5d, 0x41, 0x83, 0xcb,
    0xee, 0x6f, 0xdb, 0x4b, 0x7b, 0x58, 0x07, 0x33, 0x35, 0x7b, 0xe9, 0xef, 0x13, 0xba, 0xcf, 0x6e, 0x3c, 0x7b, 0xd1,
    0x54, 0x45, 0xc7, 0xf1, 0x44, 0xcd, 0x1b, 0xbd, 0x9b, 0x7e, 0x87, 0x2c, 0xdf, 0xed, 0xb9, 0xee, 0xb9, 0xf4, 0xb3,
    0x69, 0x5d, 0x6e, 0xa9, 0x0b, 0x24, 0xad, 0x8a, 0x46, 0x23, 0x28, 0x85, 0x88, 0xe5, 0xad,
];

#[derive(Debug)]
struct Key(SubjectPublicKeyInfoDer<'static>);

impl SigningKey for Key {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, _scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(message.iter().take(64).copied().collect())
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        Ok(SharedSigningKey::new(Key(PUBLIC_KEY.to_vec().into())))
    }
}

fuzz_target!(|answers: (&[u8], &[u8])| {
    let server = || HeaderMap::from_iter([(http::header::SERVER, HeaderValue::from_static("IMDS/1"))]);
    let answer = |body: &[u8]| Ok(Response::new(StatusCode::OK, body.to_vec()).with_headers(server()));
    let transport = SharedTransport::new(ScriptedTransport::new([answer(answers.0), answer(answers.1)]));
    let http = HttpClient::new(transport, Context::default().with_jitter(Jitter::fixed(0.5)));
    let base = "http://127.0.0.1".parse().expect("a URL");
    let minter = Minter::builder(base, http).metadata_retry_policy(RetryPolicy::once()).key_provider(Keys).build();
    let minter = minter.expect("a minter");
    let id = ManagedIdentityId::system_assigned();
    if let Some(Ok(binding)) = minter.binding(&id, CorrelationId::random()).now_or_never() {
        assert_eq!(binding.token_endpoint().scheme(), "https");
    }
});
