//! The transport contract.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use symbolon_types::{ServerAuth, catch_panic_of};
use url::{Host, Url};

use crate::capabilities::Capabilities;
use crate::error::TransportError;
use crate::error_kind::TransportErrorKind;
use crate::request::{Request, Route, is_local_address};
use crate::response::Response;

/// Sends HTTP requests.
///
/// # Contract
/// - The identity of a request is presented in the TLS handshake, or the request fails with
///   [`Unsupported`](TransportErrorKind::Unsupported),
///   [`IdentityNotRequested`](TransportErrorKind::IdentityNotRequested) or
///   [`IdentityUnusable`](TransportErrorKind::IdentityUnusable). A request is never sent on a
///   connection that presented another identity, or none; a request without identity is never sent
///   on a connection that presented one. A resumed TLS session counts as presenting the identity of
///   its first handshake.
/// - A [pinned server](Request::with_pinned_server) is authenticated by the thumbprint of its
///   certificate only, and proves in the handshake that it has the key. Any other server is
///   [`Tls`](TransportErrorKind::Tls) before a byte of the request is sent. Connections and
///   sessions are never shared between pins, or with requests without a pin.
/// - A server with a [private trust](Request::with_private_trust) is authenticated by the roots and
///   the name in it. Roots that are trusted for other servers do not count, and connections and
///   sessions are shared with equal trust only.
/// - A certificate that the server refuses is
///   [`IdentityRejected`](TransportErrorKind::IdentityRejected), under TLS 1.2, where the refusal
///   is part of the handshake, and under TLS 1.3, where it follows the handshake. The sign is a
///   fatal alert. The loss of a new connection is one only if the request was then lost on a second
///   new connection too; the loss of a connection that has served a request is none.
/// - A redirect is returned, not followed. A body over [`BODY_LIMIT`](crate::BODY_LIMIT) is
///   [`TooLarge`](TransportErrorKind::TooLarge).
/// - [`Route::Local`] never uses a proxy. Plain HTTP is sent only to an address for which
///   [`is_local_address`] returns true. A transport that resolves a name tests the addresses that
///   it connects to, not the name, and returns [`Insecure`](TransportErrorKind::Insecure) if none
///   is left.
/// - Dropping the future cancels the request and affects no other request.
/// - There are no time limits. A request is sent once, except that a transport may send it a second
///   time, on a new connection, after its connection was lost: if it has written nothing of the
///   request to the lost connection, or if the message is
///   [idempotent](crate::Idempotence::Message). So a POST that was delivered is not sent again.
/// - An error states if the server has provably not processed the request
///   ([`TransportError::with_unprocessed`]), for example because nothing of it was written.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Returns the optional abilities.
    fn capabilities(&self) -> Capabilities;

    /// Sends a request.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response, TransportError>> + Send;
}

/// A handle to any [`Transport`]. Clones are cheap and share connections.
///
/// All requests of Symbolon pass through it, so it enforces the rules for all transports: a request
/// with a client certificate, for a pinned server or with a private trust requires TLS and a
/// transport with that ability, and [`Route::Public`] requires HTTPS. Plain HTTP to an address in
/// the URL requires a local one; only the transport can test the addresses of a name. A panic of
/// the transport becomes [`Panicked`](TransportErrorKind::Panicked).
#[derive(Clone, Debug)]
pub struct SharedTransport(Arc<dyn ErasedTransport>);

impl SharedTransport {
    /// Creates a handle.
    pub fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }
}

impl Transport for SharedTransport {
    fn capabilities(&self) -> Capabilities {
        self.0.declared()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let destination = request.destination();
        let sent = match check(&request, self.0.declared()) {
            Ok(()) => {
                let sent = catch_panic_of("the transport", || self.0.send_boxed(request)).await;
                sent.unwrap_or_else(|_| Err(TransportErrorKind::Panicked.into()))
            }
            Err(error) => Err(error),
        };
        sent.map_err(|error| error.with_destination(destination))
    }
}

