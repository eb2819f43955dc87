//! `symbolon call`.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use symbolon::parts::client::TransportConnections;
use symbolon::parts::types::printable;
use symbolon::{Client, CorrelationId, Env, Error, ManagedIdentity};

use crate::acquire;
use crate::args::GlobalOptions;
use crate::args::token::{CallOptions, TlsLibrary};
use crate::{failure, stdout};

/// The header with the id under which services of Azure log a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

pub(super) async fn run(options: &CallOptions, global: &GlobalOptions, env: &Env) -> Result<ExitCode, Error> {
    let id = options.headers.iter().find(|(name, _)| name == REQUEST_ID);
    let id =
        id.and_then(|(_, value)| value.to_str().ok()?.parse().ok()).unwrap_or_else(CorrelationId::random);
    let request = request(options, id)?;
    let identity = acquire::identity(&options.acquire, global, env)?;
    let openssl = match options.tls {
        TlsLibrary::Rustls => None,
        TlsLibrary::Openssl => Some(openssl_client(&identity, options, global, env)?),
    };
    let token = acquire::token(&identity, &options.acquire, false).await?;
    let response = match (openssl, global.timeout) {
        (Some(openssl), _) => openssl.call_with(&token, request).await,
        (None, Some(limit)) => identity.call_within(&token, request, limit).await,
        (None, None) => identity.call(&token, request).await,
    };
    let response = response.map_err(|error| match error.correlation_id() {
        Some(_) => error,
        None => error.with_correlation_id(id),
    })?;
    print(&response, options.include).map_err(stdout::not_printed)?;
    if response.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(failure::refused_by_resource(&response, id, token.secret()))
}

/// Returns a client that calls the resource over OpenSSL.
#[cfg(feature = "openssl")]
fn openssl_client(
    identity: &ManagedIdentity,
    options: &CallOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<Client<TransportConnections>, Error> {
    let transport = acquire::transport_builder(global.ca_file.as_deref(), env)?;
    let transport = transport.tls_backend::<symbolon_openssl::OpensslBackend>();
    let transport = acquire::built(transport, global.ca_file.as_deref())?;
    let client = identity.client(&options.acquire.resource).any_host().transport(transport);
    let client = if options.acquire.pop { client.proof_of_possession() } else { client };
    match global.timeout {
        Some(limit) => client.deadline(limit).read_timeout(limit).build(),
        None => client.build(),
    }
}

#[cfg(not(feature = "openssl"))]
fn openssl_client(
    _identity: &ManagedIdentity,
    _options: &CallOptions,
    _global: &GlobalOptions,
    _env: &Env,
) -> Result<Client<TransportConnections>, Error> {
    let error =
        failure::request("transport_unsupported", "--tls openssl is not part of this build of the command");
    Err(error.with_advice("build symbolon-cli with the feature `openssl` and the headers of OpenSSL 3"))
}

/// Returns the request. Azure's services log the id in its header.
fn request(options: &CallOptions, id: CorrelationId) -> Result<Request<Bytes>, Error> {
    if options.url.scheme() != "https" {
        return Err(failure::request(
            "insecure_endpoint",
            "a token must not be sent without TLS; use an https URL",
        ));
    }
    let body = options.data.clone().map(Bytes::from);
    let method = match (&options.method, &body) {
        (Some(method), _) => method.clone(),
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    let mut request = Request::builder().method(method).uri(options.url.as_str());
    if let Some(headers) = request.headers_mut() {
        headers.extend(HeaderValue::try_from(id.to_string()).ok().map(|id| (REQUEST_ID, id)));
        headers.extend(options.headers.iter().cloned().collect::<HeaderMap>());
    }
    let request = request.body(body.unwrap_or_default());
    request.map_err(|error| failure::request("invalid_usage", format!("the URL cannot be called: {error}")))
}

/// Prints the response: unchanged for programs, with invisible characters escaped on a terminal.
fn print(response: &Response<Bytes>, include: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let is_terminal = stdout.is_terminal();
    let shown = |text| if is_terminal { Cow::Owned(printable_lines(text)) } else { Cow::Borrowed(text) };
    if include {
        writeln!(stdout, "HTTP/1.1 {}", response.status())?;
        for (name, value) in response.headers() {
            write!(stdout, "{name}: ")?;
            stdout.write_all(&shown(value.as_bytes()))?;
            writeln!(stdout)?;
        }
        writeln!(stdout)?;
    }
    stdout.write_all(&shown(response.body()))?;
    // The prompt of the shell starts on a new line.
    if is_terminal && !response.body().ends_with(b"\n") {
        writeln!(stdout)?;
    }
    stdout.flush()
}

/// Escapes the invisible characters of a text, and the octets that are not UTF-8. Line breaks and
/// tabs stay.
fn printable_lines(text: &[u8]) -> Vec<u8> {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().replace("\r\n", "\n").chars() {
            match character {
                '\n' | '\t' => shown.push(character),
                _ => shown.push_str(&printable(character).to_string()),
            }
        }
        shown.extend(chunk.invalid().iter().map(|octet| format!("\\x{octet:02x}")));
    }
    shown.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_body_stay_lines() {
        for (body, expected) in [
            (&b"{\r\n\t\"a\": 1\r\n}\n"[..], "{\n\t\"a\": 1\n}\n"),
            ("na\u{ef}ve\u{1b}[2J\u{202e}\r".as_bytes(), r"naïve\u{1b}[2J\u{202e}\u{d}"),
            (b"\x9b31m\xff\xc3", r"\x9b31m\xff\xc3"),
        ] {
            assert_eq!(printable_lines(body), expected.as_bytes());
        }
    }
}
