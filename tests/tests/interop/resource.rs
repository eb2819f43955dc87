//! Bound tokens of the emulator at independent resource servers: Apache with mod_oauth2, and PyJWT
//! behind nginx.

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use symbolon::{ClientIdentity, Context, Env, HyperTransport, ManagedIdentity, SoftwareKeys, Token};
use symbolon_emulator::Emulator;
use symbolon_test_programs::or_skip;
use symbolon_transport::{Request, Route, Transport as _};

use crate::keys::block_on;
use crate::resource_servers::ResourceServers;

const RESOURCE: &str = "https://vault.azure.net";
/// The header in which nginx forwards the client certificate.
const CERTIFICATE_HEADER: &str = "x-client-certificate";

/// An emulator, resource servers, and clients that trust both.
struct TestEnv {
    emulator: Emulator,
    servers: ResourceServers,
    roots: Vec<u8>,
}

impl TestEnv {
    /// Returns `None`, with a line on standard error, if a program is missing.
    fn new() -> Option<Self> {
        let emulator = block_on(Emulator::start()).unwrap();
        let servers = or_skip("resource servers", ResourceServers::start(&emulator, RESOURCE))?;
        let roots = [emulator.ca_pem().as_bytes(), &servers.authority()].concat();
        Some(Self { emulator, servers, roots })
    }

    fn ways_in(&self) -> [&str; 3] {
        [&self.servers.tls12, &self.servers.tls13, &self.servers.behind_nginx]
    }

    fn transport(&self) -> HyperTransport {
        let transport = HyperTransport::builder()
            .context(Context::default().with_env(Env::empty()))
            .platform_roots(false);
        transport.root_certificates_pem(&self.roots).build().unwrap()
    }

    /// A managed identity with its own key and certificate.
    fn identity(&self, keys: SoftwareKeys) -> ManagedIdentity {
        let env: Env = self.emulator.environment().into_iter().collect();
        let identity =
            ManagedIdentity::builder().context(Context::default().with_env(env)).transport(self.transport());
        identity.key_provider(keys).build().unwrap()
    }

    fn bound_token(&self) -> Token {
        let identity = self.identity(SoftwareKeys::p256());
        block_on(async { identity.token(RESOURCE).proof_of_possession().await }).unwrap()
    }

    /// Presents a token with any certificate, and a forged header.
    fn present(
        &self,
        url: &str,
        authorization: &str,
        identity: Option<ClientIdentity>,
        certificate_header: Option<&str>,
    ) -> StatusCode {
        let request = Request::new(Method::GET, url.parse().unwrap(), Route::Public);
        let mut request = request.with_identity(identity);
        request.headers_mut().insert(AUTHORIZATION, authorization.parse().unwrap());
        if let Some(certificate) = certificate_header {
            let certificate = HeaderValue::from_str(certificate).unwrap();
            request.headers_mut().insert(CERTIFICATE_HEADER, certificate);
        }
        block_on(self.transport().send(request)).unwrap().status()
    }
}

/// A certificate in the form of nginx: PEM, percent-encoded.
fn escaped_pem(identity: &ClientIdentity) -> String {
    let base64 = Base64::encode_string(&identity.chain()[0]);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    url::form_urlencoded::byte_serialize(pem.as_bytes()).collect::<String>().replace('+', "%20")
}

#[test]
fn bound_call_is_served_with_its_claims() {
    let Some(test_env) = TestEnv::new() else { return };
    for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
        let identity = test_env.identity(keys);
        let token = block_on(async { identity.token(RESOURCE).proof_of_possession().await }).unwrap();
        let thumbprint = token.bound_to().unwrap().thumbprint().to_string();
        for url in test_env.ways_in() {
            let request = http::Request::get(url).body(Bytes::new()).unwrap();
            let answer = block_on(identity.call(&token, request)).unwrap();
            let page = String::from_utf8_lossy(answer.body()).into_owned();
            assert_eq!(answer.status(), StatusCode::OK, "{url}: {page}");
            assert!(
                page.contains(test_env.emulator.client_id()) && page.contains(&thumbprint),
                "{url}: {page}"
            );
        }
    }
}

#[test]
fn stolen_token_needs_its_certificate() {
    let Some(test_env) = TestEnv::new() else { return };
    let (own, other) = (test_env.bound_token(), test_env.bound_token());
    let certificate = |token: &Token| token.bound_to().cloned();
    let stolen = format!("mtls_pop {}", own.secret().expose());
    for url in [&test_env.servers.tls12, &test_env.servers.tls13] {
        assert_eq!(test_env.present(url, &stolen, certificate(&own), None), 200, "{url}: it is a good token");
        assert_eq!(
            test_env.present(url, &stolen, certificate(&other), None),
            401,
            "{url}: another certificate"
        );
        assert_eq!(test_env.present(url, &stolen, None, None), 401, "{url}: no certificate");
    }
    let url = &test_env.servers.behind_nginx;
    assert_eq!(test_env.present(url, &stolen, certificate(&own), None), 200, "it is a good token");
    assert_eq!(test_env.present(url, &stolen, certificate(&other), None), 401, "another certificate");
    assert_eq!(test_env.present(url, &stolen, None, None), 400, "nginx insists on a certificate");
}

#[test]
fn client_certificate_header_is_ignored() {
    let Some(test_env) = TestEnv::new() else { return };
    let (own, other) = (test_env.bound_token(), test_env.bound_token());
    let stolen = format!("mtls_pop {}", own.secret().expose());
    let stolen_certificate = escaped_pem(own.bound_to().unwrap());
    for url in test_env.ways_in() {
        let status = test_env.present(url, &stolen, other.bound_to().cloned(), Some(&stolen_certificate));
        assert_eq!(status, 401, "{url}");
    }
}

#[test]
fn other_tokens_are_refused() {
    let Some(test_env) = TestEnv::new() else { return };
    let identity = test_env.identity(SoftwareKeys::p256());
    let bound = block_on(async { identity.token(RESOURCE).proof_of_possession().await }).unwrap();
    let bearer = block_on(async { identity.token(RESOURCE).await }).unwrap();
    let genuine = bound.secret().expose();
    let signature = genuine.rfind('.').unwrap() + 1;
    let other = if genuine[signature..].starts_with('A') { "B" } else { "A" };
    let changed = format!("{}{other}{}", &genuine[..signature], &genuine[signature + 1..]);
    let certificate = || bound.bound_to().cloned();
    for url in test_env.ways_in() {
        for (token, what) in [(genuine, 200), (bearer.secret().expose(), 401), (changed.as_str(), 401)] {
            let status = test_env.present(url, &format!("mtls_pop {token}"), certificate(), None);
            assert_eq!(status, what, "{url}");
        }
    }
}
