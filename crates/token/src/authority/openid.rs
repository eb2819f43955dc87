//! The metadata of an OpenID provider (OpenID Connect Discovery 1.0 §4; RFC 8414).

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use symbolon_transport::{
    HttpClient, Request, Response, RetryPolicy, Route, TransportError, is_transient_status,
};
use symbolon_types::{Error, ErrorKind};
use url::Url;

use crate::oauth::TokenEndpoint;

/// The path after the issuer, of which a slash at the end is dropped.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// The timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The endpoints of a provider.
#[derive(Debug)]
pub(super) struct ProviderMetadata {
    token_endpoint: TokenEndpoint,
    mtls_token_endpoint: Option<TokenEndpoint>,
    authorization_endpoint: Option<Url>,
    always_sends_issuer: bool,
}

#[derive(Deserialize)]
struct ProviderDocument {
    issuer: Option<String>,
    token_endpoint: Option<String>,
    mtls_endpoint_aliases: Option<EndpointAliases>,
    authorization_endpoint: Option<String>,
    /// RFC 9207 §3.
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// RFC 8705 §5.
#[derive(Deserialize)]
struct EndpointAliases {
    token_endpoint: Option<String>,
}

impl ProviderMetadata {
    /// Returns the endpoint for requests with or without a client certificate. Without an alias,
    /// one endpoint serves both (RFC 8705 §5).
    pub(super) fn token_endpoint(&self, mtls: bool) -> &TokenEndpoint {
        self.mtls_token_endpoint.as_ref().filter(|_| mtls).unwrap_or(&self.token_endpoint)
    }

    /// Returns the authorization endpoint.
    pub(super) fn authorization_endpoint(&self) -> Result<&Url, Error> {
        self.authorization_endpoint
            .as_ref()
            .ok_or_else(|| unusable("names no authorization endpoint that is an https URL"))
    }

    /// Returns whether every authorization response has `iss` (RFC 9207 §2.3).
    pub(super) fn always_sends_issuer(&self) -> bool {
        self.always_sends_issuer
    }

    /// Fetches the metadata.
    pub(super) async fn fetch(http: &HttpClient, issuer: &str) -> Result<Self, Error> {
        let url: Url = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
            .parse()
            .map_err(|_| unusable("cannot be located: the issuer has no valid metadata URL"))?;
        let mut request = Request::new(Method::GET, url, Route::Public);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let policy = RetryPolicy::token_endpoint().with_attempt_timeout(TIMEOUT);
        let sent = http.send(&policy, || Ok::<_, TransportError>(request.clone())).await;
        let sent = sent
            .map_err(|error| error.into_error("the metadata of the OpenID provider could not be fetched"))?;
        if sent.response.status() != StatusCode::OK {
            return Err(error_response(&sent.response, http));
        }
        Self::read(sent.response.body(), issuer)
    }

