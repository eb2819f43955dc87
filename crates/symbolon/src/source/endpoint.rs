//! The endpoint and the secret of a source, read from environment variables.

use http::{HeaderName, HeaderValue};
use symbolon_token::{Error, ErrorKind};
use symbolon_types::{Env, Source};
use url::Url;

/// Returns the endpoint in this variable, with its query if it has one.
pub(super) fn endpoint_of(source: Source, env: &Env, variable: &'static str) -> Result<Url, Error> {
    let text = env.var(variable).ok_or_else(|| missing(source, variable))?;
    let url: Url = text.parse().map_err(|_| invalid(source, variable))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(source, variable));
    }
    Ok(url)
}

/// Returns the secret in this variable as a header value.
pub(super) fn secret_of(source: Source, env: &Env, variable: &'static str) -> Result<HeaderValue, Error> {
    let secret = env.var(variable).ok_or_else(|| missing(source, variable))?;
    let mut value = HeaderValue::try_from(secret).map_err(|_| {
        invalid(source, variable).with_advice("remove the characters that an HTTP header cannot hold")
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
pub(super) fn invalid(source: Source, variable: &'static str) -> Error {
    let error = format!("the variable {variable} of {source} is not valid; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("set it to an http or https URL, as the host does")
}

/// Returns the error for a variable that was unset after detection.
pub(super) fn missing(source: Source, variable: &'static str) -> Error {
    let error = format!("the variable {variable} of {source} is no longer set; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("do not change the host's variables while the process runs")
}
