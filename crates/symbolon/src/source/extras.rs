//! Headers and query parameters that the program adds to requests for bearer tokens.

use http::{HeaderMap, HeaderName, HeaderValue};
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{Request, SharedTransport, Transport, transport_fn};

use crate::partition::digest;

/// The headers that the sources or the transport set.
const RESERVED_HEADERS: [&str; 17] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "metadata",
    "proxy-authorization",
    "secret",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-client-sku",
    "x-client-ver",
    "x-identity-header",
    "x-ms-client-request-id",
];
/// The parameters that the sources set, in lower case.
const RESERVED_PARAMETERS: [&str; 12] = [
    "api-version",
    "bypass_cache",
    "client_id",
    "clientid",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "principal_id",
    "principalid",
    "resource",
    "token_sha256_to_refresh",
    "xms_cc",
];

/// Headers and query parameters that the program adds to requests for bearer tokens.
#[derive(Clone, Default)]
pub(crate) struct SourceExtras {
    headers: HeaderMap,
    parameters: Vec<(String, String)>,
}

impl SourceExtras {
    pub(crate) fn add_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    pub(crate) fn add_parameter(&mut self, name: String, value: String) {
        self.parameters.retain(|(known, _)| *known != name);
        self.parameters.push((name, value));
    }

    /// Refuses names that the sources set themselves.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let header = self.headers.keys().map(HeaderName::as_str).find(|name| RESERVED_HEADERS.contains(name));
        let is_reserved =
            |name: &str| name.is_empty() || RESERVED_PARAMETERS.contains(&name.to_ascii_lowercase().as_str());
        let parameter = self.parameters.iter().map(|(name, _)| name.as_str()).find(|name| is_reserved(name));
        let (what, name) = match (header, parameter) {
            (None, None) => return Ok(()),
            (Some(name), _) => ("header", name),
            (None, Some(name)) => ("parameter", name),
        };
        let error = format!("requests to managed identity sources set the {what} {name:?} themselves");
        Err(Error::new(ErrorKind::Request, "invalid_parameter", error)
            .with_advice("leave it out, or use the method of the builder or of the request that sets it"))
    }

    /// Returns a digest, by which tokens are cached; `None` without extras.
    pub(crate) fn digest(&self) -> Option<String> {
        let headers =
            self.headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let parameters = self.parameters.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let count = self.headers.len().to_be_bytes();
        self.has_any().then(|| digest([&count[..]].into_iter().chain(headers).chain(parameters)))
    }

    /// Returns a transport that adds the extras to each request.
    pub(crate) fn on(&self, transport: SharedTransport) -> SharedTransport {
        if !self.has_any() {
            return transport;
        }
        let (extras, capabilities) = (self.clone(), transport.capabilities());
        let adding = transport_fn(move |mut request: Request| {
            extras.add_to(&mut request);
            let transport = transport.clone();
            async move { transport.send(request).await }
        });
        SharedTransport::new(adding.with_capabilities(capabilities))
    }

    fn add_to(&self, request: &mut Request) {
        request.headers_mut().extend(self.headers.clone());
        if !self.parameters.is_empty() {
            request.url_mut().query_pairs_mut().extend_pairs(&self.parameters);
        }
    }

    fn has_any(&self) -> bool {
        !self.headers.is_empty() || !self.parameters.is_empty()
    }
}

// Hides the values.
symbolon_types::debug_fields!(
    SourceExtras |this| headers: this.headers.len(), parameters: this.parameters.len()
);
