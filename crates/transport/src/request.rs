//! What is sent.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};
use symbolon_types::ClientIdentity;
use url::Url;

use crate::CertificatePin;

/// One HTTP request: where to, by which way, and as whom.
///
/// ```
/// # use symbolon_transport::{Request, Route};
/// # use http::{HeaderValue, Method};
/// let url = "http://169.254.169.254/metadata/identity/getplatformmetadata".parse()?;
/// let mut request = Request::new(Method::GET, url, Route::Local);
/// request.headers_mut().insert("metadata", HeaderValue::from_static("true"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    route: Route,
    headers: HeaderMap,
    body: Bytes,
    identity: Option<ClientIdentity>,
    pinned_server: Option<CertificatePin>,
}

/// By which way a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// To an endpoint of this machine: a metadata service on a link-local address, an agent on
    /// loopback. Plain HTTP is allowed; a proxy never is.
    Local,
    /// To a service. HTTPS only; a configured proxy may be used.
    Public,
}

impl Request {
    /// A request without headers, body and client certificate.
    #[must_use]
    pub fn new(method: Method, url: Url, route: Route) -> Self {
        Self {
            method,
            url,
            route,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            identity: None,
            pinned_server: None,
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same, to be sent only on a connection that presents this client certificate.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<ClientIdentity>) -> Self {
        self.identity = identity;
        self
    }

    /// The same, to be sent only to the server with this certificate. Its chain, its names and its
    /// validity do not count then: the thumbprint is all that the server is known by.
    #[must_use]
    pub fn with_pinned_server(mut self, pin: Option<CertificatePin>) -> Self {
        self.pinned_server = pin;
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// By which way.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// The headers. The transport adds `Host` and `Content-Length`, and nothing else.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The client certificate that the connection must present.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.as_ref()
    }

    /// The certificate that the server must have, if that is how it is known.
    #[must_use]
    pub fn pinned_server(&self) -> Option<CertificatePin> {
        self.pinned_server
    }
}

/// Shows the method and the origin: a path, a query, a header or a body may hold a secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("origin", &self.url.origin().ascii_serialization())
            .field("route", &self.route)
            .field("has_identity", &self.identity.is_some())
            .field("pinned_server", &self.pinned_server)
            .finish_non_exhaustive()
    }
}
