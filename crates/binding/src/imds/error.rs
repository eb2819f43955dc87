//! Errors of requests to the metadata service.

use std::fmt;

use http::header::SERVER;
use http::{HeaderValue, StatusCode};
use symbolon_transport::{Response, RetryPolicy, TransportError, TransportErrorKind};
use symbolon_types::{Error, ErrorKind, IMDS_BASE_URL, SharedClock, Source, printable};

use super::endpoint::ImdsEndpoint;
use super::error_body::SourceErrorBody;

/// Part of the `Server` header of every response, in any case
/// (docs/protocol/imdsv2.md#platform-metadata).
const SERVER_NAME: &[u8] = b"IMDS";
/// Maximum number of characters of another server's name in a reason.
const MAX_SERVER_NAME: usize = 64;
/// Advice for a machine where no variable names a source.
const NO_SOURCE_ADVICE: &str = "check that this is an Azure machine and that no firewall or proxy blocks its metadata \
                                service; elsewhere, set IDENTITY_ENDPOINT and IDENTITY_HEADER, or use another \
                                credential";

/// Returns true if the metadata service itself sent this response, and not a proxy or another
/// server.
pub(crate) fn is_from_imds(response: &Response) -> bool {
    let names_imds = |value: &HeaderValue| {
        value.as_bytes().windows(SERVER_NAME.len()).any(|part| part.eq_ignore_ascii_case(SERVER_NAME))
    };
    response.headers().get_all(SERVER).iter().any(names_imds)
}

/// Returns the `Server` header of another server, for an error.
pub(super) fn server_name(response: &Response) -> String {
    let Some(server) = response.headers().get(SERVER) else { return "no Server header".to_owned() };
    let name: String = String::from_utf8_lossy(server.as_bytes()).chars().take(MAX_SERVER_NAME).collect();
    format!("Server: {}", printable(name))
}

/// Returns the error for a response that must not be used.
pub(crate) fn invalid_response(problem: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", format!("the instance metadata service {problem}"))
        .with_advice("check the address of the metadata service, and that no proxy intercepts requests to it")
}

/// Returns the error for a response whose status is not 200.
pub(super) fn status_error(endpoint: ImdsEndpoint, response: &Response, clock: &SharedClock) -> Error {
    let status = response.status();
    let from_imds = is_from_imds(response);
    if endpoint == ImdsEndpoint::PlatformMetadata && status == StatusCode::NOT_FOUND && from_imds {
        return Error::new(
            ErrorKind::Environment,
            "mtls_pop_not_supported_in_imds_v1",
            "the metadata service of this machine issues no certificates for managed identities",
        )
        .with_status(status.as_u16())
        .with_advice(
            "request a bearer token without mTLS, or use a machine whose metadata service has version 2",
        );
    }
    let summary = match endpoint {
        ImdsEndpoint::PlatformMetadata => {
            "the instance metadata service did not return the platform metadata"
        }
        ImdsEndpoint::IssueCredential => "the instance metadata service did not issue a certificate",
        ImdsEndpoint::BearerToken => "the instance metadata service did not issue a token",
    };
    let error = Error::new(ErrorKind::Service, "managed_identity_request_failed", summary)
        .with_status(status.as_u16())
        .with_transient(RetryPolicy::imds_endpoint().is_transient_status(status))
        .with_retry_after(response.retry_after(clock.now()))
        .with_excerpt(&String::from_utf8_lossy(response.body()), response.sent_secrets())
        .with_advice(advice(endpoint, status, from_imds));
    if from_imds { SourceErrorBody::read(Source::Imds, response).add_to(error) } else { error }
}

fn advice(endpoint: ImdsEndpoint, status: StatusCode, from_imds: bool) -> &'static str {
    match (endpoint, status.as_u16()) {
        _ if !from_imds => {
            "the answer did not come from the metadata service: check its address, proxies and firewalls"
        }
        (ImdsEndpoint::PlatformMetadata | ImdsEndpoint::BearerToken, 400) => {
            "check that the managed identity is assigned to this machine"
        }
        (ImdsEndpoint::IssueCredential, 400) => {
            "check that the managed identity is assigned to this machine; it may also be that this machine \
             must attest its keys, which requires an attester"
        }
        _ if RetryPolicy::imds_endpoint().is_transient_status(status) => "try again later",
        _ => "read the excerpt of the response, and quote the correlation id when you ask for support",
    }
}

/// Returns the error for a request without a response. `origin` is the address that it went to.
pub(super) fn transport_error(error: TransportError, origin: &str) -> Error {
    let service = format!("the instance metadata service at {origin}");
    let advice = match error.kind() {
        TransportErrorKind::Unsupported | TransportErrorKind::Panicked => {
            return error.into_source_error(service);
        }
        TransportErrorKind::Timeout => "try again later; a machine outside of Azure has no managed identity",
        TransportErrorKind::Insecure => {
            "set AZURE_POD_IDENTITY_AUTHORITY_HOST to an https URL, or to an address of this machine"
        }
        TransportErrorKind::TooLarge | TransportErrorKind::Protocol => {
            "check the address of the metadata service"
        }
        _ if error.advice().is_some() => return error.into_source_error(service),
        _ if origin != IMDS_BASE_URL => {
            "check AZURE_POD_IDENTITY_AUTHORITY_HOST, which names this metadata service"
        }
        _ => "check that this is an Azure machine and that no firewall blocks its metadata service",
    };
    error.into_source_error(service).with_advice(advice)
}

/// Returns the error of a machine where a probe, which `origin` did not respond to, is the first
/// request: no variable names a source, so that the machine probably has none.
pub(super) fn no_service(error: TransportError, origin: &str) -> Error {
    use TransportErrorKind::{Insecure, Panicked, Unsupported};

    if matches!(error.kind(), Insecure | Panicked | Unsupported) {
        return transport_error(error, origin);
    }
    let problem = match error.kind() {
        TransportErrorKind::Timeout => "did not respond",
        TransportErrorKind::Connect => "could not be reached",
        _ => "did not respond like a web server",
    };
    let error_text = format!(
        "no variable names a managed identity source, and the instance metadata service at {origin} {problem}"
    );
    Error::new(ErrorKind::Network, "managed_identity_unreachable", error_text)
        .with_transient(error.is_transient())
        .with_advice(NO_SOURCE_ADVICE)
        .with_source(error)
}

/// Returns the error of a machine where another server has the address of the metadata service,
/// such as a proxy, or the metadata service of another cloud.
pub(super) fn other_server(response: &Response, origin: &str) -> Error {
    let error_text = format!(
        "no variable names a managed identity source, and another server than the metadata service responded at \
         {origin} ({})",
        server_name(response)
    );
    Error::new(ErrorKind::Network, "managed_identity_unreachable", error_text)
        .with_status(response.status().as_u16())
        .with_excerpt(&String::from_utf8_lossy(response.body()), response.sent_secrets())
        .with_advice(NO_SOURCE_ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_header_identifies_imds() {
        for (server, expected) in [
            (Some("IMDS/150.870.65.1854"), true),
            (Some("imds"), true),
            (Some("Microsoft-ImdS/2"), true),
            (Some("I_MDS/150.870.65.1854"), false),
            (Some("nginx"), false),
            (Some(""), false),
            (None, false),
        ] {
            let headers = server.map(|value| (SERVER, HeaderValue::from_static(value))).into_iter().collect();
            let response = Response::new(StatusCode::OK, "").with_headers(headers);
            assert_eq!(is_from_imds(&response), expected, "{server:?}");
        }
    }
}
