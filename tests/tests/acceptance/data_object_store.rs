//! DATA: Azure storage of object_store.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use object_store::azure::{AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{
    ClientOptions, CredentialProvider, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
    WriteMultipart,
};
use symbolon_client::{Connections, ProviderRequest, TokenProvider};
use symbolon_object_store::{BearerStorage, BoundStorage, STORAGE};
use symbolon_tests::RESOURCE;

use crate::azurite::Azurite;
use crate::blob_server::{BlobServer, TokenCheck};
use crate::data::connections;
use crate::resource_server::{HTTP1, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

fn builder(url: &str) -> MicrosoftAzureBuilder {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = MicrosoftAzureBuilder::new().with_account("contoso").with_container_name("reports");
    builder.with_endpoint(url.to_owned()).with_retry(retry)
}

fn connections_to(test_env: &TestEnv, certificate: &str) -> Connections {
    connections(test_env, None).root_certificates_pem(certificate.as_bytes()).build().unwrap()
}

fn bound(test_env: &TestEnv, certificate: &str) -> BoundStorage {
    let client = test_env.identity().client(STORAGE).connections(connections_to(test_env, certificate));
    BoundStorage::new(client).unwrap()
}

/// Returns the paths and sizes of all blobs.
async fn listed(store: &MicrosoftAzure) -> Vec<(String, u64)> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut listed: Vec<_> =
        listed.into_iter().map(|entry| (entry.location.to_string(), entry.size)).collect();
    listed.sort();
    listed
}

/// Returns true if an error has this text among its causes.
fn says(error: &object_store::Error, text: &str) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    causes.any(|cause| cause.to_string().contains(text))
}

#[tokio::test]
async fn data_32_object_store_is_bound() {
    let test_env = TestEnv::new().await;
    let server = BlobServer::start().await;
    let store = bound(&test_env, server.certificate()).configure(builder(server.url())).build().unwrap();
    let (small, large) = (Path::from("small"), Path::from("folder/large"));
    store.put(&small, PutPayload::from_static(b"content")).await.unwrap();
    let mut upload = WriteMultipart::new(store.put_multipart(&large).await.unwrap());
    let data: Vec<u8> = (0..12 << 20).map(|at: u32| at as u8).collect();
    for part in data.chunks(100_000) {
        upload.write(part);
    }
    upload.finish().await.unwrap();

    assert_eq!(store.get(&small).await.unwrap().bytes().await.unwrap(), "content");
    assert_eq!(store.get_range(&small, 1..4).await.unwrap(), "ont");
    let mut stream = store.get(&large).await.unwrap().into_stream();
    let mut received = Vec::new();
    while let Some(part) = stream.try_next().await.unwrap() {
        received.extend_from_slice(&part);
    }
    assert_eq!(received, data);
    assert_eq!(listed(&store).await, [("folder/large".to_owned(), 12 << 20), ("small".to_owned(), 7)]);

    let checks = server.checks();
    assert!(checks.len() > 5 && checks.iter().all(|check| *check == TokenCheck::Bound), "{checks:?}");
    assert_eq!(test_env.counts().tokens, 1);
}

#[tokio::test]
async fn data_32_error_says_what_failed() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(ServerTls { requests_certificate: false, ..HTTP1 }).await;
    let store = bound(&test_env, server.certificate()).configure(builder(server.url())).build().unwrap();
    let error = store.get(&Path::from("x")).await.unwrap_err();
    assert!(says(&error, "did not request the client certificate"), "{error:?}");
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn data_33_half_of_the_pair_sends_no_token() {
    let test_env = TestEnv::new().await;
    let server = BlobServer::start().await;
    let bound = bound(&test_env, server.certificate());
    let path = Path::from("small");

    // The connector is forgotten.
    let plain = PlainConnector(connections_to(&test_env, server.certificate()));
    let store =
        builder(server.url()).with_credentials(bound.credentials()).with_http_connector(plain.clone());
    let error = store.build().unwrap().get(&path).await.unwrap_err();
    assert!(matches!(error, object_store::Error::Unauthenticated { .. }), "{error:?}");
    assert_eq!(server.checks(), [TokenCheck::Refused]);

    // The credentials are forgotten.
    let bearer = BearerStorage::new(test_env.identity());
    let with_bearer = builder(server.url()).with_credentials(Arc::new(bearer.clone()));
    let with_sas = builder(server.url()).with_config("azure_storage_sas_key".parse().unwrap(), "sig=secret");
    for store in [with_bearer, with_sas, builder(server.url()).with_skip_signature(true)] {
        let store = store.with_http_connector(bound.connector()).build().unwrap();
        let error = store.get(&path).await.unwrap_err();
        assert!(says(&error, "other credentials than those of this connector"), "{error:?}");
    }
    assert_eq!(server.checks().len(), 1, "nothing was sent");

    // Bearer tokens with their own type.
    let store: MicrosoftAzure =
        builder(server.url()).with_credentials(Arc::new(bearer)).with_http_connector(plain).build().unwrap();
    store.put(&path, PutPayload::from_static(b"content")).await.unwrap();
    assert_eq!(server.checks()[1], TokenCheck::Bearer);
}

