//! The compared libraries.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use futures_util::FutureExt;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientSecret, Token, TokenClient};
use symbolon_transport::{Response, transport_fn};
use symbolon_types::Secret;

const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";
const CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
/// The lifetime of a token in seconds.
const LIFETIME: u64 = 86_400;

/// A library that holds a token for each of its scopes.
pub(crate) trait Peer: Sync {
    const NAME: &str;
    type Token;

    /// Creates one that holds tokens for `count` scopes.
    fn holding(count: usize) -> Self;

    /// Returns the cached token of a scope.
    fn hit(&self, number: usize) -> Self::Token;
}

fn scopes(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("https://{number}.vault.example/.default")).collect()
}

fn access_token() -> String {
    "t".repeat(1500)
}

/// The response of a token service.
fn granted() -> String {
    format!(r#"{{"token_type":"Bearer","access_token":"{}","expires_in":{LIFETIME}}}"#, access_token())
}

/// This project's token client.
pub(crate) struct Symbolon {
    client: TokenClient,
    scopes: Vec<String>,
}

impl Peer for Symbolon {
    const NAME: &str = "symbolon-token";
    type Token = Token;

    fn holding(count: usize) -> Self {
        let transport = transport_fn(|_| async { Ok(Response::new(http::StatusCode::OK, granted())) });
        let authority = Authority::parse(&format!("https://login.microsoftonline.com/{TENANT}")).unwrap();
        let application = Application::new(authority, CLIENT).unwrap();
        let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
        let peer =
            Self { client: TokenClient::builder(credential, transport).build(), scopes: scopes(count) };
        (0..count).for_each(|number| drop(peer.hit(number)));
        peer
    }

    fn hit(&self, number: usize) -> Token {
        self.client.token(&self.scopes[number]).into_future().now_or_never().unwrap().unwrap()
    }
}

/// The credential of the Azure SDK for Rust.
pub(crate) struct AzureIdentity {
    credential: Arc<ClientSecretCredential>,
    scopes: Vec<String>,
}

/// A token service in memory.
#[derive(Debug)]
struct TokenService;

#[async_trait::async_trait]
impl HttpClient for TokenService {
    async fn execute_request(&self, _request: &Request) -> azure_core::Result<AsyncRawResponse> {
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), granted()))
    }
}

impl Peer for AzureIdentity {
    const NAME: &str = "azure_identity";
    type Token = AccessToken;

    fn holding(count: usize) -> Self {
        let transport = Some(Transport::new(Arc::new(TokenService)));
        let client_options = ClientOptions { transport, ..ClientOptions::default() };
        let options = ClientSecretCredentialOptions { client_options };
        let credential = ClientSecretCredential::new(TENANT, CLIENT.into(), "secret".into(), Some(options));
        let peer = Self { credential: credential.unwrap(), scopes: scopes(count) };
        (0..count).for_each(|number| drop(peer.hit(number)));
        peer
    }

    fn hit(&self, number: usize) -> AccessToken {
        self.credential.get_token(&[&self.scopes[number]], None).now_or_never().unwrap().unwrap()
    }
}

/// A cache without credential, scheme or renewal.
pub(crate) struct Moka {
    cache: moka::sync::Cache<String, Arc<str>>,
    scopes: Vec<String>,
}

impl Peer for Moka {
    const NAME: &str = "moka, bare";
    type Token = Arc<str>;

    fn holding(count: usize) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(10_000)
            .time_to_live(Duration::from_secs(LIFETIME))
            .build();
        let scopes = scopes(count);
        for scope in &scopes {
            cache.insert(scope.clone(), access_token().into());
        }
        cache.run_pending_tasks();
        Self { cache, scopes }
    }

    fn hit(&self, number: usize) -> Arc<str> {
        self.cache.get(self.scopes[number].as_str()).unwrap()
    }
}