fn check(request: &Request, capabilities: Capabilities) -> Result<(), TransportError> {
    let is_usual_server = *request.server_auth() == ServerAuth::Roots;
    let needs_tls = request.route() != Route::Local || request.identity().is_some() || !is_usual_server;
    match request.url().scheme() {
        "https" => {}
        "http" if !needs_tls && is_plain_host(request.url()) => {}
        "http" => return Err(TransportErrorKind::Insecure.into()),
        _ => return Err(TransportErrorKind::Unsupported.into()),
    }
    if request.identity().is_some() && !capabilities.client_certificates() {
        return Err(TransportErrorKind::Unsupported.into());
    }
    let is_capable = match request.server_auth() {
        ServerAuth::Roots => true,
        ServerAuth::Pinned(_) => capabilities.pinned_servers(),
        ServerAuth::Private(_) => capabilities.private_trust(),
        _ => false,
    };
    if is_capable { Ok(()) } else { Err(TransportErrorKind::Unsupported.into()) }
}

/// Returns whether plain HTTP may be sent to the host, as far as the URL shows.
fn is_plain_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => is_local_address(address.into()),
        Some(Host::Ipv6(address)) => is_local_address(address.into()),
        None => false,
    }
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send + 'a>>;

/// The object-safe form of [`Transport`].
trait ErasedTransport: fmt::Debug + Send + Sync {
    fn declared(&self) -> Capabilities;
    fn send_boxed(&self, request: Request) -> BoxFuture<'_>;
}

impl<T: Transport> ErasedTransport for T {
    fn declared(&self) -> Capabilities {
        Transport::capabilities(self)
    }

    fn send_boxed(&self, request: Request) -> BoxFuture<'_> {
        Box::pin(Transport::send(self, request))
    }
}

/// A transport from a closure; see [`transport_fn`].
#[derive(Clone)]
pub struct TransportFn<F> {
    send: F,
    capabilities: Capabilities,
}

/// Creates a transport from a closure, for tests or around an existing HTTP client.
///
/// It declares no capabilities; add them with [`TransportFn::with_capabilities`].
///
/// ```
/// # use symbolon_transport::{Request, Response, transport_fn};
/// # use http::StatusCode;
/// let transport = transport_fn(|request: Request| async move {
///     assert_eq!(request.url().path(), "/token");
///     Ok(Response::new(StatusCode::OK, "{}"))
/// });
/// ```
pub fn transport_fn<F, R>(send: F) -> TransportFn<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, TransportError>> + Send,
{
    TransportFn { send, capabilities: Capabilities::none() }
}

