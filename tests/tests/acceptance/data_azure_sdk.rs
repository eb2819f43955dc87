//! DATA: unmodified clients of the Azure SDK.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::{ClientOptions, RequestContent, StatusCode as SdkStatus, Url};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobClient, BlobClientOptions};
use symbolon::{CredentialChain, Error, Token};
use symbolon_azure_core::{BearerCredential, BoundAuthentication};
use symbolon_client::{Connections, ProviderRequest, TokenProvider, UserTokens};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;

use crate::blob_server::{BlobServer, TokenCheck};
use crate::data::connections;
use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn bound(test_env: &TestEnv, server: Option<&ResourceServer>) -> BoundAuthentication {
    let (identity, connections) = (test_env.identity(), connections(test_env, server).build().unwrap());
    BoundAuthentication::new(move |resource| identity.client(resource).connections(connections.clone()))
}

fn vault(url: &str, credential: Arc<dyn TokenCredential>, client_options: ClientOptions) -> SecretClient {
    let options = SecretClientOptions {
        client_options,
        // The vault has no name under that of Key Vault.
        verify_challenge_resource: Some(false),
        ..SecretClientOptions::default()
    };
    SecretClient::new(url, credential, Some(options)).unwrap()
}

fn blob(url: &str, credential: Arc<dyn TokenCredential>, client_options: ClientOptions) -> BlobClient {
    let options = BlobClientOptions { client_options, ..BlobClientOptions::default() };
    BlobClient::new(Url::parse(url).unwrap(), Some(credential), Some(options)).unwrap()
}

/// The error of Symbolon among the causes.
fn cause(error: &azure_core::Error) -> &Error {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        match cause.downcast_ref() {
            Some(found) => return found,
            None => cause = cause.source().unwrap(),
        }
    }
}

#[tokio::test]
async fn data_29_key_vault_client_is_bound() {
    let test_env = TestEnv::with(|emulator| emulator.key_vault_challenge()).await;
    let bound = bound(&test_env, None);
    let vault = vault(test_env.emulator.resource_url(), bound.credential(), bound.client_options());
    vault.get_secret("x", None).await.unwrap();
    let parameters = SetSecretParameters { value: Some("v".into()), ..SetSecretParameters::default() };
    vault.set_secret("x", parameters.try_into().unwrap(), None).await.unwrap();

    let journal = test_env.emulator.journal();
    let seen: Vec<_> =
        journal.of(Step::Resource).map(|entry| (entry.status(), entry.certificate())).collect();
    // The first request asks for the challenge, without a token and without a certificate.
    let certificate = Some(test_env.last_certificate());
    assert_eq!(seen, [(Some(401), None), (Some(200), certificate), (Some(200), certificate)]);
    assert_eq!(test_env.counts().tokens, 1);

    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    vault.get_secret("x", None).await.unwrap();
    assert_eq!(test_env.counts().tokens, 2, "a claims challenge is answered");
    assert!(!test_env.logs().contains("another host than the resource's"), "the SDK selects the resource");
}

#[tokio::test]
async fn data_29_blob_client_is_bound() {
    let test_env = TestEnv::new().await;
    let server = BlobServer::start().await;
    let connections = connections(&test_env, None).root_certificates_pem(server.certificate().as_bytes());
    let (identity, connections) = (test_env.identity(), connections.build().unwrap());
    let bound =
        BoundAuthentication::new(move |resource| identity.client(resource).connections(connections.clone()));
    let url = format!("{}/container/blob", server.url());
    let blob = blob(&url, bound.credential(), bound.client_options());
    let content: Vec<u8> = (0..9 << 20).map(|at: u32| at as u8).collect();
    blob.upload(RequestContent::from(content.clone()), None).await.unwrap();
    let downloaded = blob.download(None).await.unwrap().body.collect().await.unwrap();
    assert_eq!(downloaded, content);
    let checks = server.checks();
    assert!(checks.len() >= 2 && checks.iter().all(|check| *check == TokenCheck::Bound), "{checks:?}");
    assert_eq!(test_env.counts().tokens, 1, "one scope, one token");
}

