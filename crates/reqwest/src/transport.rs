//! A transport over reqwest.

use bytes::{Bytes, BytesMut};
use symbolon_rustls::ClientConfigs;
use symbolon_transport::{
    BODY_LIMIT, Capabilities, Idempotence, Request, Response, Route, Transport, TransportError,
    TransportErrorKind,
};

use symbolon_types::Context;

use crate::attempt::Attempt;
use crate::clients::{ClientRoute, ReqwestClients};
use crate::connections::{HTTP_1_1, announce_no_content};
use crate::failure::{AttemptFailure, attempt_failed, body_failed};

/// A [`Transport`] over reqwest, for token requests: it presents client certificates and
/// authenticates pinned servers. Clones share connections.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_reqwest::ReqwestTransport;
/// use symbolon_rustls::ClientConfigs;
///
/// let configs = ClientConfigs::builder().build()?;
/// let transport = ReqwestTransport::new(configs, || reqwest::Client::builder().user_agent("contoso/1.0"));
/// let identity = symbolon::ManagedIdentity::builder().transport(transport).build()?;
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ReqwestTransport(ReqwestClients);

impl ReqwestTransport {
    /// Creates a transport with TLS configurations and the settings of reqwest.
    ///
    /// `settings` is called for each certificate, pinned server and route. These settings are
    /// replaced: those of TLS, by `configs`; redirects and decompression, which a transport must
    /// not perform; and for [`Route::Local`] the proxies, and without TLS the name resolution.
    pub fn new(
        configs: ClientConfigs,
        settings: impl Fn() -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        let settings = move || settings().no_gzip().no_brotli().no_zstd().no_deflate().http1_only();
        Self(ReqwestClients::new(configs, settings, HTTP_1_1))
    }

    /// Reports new TLS connections to the observer of a context, with its clock, as
    /// [`Event::Handshake`](symbolon_types::Event::Handshake). Default: none.
    #[must_use]
    pub fn context(self, context: &Context) -> Self {
        Self(self.0.observed_by(context))
    }

    async fn attempt(&self, request: &Request) -> Result<reqwest::Response, AttemptFailure> {
        let route = match (request.route(), request.url().scheme()) {
            (Route::Local, "https") => ClientRoute::Local,
            (Route::Local, _) => ClientRoute::LocalWithoutTls,
            _ => ClientRoute::Public,
        };
        // reqwest takes the name of the server from the URL.
        if request.server_auth().name().is_some() {
            return Err(TransportError::new(TransportErrorKind::Unsupported).into());
        }
        let client = self.0.client(request.identity(), request.server_auth(), route).await?;
        let mut outgoing = reqwest::Request::new(request.method().clone(), request.url().clone());
        *outgoing.headers_mut() = request.headers().clone();
        if request.body().is_empty() {
            announce_no_content(request.method(), outgoing.headers_mut());
        } else {
            *outgoing.body_mut() = Some(request.body().clone().into());
        }
        let attempt = Attempt::of_scheme(request.url().scheme());
        let sent = attempt.drive(client.execute(outgoing)).await;
        sent.map_err(|error| attempt_failed(error, &attempt))
    }

    /// Sends a request, and a second time if its connection was lost and it may be repeated.
    async fn exchange(&self, request: &Request) -> Result<reqwest::Response, TransportError> {
        let first = match self.attempt(request).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let may_repeat = first.error.is_unprocessed() || request.idempotence() == Idempotence::Message;
        if first.error.kind() != TransportErrorKind::Interrupted || !may_repeat {
            return Err(first.error);
        }
        tracing::debug!("the connection was lost; sending again");
        self.attempt(request).await.map_err(|second| {
            let is_unprocessed = first.error.is_unprocessed() && second.error.is_unprocessed();
            let error = match first.is_lost_with_identity && second.is_lost_with_identity {
                true => TransportError::new(TransportErrorKind::IdentityRejected).with_source(second.error),
                false => second.error,
            };
            error.with_unprocessed(is_unprocessed)
        })
    }
}

impl Transport for ReqwestTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_client_certificates().with_pinned_servers()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let sent = async {
            let mut response = self.exchange(&request).await?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            Ok(Response::new(status, whole_body(response).await?).with_headers(headers))
        };
        sent.await.inspect_err(|error: &TransportError| {
            tracing::debug!(kind = ?error.kind(), has_identity = request.identity().is_some(), "request failed");
        })
    }
}

async fn whole_body(mut response: reqwest::Response) -> Result<Bytes, TransportError> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await.map_err(body_failed)? {
        if body.len() + part.len() > BODY_LIMIT {
            return Err(TransportErrorKind::TooLarge.into());
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}
