//! The error of a request without a response.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use symbolon_types::{Error, ErrorKind};

use crate::error_kind::{Mapping, TransportErrorKind};
use crate::phase::RequestPhase;

/// The error of a request that got no response. Clones are cheap.
#[derive(Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    is_unprocessed: bool,
    circumstances: Option<Arc<Circumstances>>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The place and the details of a failure.
#[derive(Clone, Debug, Default)]
struct Circumstances {
    destination: Option<String>,
    proxy: Option<String>,
    waited: Option<(Duration, Option<RequestPhase>)>,
    problem: Option<Cow<'static, str>>,
    advice: Option<Cow<'static, str>>,
}

impl TransportError {
    /// Creates an error without a cause.
    #[must_use]
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, is_unprocessed: kind.is_unprocessed(), circumstances: None, source: None }
    }

    /// Sets whether the server has provably not processed the request. The default is true for the
    /// kinds after which nothing was sent, else false: [`Connect`](TransportErrorKind::Connect),
    /// [`IdentityNotRequested`](TransportErrorKind::IdentityNotRequested),
    /// [`IdentityUnusable`](TransportErrorKind::IdentityUnusable),
    /// [`Insecure`](TransportErrorKind::Insecure),
    /// [`Misconfigured`](TransportErrorKind::Misconfigured),
    /// [`ProxyRefused`](TransportErrorKind::ProxyRefused) and
    /// [`Unsupported`](TransportErrorKind::Unsupported).
    #[must_use]
    pub fn with_unprocessed(self, is_unprocessed: bool) -> Self {
        Self { is_unprocessed, ..self }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// Sets the server, as `host:port`, unless it is set already. [`SharedTransport`] sets the one
    /// of the URL.
    ///
    /// [`SharedTransport`]: crate::SharedTransport
    #[must_use]
    pub fn with_destination(self, destination: Option<String>) -> Self {
        self.edit(|circumstances| {
            circumstances.destination = circumstances.destination.take().or(destination);
        })
    }

    /// Sets the proxy that the request was sent through, without its credentials: its `host:port`,
    /// and the variable that names it.
    #[must_use]
    pub fn with_proxy(self, proxy: impl Into<String>) -> Self {
        self.edit(|circumstances| circumstances.proxy = Some(proxy.into()))
    }

    /// Sets the time limit that ended the request, and the phase that it was in.
    #[must_use]
    pub fn with_limit(self, limit: Duration, phase: Option<RequestPhase>) -> Self {
        self.edit(|circumstances| circumstances.waited = Some((limit, phase)))
    }

    /// Replaces the problem that the kind stands for. It completes a sentence whose subject is the
    /// server.
    #[must_use]
    pub fn with_problem(self, problem: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|circumstances| circumstances.problem = Some(problem.into()))
    }

    /// Replaces the advice that the kind stands for.
    #[must_use]
    pub fn with_advice(self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|circumstances| circumstances.advice = Some(advice.into()))
    }

    fn edit(mut self, change: impl FnOnce(&mut Circumstances)) -> Self {
        change(Arc::make_mut(self.circumstances.get_or_insert_default()));
        self
    }

    /// Returns the advice that a transport gave for this failure, which is more precise than that
    /// of the kind.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.circumstances.as_ref()?.advice.as_deref()
    }

    /// Returns the category.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// Returns true if the server has provably not processed the request, so that even a request
    /// that is not [idempotent](crate::Idempotence) may be sent again.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.is_unprocessed
    }

    /// Converts it into an [`Error`] with a summary of the failed operation.
    #[must_use]
    pub fn into_error(self, summary: impl Into<Cow<'static, str>>) -> Error {
        let Mapping { kind, code, .. } = Mapping::of(self.kind);
        self.wrapped(kind, code, summary.into())
    }

    /// Converts it into the [`Error`] of a managed identity source, which `source` names.
    ///
    /// A source that was not reached is `managed_identity_unreachable`, whatever the cause: the
    /// endpoint comes from the host, not from the caller. Only an endpoint to which plain HTTP must
    /// not be sent is `invalid_managed_identity_endpoint`.
    #[must_use]
    pub fn into_source_error(self, source: impl fmt::Display) -> Error {
        let Mapping { kind, code, problem, .. } = Mapping::of(self.kind);
        let (kind, code, problem) = match self.kind {
            TransportErrorKind::Insecure => (
                ErrorKind::Environment,
                "invalid_managed_identity_endpoint",
                "has an http URL with an address outside of this machine and its private networks; \
                 nothing was sent",
            ),
            TransportErrorKind::Unsupported => (ErrorKind::Environment, code, problem),
            TransportErrorKind::Misconfigured
            | TransportErrorKind::Panicked
            | TransportErrorKind::Timeout
            | TransportErrorKind::TooLarge
            | TransportErrorKind::Protocol => (kind, code, problem),
            _ => (ErrorKind::Network, "managed_identity_unreachable", "could not be reached"),
        };
        let problem = self.problem().unwrap_or(problem);
        let summary = format!("{source} {problem}");
        self.wrapped(kind, code, summary.into())
    }

    fn wrapped(self, kind: ErrorKind, code: &'static str, summary: Cow<'static, str>) -> Error {
        let place = self.circumstances.as_ref().and_then(|circumstances| circumstances.place(&summary));
        let summary = match place {
            Some(place) => format!("{summary} ({place})").into(),
            None => summary,
        };
        let advice = match self.advice() {
            Some(advice) => advice.to_owned().into(),
            None => Cow::Borrowed(Mapping::of(self.kind).advice),
        };
        let is_transient = self.is_transient();
        Error::new(kind, code, summary).with_advice(advice).with_transient(is_transient).with_source(self)
    }

    fn problem(&self) -> Option<&str> {
        self.circumstances.as_ref()?.problem.as_deref()
    }
}

