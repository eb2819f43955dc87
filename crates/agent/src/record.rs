//! What became of a request, for a log.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use symbolon::{Token, TokenSource};
use url::Url;

use crate::refusal::Refusal;

/// The longest name of a resource that is no URL: a GUID. What is longer could be anything, a token as well.
const LONGEST_NAME: usize = 36;
const LONGEST_URL: usize = 200;

/// What became of a request. Shows itself as one line of a log, without a token and without a secret.
#[derive(Debug)]
pub struct Record {
    peer: Peer,
    resource: Option<String>,
    outcome: Outcome,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A process of this machine, from this address.
    Address(SocketAddr),
    /// A process at the other end of a Unix socket.
    #[non_exhaustive]
    Process {
        /// Its user.
        uid: u32,
        /// Its id, where the system tells it.
        pid: Option<i32>,
    },
}

#[derive(Debug)]
enum Outcome {
    Served { from_cache: bool, next_refresh: Duration },
    Refused { status: u16, reason: String, message: String },
}

impl Record {
    pub(crate) fn served(peer: Peer, resource: &str, token: &Token, now: SystemTime) -> Self {
        let outcome = Outcome::Served {
            from_cache: token.source() == TokenSource::Cache,
            next_refresh: token.refresh_on().duration_since(now).unwrap_or_default(),
        };
        Self { peer, resource: shown(resource), outcome }
    }

    pub(crate) fn refused(peer: Peer, resource: Option<&str>, refusal: &Refusal) -> Self {
        let outcome = Outcome::Refused {
            status: refusal.status.as_u16(),
            reason: on_one_line(&refusal.reason),
            message: on_one_line(&refusal.message),
        };
        Self { peer, resource: resource.and_then(shown), outcome }
    }

    /// Who asked.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The resource, if what the client sent can be one.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.outcome {
            Outcome::Served { .. } => 200,
            Outcome::Refused { status, .. } => status,
        }
    }

    /// Why there is no token: a short name of the agent's own, or the code of the library's error. `None` if
    /// there is one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Served { .. } => None,
            Outcome::Refused { reason, .. } => Some(reason),
        }
    }
}

/// What a service said could go on as another line of the log.
fn on_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// What can be a resource, as it may be logged.
fn shown(resource: &str) -> Option<String> {
    let is_plain = resource.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && resource.len() <= LONGEST_NAME {
        return Some(resource.to_owned());
    }
    let url: Url = resource.parse().ok().filter(Url::has_host)?;
    if !is_plain || resource.len() > LONGEST_URL || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let longest =
        resource.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).map(str::len).max();
    (longest <= Some(LONGEST_NAME)).then(|| resource.split(['?', '#']).next().unwrap_or_default().to_owned())
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource.as_deref().unwrap_or("a token");
        let peer = self.peer;
        match &self.outcome {
            Outcome::Served { from_cache, next_refresh } => {
                let origin = if *from_cache { "cache" } else { "network" };
                write!(f, "served {resource} to {peer} from the {origin}; next refresh in ")?;
                let seconds = next_refresh.as_secs();
                write!(f, "{}m{:02}s", seconds / 60, seconds % 60)
            }
            Outcome::Refused { status, reason, message } => {
                write!(f, "refused {resource} to {peer}: {status} {reason}: {message}")
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Process { uid, pid: Some(pid) } => write!(f, "process {pid} of user {uid}"),
            Self::Process { uid, pid: None } => write!(f, "a process of user {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use symbolon::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_refusal_is_one_line_whatever_the_service_said() {
        let error = Error::new(ErrorKind::Service, "odd\ncode", "it failed").with_excerpt("busy\r\nserved x");
        let peer = Peer::Process { uid: 1000, pid: None };
        let line = Record::refused(peer, Some("x"), &Refusal::from(error)).to_string();
        let expected =
            "refused x to a process of user 1000: 502 odd code: it failed; the service said: busy  served x";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_resource_is_logged_and_what_could_be_a_secret_is_not() {
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
            assert_eq!(shown(resource).as_deref(), logged, "{resource}");
        }
    }
}