impl<F> TransportFn<F> {
    /// Declares these capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl<F, R> Transport for TransportFn<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, TransportError>> + Send,
{
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn send(&self, request: Request) -> impl Future<Output = Result<Response, TransportError>> + Send {
        (self.send)(request)
    }
}

impl<F> fmt::Debug for TransportFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFn").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http::{Method, StatusCode};
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};
    use symbolon_types::{ClientIdentity, SharedSigningKey};

    use super::*;
    use crate::CertificatePin;
    use crate::testing::PublicHalf;

    fn identity() -> ClientIdentity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
        ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
    }

    #[test]
    fn public_requests_require_https() {
        for (url, route, outcome) in [
            ("https://login.example/token", Route::Public, Ok(())),
            ("http://login.example/token", Route::Public, Err(TransportErrorKind::Insecure)),
            ("http://169.254.169.254/metadata", Route::Local, Ok(())),
            ("https://localhost:1/token", Route::Local, Ok(())),
            ("http://203.0.113.7/token", Route::Local, Err(TransportErrorKind::Insecure)),
            ("http://3405803783/token", Route::Local, Err(TransportErrorKind::Insecure)),
            ("http://[2001:db8::1]/token", Route::Local, Err(TransportErrorKind::Insecure)),
            ("http://[::ffff:203.0.113.7]/", Route::Local, Err(TransportErrorKind::Insecure)),
            ("http://[::ffff:10.0.0.1]/", Route::Local, Ok(())),
            ("https://203.0.113.7/token", Route::Local, Ok(())),
            ("ftp://login.example/token", Route::Public, Err(TransportErrorKind::Unsupported)),
        ] {
            let transport =
                SharedTransport::new(transport_fn(|_| async { Ok(Response::new(StatusCode::OK, "")) }));
            let request = Request::new(Method::GET, url.parse().unwrap(), route);
            let sent = transport.send(request).now_or_never().unwrap();
            assert_eq!(sent.map(|_| ()).map_err(|error| error.kind()), outcome, "{url}");
        }
    }

    #[test]
    fn panic_is_an_error() {
        for is_late in [false, true] {
            let transport = SharedTransport::new(transport_fn(move |_| {
                assert!(is_late, "s3cr3t");
                async { panic!("s3cr3t") }
            }));
            let request = Request::new(Method::GET, "https://a.example".parse().unwrap(), Route::Public);
            let error = transport.send(request).now_or_never().unwrap().unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Panicked);
            assert!(!format!("{error:?} {error}").contains("s3cr3t"));
        }
    }

    #[test]
    fn identity_requires_tls_and_capability() {
        let capable = Capabilities::none().with_client_certificates();
        let insecure = Err(TransportErrorKind::Insecure);
        let unsupported = Err(TransportErrorKind::Unsupported);
        for (url, route, capabilities, outcome) in [
            ("https://login.example/token", Route::Public, capable, Ok(())),
            ("https://127.0.0.1:1/token", Route::Local, capable, Ok(())),
            ("http://127.0.0.1:1/token", Route::Local, capable, insecure),
            ("http://login.example/token", Route::Public, capable, insecure),
            ("https://login.example/token", Route::Public, Capabilities::none(), unsupported),
            (
                "https://127.0.0.1:1/token",
                Route::Local,
                Capabilities::none().with_pinned_servers(),
                unsupported,
            ),
        ] {
            let answer = |_| async { Ok(Response::new(StatusCode::OK, "")) };
            let transport = SharedTransport::new(transport_fn(answer).with_capabilities(capabilities));
            assert_eq!(transport.capabilities(), capabilities);
            let request = Request::new(Method::GET, url.parse().unwrap(), route);
            let sent = transport.send(request.with_identity(Some(identity()))).now_or_never().unwrap();
            assert_eq!(sent.map(|_| ()).map_err(|error| error.kind()), outcome, "{url} {capabilities:?}");
        }
    }

    #[test]
    fn pinned_server_requires_tls_and_capability() {
        let pin = CertificatePin::from_sha1([7; 20]);
        let capable = Capabilities::none().with_pinned_servers();
        for (url, capabilities, outcome) in [
            ("https://127.0.0.1:1/token", capable, Ok(())),
            ("http://127.0.0.1:1/token", capable, Err(TransportErrorKind::Insecure)),
            ("https://127.0.0.1:1/token", Capabilities::none(), Err(TransportErrorKind::Unsupported)),
            (
                "https://127.0.0.1:1/token",
                Capabilities::none().with_client_certificates(),
                Err(TransportErrorKind::Unsupported),
            ),
        ] {
            let answer = |_| async { Ok(Response::new(StatusCode::OK, "")) };
            let transport = SharedTransport::new(transport_fn(answer).with_capabilities(capabilities));
            let request = Request::new(Method::GET, url.parse().unwrap(), Route::Local);
            let sent = transport.send(request.with_pinned_server(Some(pin))).now_or_never().unwrap();
            assert_eq!(sent.map(|_| ()).map_err(|error| error.kind()), outcome, "{url} {capabilities:?}");
        }
    }
}
