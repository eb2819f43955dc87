//! What every source reads from variables: where its endpoint is, and the secret for it.

use http::{HeaderName, HeaderValue};
use symbolon_token::{Error, ErrorKind};
use symbolon_types::Env;
use url::Url;

use crate::Source;

/// The endpoint in this variable, with the query that it may have.
pub(super) fn endpoint_of(source: Source, env: &Env, variable: &'static str) -> Result<Url, Error> {
    let text = env.var(variable).ok_or_else(|| missing(source, variable))?;
    parse(source, variable, &text)
}

pub(super) fn parse(source: Source, variable: &'static str, text: &str) -> Result<Url, Error> {
    let url: Url = text.parse().map_err(|_| invalid(source, variable))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(source, variable));
    }
    Ok(url)
}

/// The secret in this variable, as the value of a header.
pub(super) fn secret_of(source: Source, env: &Env, variable: &'static str) -> Result<HeaderValue, Error> {
    let secret = env.var(variable).ok_or_else(|| missing(source, variable))?;
    let mut value = HeaderValue::try_from(secret).map_err(|_| {
        invalid(source, variable).with_advice("it holds characters that no HTTP header may have")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Shows that the request was not forged by way of a redirect.
pub(super) fn metadata_header() -> (HeaderName, HeaderValue) {
    (HeaderName::from_static("metadata"), HeaderValue::from_static("true"))
}

/// Adds a parameter to the query, percent-encoded.
pub(super) fn append(url: &mut Url, name: &str, value: &str) {
    url.query_pairs_mut().append_pair(name, value);
}

/// The variable holds something that cannot be used. Its value may be a secret and is not shown.
pub(super) fn invalid(source: Source, variable: &'static str) -> Error {
    let error =
        format!("{variable}, which says where {source} issues tokens, cannot be used; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("it must be an http or https URL, such as the host sets it")
}

/// The variable was there when the source was detected.
pub(super) fn missing(source: Source, variable: &'static str) -> Error {
    let error = format!("{variable}, by which {source} was detected, is no longer set; nothing was sent");
    Error::new(ErrorKind::Environment, "invalid_managed_identity_endpoint", error)
        .with_advice("leave the variables of the host as they are while the process runs")
}
