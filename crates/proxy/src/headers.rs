//! The header fields that the proxy does not pass on.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Version};

use crate::failure::ERROR_HEADER;

/// The header with the secret of a run.
pub(crate) const SECRET_HEADER: HeaderName = HeaderName::from_static("x-symbolon-secret");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Parts of the names by which a proxy tells a resource about the certificate of a client, without
/// `-` and `_`: `Client-Cert` (RFC 9440), `X-ARR-ClientCert`, `X-Forwarded-Client-Cert`,
/// `SSL_CLIENT_VERIFY`. A resource that trusts them would take another certificate than that of the
/// token.
const CLIENT_CERTIFICATE: [&str; 3] = ["clientcert", "sslclient", "tlsclient"];

/// Removes the fields of a request that are for the proxy only, and those that a client must not
/// send to a resource.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    let accepts_trailers = has_token(headers, &TE, "trailers");
    clean_request_trailers(headers);
    // Trailers are passed on, so this applies to the resource as well (RFC 9110 §10.1.4).
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes the fields of trailers that a request must not have in its header. Some servers merge
/// both.
pub(crate) fn clean_request_trailers(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in [HOST, EXPECT, AUTHORIZATION, PROXY_AUTHORIZATION, SECRET_HEADER] {
        headers.remove(name);
    }
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| is_client_certificate(name.as_str())).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Removes the fields of a response that are for the proxy only, and the field that marks its own
/// errors.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(ERROR_HEADER);
}

/// Returns true for a request of a gRPC client.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the protocols that a request wants to switch to (RFC 9110 §7.8). The versions of HTTP
/// are none: the proxy takes HTTP/2 with prior knowledge only.
pub(crate) fn requested_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !has_token(headers, &CONNECTION, "upgrade") {
        return None;
    }
    let upgrade = headers.get(UPGRADE)?;
    let protocols = upgrade.to_str().ok()?.to_ascii_lowercase();
    let is_http =
        |name: &str| ["h2c", "http", "tls"].contains(&name.split('/').next().unwrap_or_default().trim());
    (!protocols.split(',').any(is_http)).then(|| upgrade.clone())
}

/// Adds the fields of an upgrade.
pub(crate) fn add_upgrade(headers: &mut HeaderMap, upgrade: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade);
}

/// Returns the size of header fields, as HTTP/2 counts it without its overhead of 32 (RFC 9113
/// §6.5.2).
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Removes the fields that are for one connection only (RFC 9110 §7.6.1). `Trailer` stays, because
/// trailers are passed on.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in named.into_iter().filter(|name| *name != http::header::TRAILER) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn is_client_certificate(name: &str) -> bool {
    // Most names have none of these letters in a row.
    if !name.contains("client") {
        return false;
    }
    let letters: String = name.chars().filter(|character| !"-_".contains(*character)).collect();
    CLIENT_CERTIFICATE.iter().any(|part| letters.contains(part))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// Returns the members of a list (RFC 9110 §5.6.1), without parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|member| member.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Hop"),
            ("connection", "x-other , trailer"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip;q=0.5, Trailers"),
            ("trailer", "x-sum"),
            ("host", "localhost:1"),
            ("expect", "100-continue"),
            ("x-kept", "1"),
        ]);
        clean_request(&mut map);
        let mut kept: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["te", "trailer", "x-kept"]);
        assert_eq!(map["te"], "trailers");
    }

    #[test]
    fn credentials_of_the_client_are_removed() {
        let mut map = HeaderMap::new();
        for name in [
            "authorization",
            "proxy-authorization",
            "x-symbolon-secret",
            "client-cert",
            "client-cert-chain",
            "x-arr-clientcert",
            "x_arr_clientcert",
            "x-forwarded-client-cert",
            "x-forwarded-tls-client-cert",
            "x-amzn-mtls-clientcert-leaf",
            "x-ssl-client-verify",
            "ssl-client-subject-dn",
            "ssl_client_verify",
            "x-client-certificate",
        ] {
            map.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        for name in ["x-ms-client-request-id", "client-request-id", "x-certificate", "x-client-sku", "cookie"]
        {
            map.append(HeaderName::from_static(name), HeaderValue::from_static("kept"));
        }
        clean_request(&mut map);
        assert_eq!(map.len(), 5);
        assert!(map.values().all(|value| value == "kept"), "{map:?}");
    }

    #[test]
    fn only_other_protocols_are_upgrades() {
        for (connection, upgrade, version, is_one) in [
            ("Upgrade", "websocket", Version::HTTP_11, true),
            ("keep-alive, upgrade", "WebSocket", Version::HTTP_11, true),
            ("upgrade", "websocket", Version::HTTP_10, false),
            ("upgrade", "websocket", Version::HTTP_2, false),
            ("keep-alive", "websocket", Version::HTTP_11, false),
            ("upgrade, http2-settings", "h2c", Version::HTTP_11, false),
            ("upgrade", "HTTP/2.0", Version::HTTP_11, false),
            ("upgrade", "websocket, TLS/1.0", Version::HTTP_11, false),
        ] {
            let map = headers(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!(requested_upgrade(&map, version).is_some(), is_one, "{connection} {upgrade}");
        }
    }

    #[test]
    fn mark_of_our_errors_is_ours() {
        let mut map = headers(&[("x-symbolon-error", "timeout"), ("connection", "close"), ("etag", "x")]);
        clean_response(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
    }
}
