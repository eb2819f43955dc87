//! Records of requests, for a log.

use std::fmt;
use std::time::{Duration, SystemTime};

use symbolon::parts::types::printable;
use symbolon::{Token, TokenOrigin};
use symbolon_server::Peer;
use url::Url;

use crate::rejection::Rejection;

/// Maximum length of a logged resource that is not a URL, and of each part of a URL: that of a
/// GUID. A longer one could be a token.
const MAX_NAME_LENGTH: usize = 36;
const MAX_URL_LENGTH: usize = 200;

/// The result of a request. `Display` formats one log line without tokens and secrets.
#[derive(Debug)]
pub struct Record {
    peer: Peer,
    resource: Option<String>,
    outcome: RequestOutcome,
}

#[derive(Debug)]
enum RequestOutcome {
    Served { from_cache: bool, next_refresh: Duration },
    Rejected { status: u16, reason: String, message: String },
}

impl Record {
    pub(crate) fn served(peer: Peer, resource: &str, token: &Token, now: SystemTime) -> Self {
        let outcome = RequestOutcome::Served {
            from_cache: token.origin() == TokenOrigin::Cache,
            next_refresh: token.refresh_on().duration_since(now).unwrap_or_default(),
        };
        Self { peer, resource: loggable_resource(resource), outcome }
    }

    pub(crate) fn rejected(peer: Peer, resource: Option<&str>, rejection: &Rejection) -> Self {
        let outcome = RequestOutcome::Rejected {
            status: rejection.status.as_u16(),
            reason: printable(&rejection.reason).to_string(),
            message: printable(&rejection.message).to_string(),
        };
        Self { peer, resource: resource.and_then(loggable_resource), outcome }
    }

    /// Returns the client of the request.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the requested resource; `None` if there was none or it could contain a secret.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.outcome {
            RequestOutcome::Served { .. } => 200,
            RequestOutcome::Rejected { status, .. } => status,
        }
    }

    /// Returns `cache` or `network`, the origin of the token; `None` if none was issued.
    #[must_use]
    pub fn origin(&self) -> Option<&'static str> {
        match self.outcome {
            RequestOutcome::Served { from_cache: true, .. } => Some("cache"),
            RequestOutcome::Served { from_cache: false, .. } => Some("network"),
            RequestOutcome::Rejected { .. } => None,
        }
    }

    /// Returns the time until the token is refreshed; `None` if none was issued.
    #[must_use]
    pub fn next_refresh(&self) -> Option<Duration> {
        match self.outcome {
            RequestOutcome::Served { next_refresh, .. } => Some(next_refresh),
            RequestOutcome::Rejected { .. } => None,
        }
    }

    /// Returns the reason of a rejection: a short name of the agent's own, or the code of the
    /// library's error. `None` if a token was issued.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.outcome {
            RequestOutcome::Served { .. } => None,
            RequestOutcome::Rejected { reason, .. } => Some(reason),
        }
    }
}

/// Returns the resource in a form that is safe to log: without query, user and anything long enough
/// to be a secret.
fn loggable_resource(resource: &str) -> Option<String> {
    let is_plain = resource.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && resource.len() <= MAX_NAME_LENGTH {
        return Some(resource.to_owned());
    }
    let url: Url = resource.parse().ok().filter(Url::has_host)?;
    if !is_plain || resource.len() > MAX_URL_LENGTH || !url.username().is_empty() || url.password().is_some()
    {
        return None;
    }
    let longest =
        resource.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).map(str::len).max();
    (longest <= Some(MAX_NAME_LENGTH))
        .then(|| resource.split(['?', '#']).next().unwrap_or_default().to_owned())
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource.as_deref().unwrap_or("a token");
        let peer = self.peer;
        match &self.outcome {
            RequestOutcome::Served { next_refresh, .. } => {
                let origin = self.origin().unwrap_or_default();
                write!(f, "served {resource} to {peer} from the {origin}; next refresh in ")?;
                let seconds = next_refresh.as_secs();
                write!(f, "{}m{:02}s", seconds / 60, seconds % 60)
            }
            RequestOutcome::Rejected { status, reason, message } => {
                write!(f, "refused {resource} to {peer}: {status} {reason}: {message}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use symbolon::{Error, ErrorKind};

    use super::*;

    #[test]
    fn rejection_is_logged_on_one_line() {
        let error = Error::new(ErrorKind::Service, "odd\ncode", "it failed")
            .with_excerpt("busy\r\nserved x", &symbolon::parts::types::Secrets::none());
        let peer = Peer::Address(([127, 0, 0, 1], 4711).into());
        let line = Record::rejected(peer, Some("x"), &Rejection::from(error)).to_string();
        let expected =
            r"refused x to 127.0.0.1:4711: 502 odd\u{a}code: it failed; the service said: busy  served x";
        assert_eq!(line, expected);
    }

    #[test]
    fn secrets_are_not_logged_as_resources() {
        let token = format!("eyJ{}", "A1".repeat(40));
        for (resource, logged) in [
            ("https://vault.azure.net", Some("https://vault.azure.net")),
            ("https://vault.azure.net/", Some("https://vault.azure.net/")),
            (
                "api://6731de76-14a6-49ae-97bc-6eba6914391e/x",
                Some("api://6731de76-14a6-49ae-97bc-6eba6914391e/x"),
            ),
            ("6731de76-14a6-49ae-97bc-6eba6914391e", Some("6731de76-14a6-49ae-97bc-6eba6914391e")),
            ("https://x.example/a-path-that-is-long?code=1", Some("https://x.example/a-path-that-is-long")),
            (&token, None),
            (&format!("https://x.example/{token}"), None),
            ("https://somebody:password@x.example.with.a.long.name", None),
            ("line\nbreak", None),
            ("https://x.example/line\nbreak/line/break/line", None),
        ] {
            assert_eq!(loggable_resource(resource).as_deref(), logged, "{resource}");
        }
    }
}