#[tokio::test]
async fn data_29_streamed_body_has_its_length() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let bound = bound(&test_env, Some(&server));
        let content = azure_core::stream::BytesStream::new(bytes::Bytes::from_static(b"content"));
        let response = send(&bound, server.url(), content).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap(), "content");
        let received = &server.received()[0];
        assert_eq!((received.method.as_str(), received.scheme()), ("POST", Some("mtls_pop")));
        assert_eq!(received.headers["content-length"], "7");
        assert_eq!(received.certificate, Some(test_env.last_certificate()));
    }
}

/// Sends a POST of the SDK with a stream as its body.
async fn send(
    bound: &BoundAuthentication,
    url: &str,
    content: azure_core::stream::BytesStream,
) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
    let token = bound.credential().get_token(&[RESOURCE], None).await.unwrap();
    let url = Url::parse(url).unwrap();
    let mut request = azure_core::http::Request::new(url, azure_core::http::Method::Post);
    request.insert_header("authorization", format!("Bearer {}", token.token.secret()));
    let content: Box<dyn azure_core::stream::SeekableStream> = Box::new(content);
    request.set_body(azure_core::http::Body::from(content));
    bound.transport().send(&azure_core::http::Context::new(), &mut request).await
}

#[tokio::test]
async fn data_29_sdk_follows_rotations() {
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(HOUR).token_not_after(None).token_lifetime(HOUR).key_vault_challenge()
    })
    .await;
    let bound = bound(&test_env, None);
    let vault = vault(test_env.emulator.resource_url(), bound.credential(), bound.client_options());
    for _ in 0..12 {
        vault.get_secret("x", None).await.unwrap();
        test_env.manual_clock.advance(HOUR / 5);
        // A renewal in the background needs the test to wait.
        symbolon::SharedClock::system().sleep(Duration::from_millis(20)).await;
    }
    let journal = test_env.emulator.journal();
    let seen: std::collections::HashSet<_> =
        journal.of(Step::Resource).filter_map(|entry| entry.certificate()).collect();
    assert!(seen.len() >= 3, "each certificate was used");
}

#[tokio::test]
async fn data_29_sdk_repeats_no_delivered_post() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let bound = bound(&test_env, Some(&server));
    let content = azure_core::stream::BytesStream::new(bytes::Bytes::from_static(b"small"));
    server.script([Reaction::Lose]);
    let error = send(&bound, server.url(), content).await.map(drop).unwrap_err();
    // The SDK repeats requests after `Io` and `Connection`.
    assert_eq!(error.kind(), &SdkErrorKind::Other);
    assert_eq!((cause(&error).code(), server.received().len()), ("transport_error", 1));
}

#[tokio::test]
async fn data_29_error_says_what_failed() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(ServerTls { requests_certificate: false, ..HTTP1 }).await;
    let bound = bound(&test_env, Some(&server));
    let blob = blob(&format!("{}/container/blob", server.url()), bound.credential(), bound.client_options());
    let error = blob.download(None).await.map(drop).unwrap_err();
    assert!(cause(&error).to_string().contains("did not request the client certificate"), "{error}");
    assert_eq!(server.received().len(), 0);

    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[500_011]));
    let fresh = self::bound(&test_env, Some(&server));
    let blob =
        self::blob(&format!("{}/container/blob", server.url()), fresh.credential(), fresh.client_options());
    let error = blob.download(None).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), cause(&error).server_codes()), (&SdkErrorKind::Credential, &[500_011][..]));
    assert_eq!(test_env.counts().tokens, 2, "not retried");
}

