//! A token, and the certificate it is bound to.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use symbolon_transport::{Request, Route};
use symbolon_types::{ClientIdentity, CorrelationId, Error, ErrorKind, Secret};

use super::key::TokenKey;
use crate::oauth::{Account, Scheme};

/// An access token together with what it takes to use it. Immutable; clones are cheap.
///
/// A bound token is worth something only on a connection that presents its certificate, so the two
/// are kept together until the moment of use: [`authorize`](Self::authorize) makes a request that
/// carries both.
#[derive(Clone)]
pub struct Token {
    issued: Arc<TokenParts>,
    source: TokenSource,
}

pub(crate) struct TokenParts {
    pub(crate) secret: Secret,
    pub(crate) scheme: Scheme,
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) tenant_id: Option<Arc<str>>,
    pub(crate) account: Option<Account>,
    pub(crate) expires_on: SystemTime,
    pub(crate) refresh_on: SystemTime,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) attempts: usize,
    pub(crate) duration: Duration,
    pub(crate) key: TokenKey,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSource {
    /// It was issued for this request.
    Network,
    /// It was issued for another request that this one waited with.
    Joined,
    /// It was in the cache.
    Cache,
}

impl TokenSource {
    /// `network`, `joined` or `cache`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Joined => "joined",
            Self::Cache => "cache",
        }
    }
}

impl Token {
    pub(crate) fn new(issued: TokenParts) -> Self {
        Self { issued: Arc::new(issued), source: TokenSource::Network }
    }

    pub(crate) fn from(mut self, source: TokenSource) -> Self {
        self.source = source;
        self
    }

    pub(crate) fn key(&self) -> &TokenKey {
        &self.issued.key
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.issued, &other.issued)
    }

    /// The token itself.
    ///
    /// Prefer [`authorize`](Self::authorize): a bound token in a header of your own is refused
    /// unless your connection presents the same certificate.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.issued.secret
    }

    /// `Bearer` or `mtls_pop`; also the scheme of the `Authorization` header.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        self.issued.scheme.token_type()
    }

    /// The certificate that the token is bound to, ready for the next handshake.
    #[must_use]
    pub fn bound_to(&self) -> Option<&ClientIdentity> {
        self.issued.scheme.bound_to()
    }

    /// The scopes or the resource that it is for, as they were asked for.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.issued.key.audience()
    }

    /// The client that it was issued to, where the issuer says so.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.issued.client_id.as_deref()
    }

    /// The tenant that it was issued in, where that is known.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.issued.tenant_id.as_deref()
    }

    /// The user that it is about; none for a token of the client itself.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.issued.account.as_ref()
    }

    /// When the issuer lets it end.
    #[must_use]
    pub fn expires_on(&self) -> SystemTime {
        self.issued.expires_on
    }

    /// When it will be renewed, if it is asked for again.
    #[must_use]
    pub fn refresh_on(&self) -> SystemTime {
        self.issued.refresh_on
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> TokenSource {
        self.source
    }

    /// The id of the request that it was issued for.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.issued.correlation_id
    }

    /// How many requests it took to have it issued, at least 1.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.issued.attempts
    }

    /// How long these requests took, the waits between them included.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.issued.duration
    }

    /// Makes a request that carries the token and, for a bound token, the certificate that it must
    /// travel with.
    ///
    /// ```no_run
    /// # use symbolon_token::Token;
    /// # use symbolon_transport::{SharedTransport, Transport};
    /// # async fn example(token: Token, transport: SharedTransport) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = http::Request::get("https://vault.example/secrets/x").body(bytes::Bytes::new())?;
    /// let response = transport.send(token.authorize(request)?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `insecure_endpoint` if the URL is not `https`, `invalid_request` if it is not absolute.
    pub fn authorize(&self, request: http::Request<Bytes>) -> Result<Request, Error> {
        let (head, body) = request.into_parts();
        let url: url::Url = head.uri.to_string().parse().map_err(|_| {
            Error::new(
                ErrorKind::Request,
                "invalid_request",
                "the request names no absolute URL; nothing was sent",
            )
            .with_advice("use a URL of the form https://host/path")
        })?;
        if url.scheme() != "https" {
            let error = "a token does not travel without TLS; nothing was sent";
            return Err(Error::new(ErrorKind::Request, "insecure_endpoint", error)
                .with_advice("call the resource by its https URL"));
        }
        let credentials = format!("{} {}", self.token_type(), self.secret().expose());
        let mut credentials = HeaderValue::try_from(credentials).map_err(|_| {
            let error = "the token contains characters that no header can carry";
            Error::new(ErrorKind::Response, "invalid_response", error)
                .with_advice("check where the token comes from: it is none that a service issues")
        })?;
        credentials.set_sensitive(true);
        let mut authorized = Request::new(head.method, url, Route::Public)
            .with_body(body)
            .with_identity(self.bound_to().cloned());
        *authorized.headers_mut() = head.headers;
        authorized.headers_mut().insert(AUTHORIZATION, credentials);
        Ok(authorized)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("token_type", &self.token_type())
            .field("audience", &self.audience())
            .field("expires_on", &self.issued.expires_on)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