#[tokio::test]
async fn data_35_azurite_accepts_bearer_tokens() {
    let Some(azurite) = Azurite::start() else { return };
    // Azurite has the clock of the machine, and accepts Entra's issuers only.
    let test_env =
        TestEnv::with_system_clock(|emulator| emulator.access_token_issuer("https://sts.windows.net")).await;
    let plain = PlainConnector(connections_to(&test_env, &azurite.certificate));
    let credentials = BearerStorage::new(test_env.identity());
    let token = credentials.get_credential().await.unwrap();
    let AzureCredential::BearerToken(token) = &*token else { panic!("no bearer token") };
    test_env.watch(token);
    let other = test_env.identity().token(RESOURCE).await.unwrap();
    let create = async |token: &str| {
        let request = http::Request::put(format!("{}/reports?restype=container", azurite.url))
            .header("authorization", format!("Bearer {token}"))
            .header("x-ms-version", "2023-11-03")
            .body(symbolon_client::outgoing(http_body_util::Empty::<bytes::Bytes>::new()))
            .unwrap();
        plain.0.send(request, None).await.unwrap().status()
    };
    assert_eq!(create(other.secret().expose()).await, 403, "the audience is another");
    assert_eq!(create(token).await, 201);

    let store = MicrosoftAzureBuilder::new().with_account(Azurite::ACCOUNT).with_container_name("reports");
    let store = store.with_endpoint(azurite.url.clone()).with_credentials(Arc::new(credentials));
    let store = store.with_http_connector(plain.clone()).build().unwrap();
    let (small, large) = (Path::from("small"), Path::from("folder/large"));
    store.put(&small, PutPayload::from_static(b"content")).await.unwrap();
    let mut upload = WriteMultipart::new(store.put_multipart(&large).await.unwrap());
    let data: Vec<u8> = (0..6 << 20).map(|at: u32| at as u8).collect();
    upload.write(&data);
    upload.finish().await.unwrap();
    assert_eq!(store.get(&small).await.unwrap().bytes().await.unwrap(), "content");
    assert_eq!(store.get(&large).await.unwrap().bytes().await.unwrap(), data);
    assert_eq!(listed(&store).await, [("folder/large".to_owned(), 6 << 20), ("small".to_owned(), 7)]);
    store.delete(&small).await.unwrap();
    assert!(matches!(store.get(&small).await.unwrap_err(), object_store::Error::NotFound { .. }));
}

/// A provider that returns bound tokens only.
#[derive(Debug)]
struct BoundOnly(symbolon::ManagedIdentity);

impl TokenProvider for BoundOnly {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<symbolon::Token, symbolon::Error> {
        self.0.token(request.resource()).proof_of_possession().await
    }
}

#[tokio::test]
async fn data_33_bound_token_is_refused() {
    let test_env = TestEnv::new().await;
    let credentials = BearerStorage::new(BoundOnly(test_env.identity()));
    let result: object_store::Result<Arc<AzureCredential>> = credentials.get_credential().await;
    assert!(says(&result.unwrap_err(), "bound to a certificate"));
}

/// object_store's own client, as far as it matters: it sends the header that it is given.
#[derive(Clone, Debug)]
struct PlainConnector(Connections);

impl HttpConnector for PlainConnector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for PlainConnector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.send(request.map(symbolon_client::outgoing), None).await.unwrap();
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
    }
}