#[tokio::test]
async fn data_30_placeholder_is_no_token() {
    let test_env = TestEnv::new().await;
    let bound = bound(&test_env, None);
    let credential = bound.credential();
    let placeholder = credential.get_token(&["https://storage.azure.com/.default"], None).await.unwrap();
    assert!(placeholder.token.secret().starts_with("symbolon-placeholder-not-a-token:"));
    assert_eq!(test_env.count(Step::Token), 0, "it costs nothing");

    // The transport is forgotten: the placeholder is sent as a bearer token.
    let connections = connections(&test_env, None).build().unwrap();
    let plain = PlainTransport(connections);
    let options = ClientOptions {
        transport: Some(azure_core::http::Transport::new(Arc::new(plain))),
        ..ClientOptions::default()
    };
    let url = format!("{}/bytes/100", test_env.emulator.resource_url());
    let error = blob(&url, credential, options).download(None).await.map(drop).unwrap_err();
    assert_eq!(error.http_status(), Some(SdkStatus::Unauthorized), "{error}");

    // The credential is forgotten: another one's token does not leave the process.
    let before = test_env.count(Step::Resource);
    let bearer = Arc::new(BearerCredential::new(test_env.identity()));
    let error = blob(&url, bearer, bound.client_options()).download(None).await.map(drop).unwrap_err();
    assert_eq!(cause(&error).code(), "placeholder_missing");
    assert_eq!(test_env.count(Step::Resource), before);
}

#[tokio::test]
async fn data_31_sdk_takes_any_bearer_tokens() {
    let test_env = TestEnv::new().await;
    let confidential = test_env.certificate_client(test_env.certificate());
    let chain = CredentialChain::builder().managed_identity(test_env.identity()).context(test_env.context());
    let chain = chain.transport(test_env.transport()).build().unwrap();
    let audience = format!("api://{}", crate::clients::CLIENT_ID);
    let assertion = test_env.emulator.user_token(&audience).await.unwrap();
    let user = UserTokens::on_behalf_of(confidential.clone(), symbolon::Secret::new(assertion));
    let credentials: [(&str, Arc<dyn TokenCredential>); 4] = [
        ("managed identity", Arc::new(BearerCredential::new(test_env.identity()))),
        ("chain", Arc::new(BearerCredential::new(chain))),
        ("confidential client", Arc::new(BearerCredential::new(confidential))),
        ("user", Arc::new(BearerCredential::new(user))),
    ];
    for (case, credential) in credentials {
        let plain = PlainTransport(connections(&test_env, None).build().unwrap());
        let transport = Some(azure_core::http::Transport::new(Arc::new(plain)));
        let options = ClientOptions { transport, ..ClientOptions::default() };
        let url = format!("{}/bytes/100", test_env.emulator.resource_url());
        let body =
            blob(&url, credential, options).download(None).await.unwrap().body.collect().await.unwrap();
        assert_eq!(body.len(), 100, "{case}");
    }
}

/// A provider that returns bound tokens only.
#[derive(Debug)]
struct BoundOnly(symbolon::ManagedIdentity);

impl TokenProvider for BoundOnly {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        assert!(!request.proof_of_possession(), "a bearer credential requests bearer tokens");
        self.0.token(request.resource()).proof_of_possession().await
    }
}

#[tokio::test]
async fn data_31_bound_token_is_refused() {
    let test_env = TestEnv::new().await;
    let credential = BearerCredential::new(BoundOnly(test_env.identity()));
    let options = None::<TokenRequestOptions<'_>>;
    let result: azure_core::Result<AccessToken> = credential.get_token(&[RESOURCE], options).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), cause(&error).code()), (&SdkErrorKind::Credential, "bound_token_refused"));
}

/// The SDK's own transport, as far as it matters: it sends the header that it is given.
#[derive(Debug)]
struct PlainTransport(Connections);

#[async_trait::async_trait]
impl azure_core::http::HttpClient for PlainTransport {
    async fn execute_request(
        &self,
        request: &azure_core::http::Request,
    ) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
        let mut outgoing = http::Request::get(request.url().as_str());
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let body = http_body_util::Full::new(bytes::Bytes::new());
        let response =
            self.0.send(outgoing.body(symbolon_client::outgoing(body)).unwrap(), None).await.unwrap();
        let status = response.status().as_u16().into();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        Ok(azure_core::http::AsyncRawResponse::from_bytes(
            status,
            azure_core::http::headers::Headers::new(),
            body,
        ))
    }
}
