//! The transport that replaces placeholders by bound tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use azure_core::http::{AsyncRawResponse, HttpClient, Request as SdkRequest};
use http::header::AUTHORIZATION;
use symbolon_client::{Client, ClientBuilder, Error, ErrorKind};

use crate::failure::request_failed;
use crate::message::{request_of, response_of};
use crate::placeholder;

/// An [`HttpClient`] of the SDK with a client for each scope.
pub(crate) struct BoundTransport {
    make: Box<dyn Fn(&str) -> ClientBuilder + Send + Sync>,
    /// By scope; the empty scope is that of anonymous requests.
    clients: Mutex<HashMap<String, Client>>,
}

impl BoundTransport {
    pub(crate) fn new(make: impl Fn(&str) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), clients: Mutex::default() }
    }

    fn client(&self, scope: &str) -> azure_core::Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(scope) {
            return Ok(client.clone());
        }
        let client = (self.make)(scope).proof_of_possession().any_host().build().map_err(request_failed)?;
        clients.insert(scope.to_owned(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for BoundTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundTransport").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for BoundTransport {
    async fn execute_request(&self, request: &SdkRequest) -> azure_core::Result<AsyncRawResponse> {
        let request = request_of(request)?;
        let sent = match request.headers().get(AUTHORIZATION) {
            // The first request to a Key Vault, whose challenge names the scope.
            None => self.client("")?.send_anonymously(request).await,
            Some(value) => match value.to_str().ok().and_then(placeholder::scope_of) {
                Some(scope) => self.client(scope)?.send(request).await,
                None => return Err(request_failed(placeholder_missing())),
            },
        };
        sent.map(response_of).map_err(request_failed)
    }
}

fn placeholder_missing() -> Error {
    let error = "the request has an Authorization header of another credential; nothing was sent";
    Error::new(ErrorKind::Request, "placeholder_missing", error).with_advice(
        "pass the credential that belongs to this transport, of the same BoundAuthentication, to the client of the SDK",
    )
}