    fn read(body: &[u8], issuer: &str) -> Result<Self, Error> {
        let document: ProviderDocument =
            serde_json::from_slice(body).map_err(|_| unusable("is not valid JSON metadata"))?;
        // RFC 8414 §3.3, OpenID Connect Discovery 1.0 §4.3.
        if document.issuer.as_deref() != Some(issuer) {
            let error = "the metadata of the OpenID provider belong to another issuer and were not used";
            return Err(Error::new(ErrorKind::Response, "authority_validation_failed", error).with_advice(
                "use the issuer exactly as the metadata spell it, including a slash at the end",
            ));
        }
        let endpoint = |url: &str| {
            TokenEndpoint::parse(url).map_err(|_| unusable("names a token endpoint that is not an https URL"))
        };
        let token_endpoint = document.token_endpoint.ok_or_else(|| unusable("names no token endpoint"))?;
        let alias = document.mtls_endpoint_aliases.and_then(|aliases| aliases.token_endpoint);
        Ok(Self {
            token_endpoint: endpoint(&token_endpoint)?,
            mtls_token_endpoint: alias.as_deref().map(endpoint).transpose()?,
            // Only sign-ins need this endpoint, so that an invalid one counts as missing.
            authorization_endpoint: document.authorization_endpoint.and_then(|url| {
                url.parse::<Url>().ok().filter(|url| {
                    url.scheme() == "https" && url.username().is_empty() && url.fragment().is_none()
                })
            }),
            always_sends_issuer: document.authorization_response_iss_parameter_supported.unwrap_or_default(),
        })
    }
}

fn error_response(response: &Response, http: &HttpClient) -> Error {
    let is_transient = is_transient_status(response.status());
    Error::new(ErrorKind::Service, "oidc_failure", "the OpenID provider returned an error for its metadata")
        .with_status(response.status().as_u16())
        .with_transient(is_transient)
        .with_retry_after(response.retry_after(http.context().clock().now()))
        .with_excerpt(&String::from_utf8_lossy(response.body()), response.sent_secrets())
        .with_advice(if is_transient { "try again later" } else { "check the issuer" })
}

fn unusable(reason: &str) -> Error {
    Error::new(ErrorKind::Response, "oidc_failure", format!("the metadata of the OpenID provider {reason}"))
        .with_advice("check the issuer, and that no proxy answers in its place")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://idp.example/realms/a";

    fn endpoints(body: &str) -> Result<[String; 2], String> {
        let metadata = ProviderMetadata::read(body.as_bytes(), ISSUER);
        let metadata = metadata.map_err(|error| error.code().to_owned())?;
        Ok([false, true].map(|mtls| metadata.token_endpoint(mtls).url().to_string()))
    }

    #[test]
    fn token_endpoint_is_read_from_metadata() {
        let document =
            r#"{"issuer":"https://idp.example/realms/a","token_endpoint":"https://other.example/token?p=1""#;
        let plain = "https://other.example/token?p=1".to_owned();
        for (rest, mtls) in [
            ("}", &*plain),
            (r#","mtls_endpoint_aliases":{}}"#, &*plain),
            (
                r#","mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example/token"}}"#,
                "https://mtls.example/token",
            ),
        ] {
            assert_eq!(
                endpoints(&format!("{document}{rest}")),
                Ok([plain.clone(), mtls.to_owned()]),
                "{rest}"
            );
        }
    }

    #[test]
    fn unsafe_metadata_are_refused() {
        const SAFE: &str = "https://t.example/token";
        for (issuer, endpoint, alias, code) in [
            ("https://idp.example/realms/b", SAFE, SAFE, "authority_validation_failed"),
            ("https://idp.example/realms/a/", SAFE, SAFE, "authority_validation_failed"),
            ("https://IDP.example/realms/a", SAFE, SAFE, "authority_validation_failed"),
            ("https://idp.example", SAFE, SAFE, "authority_validation_failed"),
            ("", SAFE, SAFE, "authority_validation_failed"),
            (ISSUER, "http://t.example/token", SAFE, "oidc_failure"),
            (ISSUER, "http://127.0.0.1/token", SAFE, "oidc_failure"),
            (ISSUER, "/token", SAFE, "oidc_failure"),
            (ISSUER, SAFE, "http://mtls.example/token", "oidc_failure"),
        ] {
            let body = serde_json::json!({
                "issuer": issuer,
                "token_endpoint": endpoint,
                "mtls_endpoint_aliases": { "token_endpoint": alias },
            });
            assert_eq!(endpoints(&body.to_string()), Err(code.to_owned()), "{body}");
        }
        for (body, code) in [
            ("", "oidc_failure"),
            ("<html>", "oidc_failure"),
            ("[]", "oidc_failure"),
            (r#"{"issuer":null,"token_endpoint":"https://t.example"}"#, "authority_validation_failed"),
            (r#"{"token_endpoint":"https://t.example"}"#, "authority_validation_failed"),
            (r#"{"issuer":"https://idp.example/realms/a"}"#, "oidc_failure"),
        ] {
            assert_eq!(endpoints(body), Err(code.to_owned()), "{body}");
        }
    }
}
