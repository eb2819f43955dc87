//! The metadata of an OpenID provider. (OpenID Connect Discovery 1.0 §4; RFC 8414.)

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

/// Behind the issuer, less a slash at its end (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a provider issues tokens, and where users sign in.
#[derive(Debug)]
pub(super) struct ProviderMetadata {
    token_endpoint: TokenEndpoint,
    mtls_token_endpoint: Option<TokenEndpoint>,
    authorization_endpoint: Option<Url>,
    announces_itself: bool,
}

#[derive(Deserialize)]
struct ProviderDocument {
    issuer: Option<String>,
    token_endpoint: Option<String>,
    mtls_endpoint_aliases: Option<EndpointAliases>,
    authorization_endpoint: Option<String>,
    /// (RFC 9207 §3.)
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// (RFC 8705 §5.)
#[derive(Deserialize)]
struct EndpointAliases {
    token_endpoint: Option<String>,
}

impl ProviderMetadata {
    /// The endpoint for requests with or without a client certificate. A provider that names only
    /// one takes both there (RFC 8705 §5).
    pub(super) fn token_endpoint(&self, mtls: bool) -> &TokenEndpoint {
        self.mtls_token_endpoint.as_ref().filter(|_| mtls).unwrap_or(&self.token_endpoint)
    }

    /// The authorization endpoint, if there is one that a user's browser can be sent to.
    pub(super) fn authorization_endpoint(&self) -> Result<&Url, Error> {
        self.authorization_endpoint
            .as_ref()
            .ok_or_else(|| unusable("names no authorization endpoint that is an https URL"))
    }

    /// Whether its answers to authorization requests always say whose they are (RFC 9207 §2.3).
    pub(super) fn announces_itself(&self) -> bool {
        self.announces_itself
    }

    /// Asks the provider.
    pub(super) async fn fetch(http: &HttpClient, issuer: &str) -> Result<Self, Error> {
        let url: Url = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
            .parse()
            .map_err(|_| unusable("has no address that follows from the issuer"))?;
        let mut request = Request::new(Method::GET, url, Route::Public);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let policy = RetryPolicy::token_endpoint().with_attempt_timeout(TIMEOUT);
        let sent = http.send(&policy, || Ok::<_, TransportError>(request.clone())).await;
        let sent = sent
            .map_err(|error| error.into_error("the metadata of the OpenID provider could not be fetched"))?;
        if sent.response.status() != StatusCode::OK {
            return Err(refused(&sent.response, http));
        }
        Self::read(sent.response.body(), issuer)
    }

    fn read(body: &[u8], issuer: &str) -> Result<Self, Error> {
        let document: ProviderDocument =
            serde_json::from_slice(body).map_err(|_| unusable("is not such metadata in JSON"))?;
        // RFC 8414 §3.3, OpenID Connect Discovery 1.0 §4.3: identical, or not to be used.
        if document.issuer.as_deref() != Some(issuer) {
            let error = "the metadata of the OpenID provider is that of another issuer; it was not used";
            return Err(Error::new(ErrorKind::Response, "authority_validation_failed", error).with_advice(
                "use the issuer exactly as its metadata spells it, a slash at its end included",
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
            authorization_endpoint: document.authorization_endpoint.and_then(|url| browsable(&url)),
            announces_itself: document.authorization_response_iss_parameter_supported.unwrap_or_default(),
        })
    }
}

/// Only whoever signs users in needs it, so a wrong one is as good as none.
fn browsable(url: &str) -> Option<Url> {
    let url: Url = url.parse().ok()?;
    let is_safe = url.scheme() == "https" && url.username().is_empty() && url.fragment().is_none();
    is_safe.then_some(url)
}

fn refused(response: &Response, http: &HttpClient) -> Error {
    let is_transient = is_transient_status(response.status());
    Error::new(ErrorKind::Service, "oidc_failure", "the OpenID provider did not tell its metadata")
        .with_status(response.status().as_u16())
        .with_transient(is_transient)
        .with_retry_after(response.retry_after(http.context().clock().now()))
        .with_excerpt(&String::from_utf8_lossy(response.body()))
        .with_advice(if is_transient { "try again later" } else { "check the issuer" })
}

fn unusable(what: &str) -> Error {
    Error::new(ErrorKind::Response, "oidc_failure", format!("the metadata of the OpenID provider {what}"))
        .with_advice("check that the issuer is that of an OpenID provider and not of a proxy in front of it")
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
    fn the_token_endpoint_stands_in_the_metadata() {
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
    fn metadata_of_another_issuer_or_without_a_safe_endpoint_is_not_used() {
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