impl Circumstances {
    /// Returns the server, the proxy and the time, as far as `summary` does not contain them.
    fn place(&self, summary: &str) -> Option<String> {
        let is_named = |destination: &str| {
            let host = destination.rsplit_once(':').map_or(destination, |(host, _)| host);
            summary.contains(destination) || summary.contains(&format!("//{host}"))
        };
        let destination = self.destination.clone().filter(|destination| !is_named(destination));
        let proxy = self.proxy.as_ref().map(|proxy| format!("through the proxy {proxy}"));
        let route: Vec<String> = destination.into_iter().chain(proxy).collect();
        let route = (!route.is_empty()).then(|| route.join(" "));
        let parts: Vec<String> = route.into_iter().chain(self.waited()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn waited(&self) -> Option<String> {
        self.waited.map(|(limit, phase)| match phase {
            Some(phase) => format!("waited {limit:?} for {phase}"),
            None => format!("waited {limit:?}"),
        })
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransportErrorKind::Insecure => {
                f.write_str("the URL has no TLS, which its address requires; nothing was sent")
            }
            TransportErrorKind::IdentityUnusable => {
                f.write_str("the private key of the client certificate failed to sign")
            }
            TransportErrorKind::Panicked => f.write_str("the transport panicked"),
            kind => {
                let circumstances = self.circumstances.as_deref();
                let server = circumstances.and_then(|circumstances| circumstances.destination.as_deref());
                let problem = self.problem().unwrap_or(Mapping::of(kind).problem);
                write!(f, "{} {problem}", server.unwrap_or("the server"))?;
                let place = circumstances.and_then(|circumstances| circumstances.place(server.unwrap_or("")));
                place.map_or(Ok(()), |place| write!(f, " ({place})"))
            }
        }
    }
}

symbolon_types::debug_fields!(TransportError: kind, is_unprocessed, circumstances, source);

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn kinds_map_to_errors() {
        use TransportErrorKind as Kind;
        for (kind, code, party, is_transient) in [
            (Kind::Insecure, "insecure_endpoint", ErrorKind::Request, false),
            (Kind::Unsupported, "transport_unsupported", ErrorKind::Request, false),
            (Kind::Misconfigured, "invalid_configuration", ErrorKind::Request, false),
            (Kind::Connect, "transport_error", ErrorKind::Network, true),
            (Kind::ProxyRefused, "transport_error", ErrorKind::Network, false),
            (Kind::Tls, "transport_error", ErrorKind::Network, false),
            (Kind::IdentityRejected, "transport_error", ErrorKind::Credential, false),
            (Kind::IdentityUnusable, "transport_error", ErrorKind::Credential, false),
            (Kind::IdentityNotRequested, "transport_error", ErrorKind::Environment, false),
            (Kind::Interrupted, "transport_error", ErrorKind::Network, true),
            (Kind::Timeout, "timeout", ErrorKind::Network, true),
            (Kind::TooLarge, "response_too_large", ErrorKind::Response, false),
            (Kind::Protocol, "invalid_response", ErrorKind::Response, false),
            (Kind::Panicked, "panicked", ErrorKind::Environment, false),
        ] {
            let cause = TransportError::new(kind).with_source("the cause");
            let message = cause.to_string();
            let error = cause.into_error("no token");
            assert_eq!(
                (error.code(), error.kind(), error.is_transient()),
                (code, party, is_transient),
                "{kind:?}"
            );
            assert!(error.to_string().starts_with("no token; "), "{error}");
            let source = error.source().unwrap();
            assert_eq!(source.to_string(), message, "{kind:?}");
            assert_eq!(source.source().map(ToString::to_string).as_deref(), Some("the cause"), "{kind:?}");
        }
    }

