//! Reachability of the endpoints.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde::Serialize;
use symbolon::parts::token::authority::authority_host;
use symbolon::parts::transport::{
    HttpClient, Request, RetryPolicy, Route, SharedTransport, TransportError, is_local_address, is_loopback,
    timeout,
};
use symbolon::{
    Context, Detection, Env, Error, HostCapabilities, HyperTransport, ImdsProbes, SharedClock, Source,
};
use url::Url;

use crate::failure;

// The token services of the public cloud, with and without mTLS.
const MTLS_TOKEN_SERVICE: &str = "https://mtlsauth.microsoft.com/";
const TOKEN_SERVICE: &str = "https://login.microsoftonline.com/";
/// The variable with the token service of another cloud or of an emulator.
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// Timeout of each check. They run in parallel after those of the metadata service, and the whole
/// report takes less than three seconds.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// The folder with the keys of the Azure Arc agent on Linux (docs/protocol/sources.md#azure-arc).
const ARC_KEYS: &str = "/var/opt/azcmagent/tokens";

/// A token service to check.
pub(super) struct TokenService {
    pub(super) url: Url,
    /// True for Azure's own, false for the one that the environment sets.
    pub(super) is_azure: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct EndpointReport {
    pub(super) url: String,
    pub(super) ok: bool,
    pub(super) ms: Option<u64>,
    pub(super) reason: String,
}

impl EndpointReport {
    pub(super) fn of_metadata_service(imds: &ImdsProbes) -> Self {
        Self {
            url: imds.base.clone(),
            ok: imds.version.is_some(),
            ms: imds.took.map(millis),
            reason: imds.reasons.join("; "),
        }
    }
}

/// Returns the token services of the public cloud, or the one that the environment sets.
pub(super) fn token_services(env: &Env) -> Result<Vec<TokenService>, Error> {
    let authority = env.var(AUTHORITY_HOST);
    let parse = |text: &str, is_azure| match authority_host(text) {
        Ok(url) => Ok(TokenService { url, is_azure }),
        Err(error) => Err(failure::request("invalid_endpoint", format!("{AUTHORITY_HOST}: {error}"))),
    };
    let first = parse(authority.as_deref().unwrap_or(TOKEN_SERVICE), authority.is_none())?;
    Ok(vec![first, parse(MTLS_TOKEN_SERVICE, true)?])
}

/// Returns true if the metadata service in use is on loopback, as an emulator's is. Its tokens come
/// from another token service than Azure's.
pub(super) fn is_local(found: &HostCapabilities) -> bool {
    let imds = found.imds.as_ref().filter(|imds| imds.version.is_some());
    let url = imds.and_then(|imds| imds.base.parse::<Url>().ok());
    url.is_some_and(|url| is_loopback(&url))
}

/// Checks that the URLs respond over TLS with any status.
pub(super) async fn reach(
    transport: &HyperTransport,
    services: impl Iterator<Item = &TokenService>,
) -> Vec<EndpointReport> {
    let http = HttpClient::new(SharedTransport::new(transport.clone()), Context::default());
    let clock = http.context().clock();
    join_all(services.map(async |TokenService { url, .. }| {
        let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
        let request = Request::new(Method::GET, url.clone(), Route::Public);
        let began = clock.now();
        let sent = http.send(&policy, || Ok::<_, TransportError>(request.clone())).await;
        let took = clock.now().duration_since(began).unwrap_or_default();
        let url = url.origin().ascii_serialization();
        match sent {
            Ok(_) => {
                EndpointReport { url, ok: true, ms: Some(millis(took)), reason: "responds over TLS".into() }
            }
            Err(error) => EndpointReport { url, ok: false, ms: None, reason: with_causes(&error) },
        }
    }))
    .await
}

/// Joins an error and its causes.
pub(super) fn with_causes(error: &TransportError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let texts = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    texts.collect::<Vec<_>>().join(": ")
}

/// Connects to the endpoint of the source, if its requests would be sent there. Sends nothing.
pub(super) async fn of_source(detection: &Detection, env: &Env) -> Option<EndpointReport> {
    let url = match detection.endpoint(env) {
        Ok(url) => url?,
        Err(error) => {
            return Some(EndpointReport {
                url: String::new(),
                ok: false,
                ms: None,
                reason: error.to_string(),
            });
        }
    };
    let clock = SharedClock::system();
    let began = clock.now();
    let connected = timeout(&clock, TIMEOUT, connect(&url)).await;
    let took = clock.now().duration_since(began).unwrap_or_default();
    let failure = match connected {
        Some(Ok(())) if detection.source == Source::AzureArc && !can_read(ARC_KEYS) => Some(format!(
            "accepts connections, but this user cannot read its keys in {ARC_KEYS}: add the user to the group himds"
        )),
        Some(Ok(())) => None,
        Some(Err(reason)) => Some(reason),
        None => Some("could not be reached within 1.5 s".to_owned()),
    };
    Some(EndpointReport {
        url: url.origin().ascii_serialization(),
        ok: failure.is_none(),
        ms: failure.is_none().then(|| millis(took)),
        reason: failure.unwrap_or_else(|| "accepts connections".to_owned()),
    })
}

/// Connects to an address that requests are sent to: without TLS, only to a local one.
async fn connect(url: &Url) -> Result<(), String> {
    let unreachable = |error: std::io::Error| format!("could not be reached: {error}");
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let found = tokio::net::lookup_host((host, port)).await.map_err(unreachable)?;
    let is_allowed = |address: &SocketAddr| url.scheme() == "https" || is_local_address(address.ip());
    let addresses: Vec<_> = found.filter(is_allowed).collect();
    if addresses.is_empty() {
        let reason = "an http URL with an address outside of this machine and its private networks gets no request; \
                      https is required";
        return Err(reason.to_owned());
    }
    tokio::net::TcpStream::connect(&addresses[..]).await.map(drop).map_err(unreachable)
}

/// Returns false if this user may not list the folder. Another error is no matter of rights.
fn can_read(folder: &str) -> bool {
    !std::fs::read_dir(folder).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
