//! The endpoint and the secret of a source, read from environment variables.

use http::{HeaderName, HeaderValue};
use symbolon_token::{Error, ErrorKind};
use symbolon_types::{Env, Source, input_flaw};
use url::Url;

/// The endpoint of the Azure Arc agent if its variable is not set.
const AGENT_ENDPOINT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";

/// Returns the endpoint in the variable of the source, with its query if it has one. On Service
/// Fabric it is an https URL.
pub(crate) fn endpoint_of(source: Source, env: &Env) -> Result<Url, Error> {
    let variable = source.info().required_variables.first().copied().unwrap_or(Source::IMDS_VARIABLE);
    let text = match env.var(variable) {
        None if source == Source::AzureArc => AGENT_ENDPOINT.to_owned(),
        text => text.ok_or_else(|| missing(source, variable))?,
    };
    // A URL parser drops line breaks and outer spaces.
    if let Some(flaw) = input_flaw(&text) {
        return Err(invalid(source, variable, flaw));
    }
    let url: Url = text.parse().map_err(|_| invalid(source, variable, "is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(source, variable, "is not an http or https URL"));
    }
    if source == Source::ServiceFabric && url.scheme() != "https" {
        return Err(invalid(source, variable, "is not an https URL")
            .with_advice("set it to an https URL; the secret is never sent without TLS"));
    }
    Ok(url)
}

/// Returns the secret in this variable as a header value.
pub(super) fn secret_of(source: Source, env: &Env, variable: &'static str) -> Result<HeaderValue, Error> {
    let secret = env.var(variable).ok_or_else(|| missing(source, variable))?;
    let mut value = HeaderValue::try_from(secret).map_err(|_| {
        invalid(source, variable, "has characters that an HTTP header cannot hold")
            .with_advice("set it as the host does, without line breaks")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the header that a redirected or forged request does not have.
pub(super) fn metadata_header() -> (HeaderName, HeaderValue) {
    (HeaderName::from_static("metadata"), HeaderValue::from_static("true"))
}

/// Adds a percent-encoded parameter to the query.
pub(super) fn append(url: &mut Url, name: &str, value: &str) {
    url.query_pairs_mut().append_pair(name, value);
}

/// Returns the error for an unusable variable. It omits the value, which may be a secret.
pub(super) fn invalid(source: Source, variable: &'static str, problem: &str) -> Error {
    let error = format!("the variable {variable} of {source} {problem}; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("set it to an http or https URL, as the host does")
}

/// Returns the error for a variable that was unset after detection.
pub(super) fn missing(source: Source, variable: &'static str) -> Error {
    let error = format!("the variable {variable} of {source} is no longer set; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("do not change the host's variables while the process runs")
}
