//! Parsers of option values.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use symbolon::ManagedIdentityId;
use url::Url;

/// The lengths of the groups of a GUID (RFC 9562 §4).
const GUID: [usize; 5] = [8, 4, 4, 4, 12];

pub(crate) fn identity(text: &str) -> Result<ManagedIdentityId, String> {
    if text.contains(is_space) {
        return Err("an id must not contain spaces".to_owned());
    }
    let parsed = match text.split_once(':') {
        None if text == "system" => return Ok(ManagedIdentityId::system_assigned()),
        Some(("client-id", id)) => ManagedIdentityId::client_id(id),
        Some(("object-id", id)) => ManagedIdentityId::object_id(id),
        Some(("resource-id", id)) => ManagedIdentityId::resource_id(id),
        _ if is_guid(text) => {
            return Err(format!("the kind of the id is missing: use client-id:{text} or object-id:{text}"));
        }
        _ if text.starts_with('/') => {
            return Err(format!("the kind of the id is missing: use resource-id:{text}"));
        }
        _ => return Err("use system, client-id:ID, object-id:ID or resource-id:ID".to_owned()),
    };
    parsed.map_err(|error| error.to_string())
}

fn is_guid(text: &str) -> bool {
    let lengths =
        text.split('-').map(|group| group.bytes().all(|b| b.is_ascii_hexdigit()).then_some(group.len()));
    lengths.eq(GUID.map(Some))
}

/// Parses a URI or an application id, which Microsoft Entra accepts as a resource as well.
pub(crate) fn resource(text: &str) -> Result<String, &'static str> {
    let is_uri = !text.contains(':') || text.parse::<Url>().is_ok();
    if text.is_empty() || text.contains(is_space) || !is_uri {
        return Err("not a URI; use the form https://vault.azure.net");
    }
    Ok(text.to_owned())
}

fn is_space(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an IP address with a port; use the form 127.0.0.1:8080")
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err("the timeout must be a positive number of seconds".to_owned()),
    }
}

pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("use the form 'Name: value'")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "not a valid header name")?;
    if name == http::header::AUTHORIZATION {
        return Err("the command adds the Authorization header itself".to_owned());
    }
    let value = value.trim().parse().map_err(|_| "not a valid header value")?;
    Ok((name, value))
}

/// Parses the id of a user, or the name of one on this machine. Digits are an id, whether or not it
/// has a name.
#[cfg(unix)]
pub(crate) fn user(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    uzers::get_user_by_name(text).map(|user| user.uid()).ok_or_else(|| {
        format!("there is no user '{text}' on this machine; use another name, or the id of the user")
    })
}

#[cfg(not(unix))]
pub(crate) fn user(_text: &str) -> Result<u32, String> {
    Err("users are supported on Unix only".to_owned())
}

pub(crate) fn https_url(text: &str) -> Result<Url, &'static str> {
    url(text)
        .ok()
        .filter(|url| url.scheme() == "https")
        .ok_or("not an https URL; use the form https://host/path")
}

pub(crate) fn url(text: &str) -> Result<Url, &'static str> {
    text.parse().map_err(|_| "not a URL; use the form https://host/path")
}