    #[test]
    fn nothing_was_sent_after_some_kinds() {
        use TransportErrorKind as Kind;
        for (kind, is_unprocessed) in [
            (Kind::Insecure, true),
            (Kind::Unsupported, true),
            (Kind::Misconfigured, true),
            (Kind::Connect, true),
            (Kind::ProxyRefused, true),
            (Kind::Tls, false),
            (Kind::IdentityRejected, false),
            (Kind::IdentityUnusable, true),
            (Kind::IdentityNotRequested, true),
            (Kind::Interrupted, false),
            (Kind::Timeout, false),
            (Kind::TooLarge, false),
            (Kind::Protocol, false),
        ] {
            let error = TransportError::new(kind);
            assert_eq!(error.is_unprocessed(), is_unprocessed, "{kind:?}");
            assert!(error.with_unprocessed(true).with_source("the cause").is_unprocessed(), "{kind:?}");
        }
    }

    #[test]
    fn sources_map_connection_failures_alike() {
        use TransportErrorKind as Kind;
        for (kind, code, party) in [
            (Kind::Connect, "managed_identity_unreachable", ErrorKind::Network),
            (Kind::Tls, "managed_identity_unreachable", ErrorKind::Network),
            (Kind::Misconfigured, "invalid_configuration", ErrorKind::Request),
            (Kind::Insecure, "invalid_managed_identity_endpoint", ErrorKind::Environment),
            (Kind::Unsupported, "transport_unsupported", ErrorKind::Environment),
            (Kind::Timeout, "timeout", ErrorKind::Network),
            (Kind::TooLarge, "response_too_large", ErrorKind::Response),
            (Kind::Protocol, "invalid_response", ErrorKind::Response),
            (Kind::Panicked, "panicked", ErrorKind::Environment),
        ] {
            let error = TransportError::new(kind).into_source_error("Cloud Shell");
            assert_eq!((error.code(), error.kind()), (code, party), "{kind:?}");
            assert!(error.to_string().starts_with("Cloud Shell "), "{error}");
        }
    }

    #[test]
    fn errors_name_server_proxy_and_limit() {
        let connect = || {
            let error = TransportError::new(TransportErrorKind::Connect);
            error.with_destination(Some("login.example:443".into())).with_destination(Some("other:1".into()))
        };
        let proxied = || connect().with_proxy("proxy.example:3128 of HTTPS_PROXY");
        let waited = |phase| connect().with_limit(Duration::from_secs(2), phase);
        let advice = "check the host name, the network, and the proxy if there is one";
        for (error, shown, summary) in [
            (
                connect(),
                "login.example:443 could not be reached",
                format!("no token (login.example:443); {advice}"),
            ),
            (
                proxied(),
                "login.example:443 could not be reached (through the proxy proxy.example:3128 of HTTPS_PROXY)",
                format!(
                    "no token (login.example:443 through the proxy proxy.example:3128 of HTTPS_PROXY); {advice}"
                ),
            ),
            (
                waited(Some(RequestPhase::Connection)),
                "login.example:443 could not be reached (waited 2s for the TCP connection)",
                format!("no token (login.example:443; waited 2s for the TCP connection); {advice}"),
            ),
            (
                waited(None).with_problem("is asleep").with_advice("wake it"),
                "login.example:443 is asleep (waited 2s)",
                "no token (login.example:443; waited 2s); wake it".to_owned(),
            ),
        ] {
            assert_eq!(error.to_string(), shown);
            assert_eq!(error.clone().into_error("no token").to_string(), summary);
            let named = error.into_error("no token of login.example:443").to_string();
            assert_eq!(named.matches("login.example:443").count(), 1, "{named}");
        }
    }
}
