//! One exchange: what the journal keeps of it, and how it is shown.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use symbolon_types::Thumbprint;

use crate::calendar::{rfc3339, time_of_day};
use crate::step::Step;

/// How much of a thumbprint or an id is shown in a line.
const SHOWN: usize = 8;
/// Query parameters whose values are told; they name who asks for what.
const TOLD_PARAMETERS: &[&str] = &[
    "api-version",
    "cred-api-version",
    "resource",
    "client_id",
    "clientid",
    "object_id",
    "principal_id",
    "mi_res_id",
    "msi_res_id",
    "bypass_cache",
];

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer with this HTTP status.
    Status(u16),
    /// An answer with this HTTP status whose body broke off.
    Torn(u16),
    /// A TCP reset.
    Reset,
    /// No answer.
    Stalled,
    /// The server refused the client's certificate in the TLS handshake.
    CertificateRefused,
    /// The TLS handshake failed for another reason.
    HandshakeFailed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Torn(status) => write!(f, "{status} torn"),
            Self::Reset => f.write_str("reset"),
            Self::Stalled => f.write_str("stalled"),
            Self::CertificateRefused => f.write_str("cert refused"),
            Self::HandshakeFailed => f.write_str("failed"),
        }
    }
}

/// The TLS side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    pub(crate) version: TlsVersion,
    pub(crate) resumed: bool,
    pub(crate) certificate: Option<Thumbprint>,
}

/// One exchange. Neither `Debug` nor `Display` shows a token, a request for a certificate, claims,
/// a query or a secret.
#[derive(Clone)]
pub struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: SystemTime,
    pub(crate) connection: u64,
    pub(crate) step: Step,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) authorization: Option<&'static str>,
    pub(crate) form: Vec<(String, Option<String>)>,
    pub(crate) csr: Option<Vec<u8>>,
    pub(crate) attested: bool,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) outcome: Outcome,
    pub(crate) fault: Option<&'static str>,
    pub(crate) reason: Option<&'static str>,
    /// The claims of a token that was given in the answer.
    pub(crate) issued: Option<Value>,
}

impl Entry {
    /// Of a handshake that came to nothing.
    pub(crate) fn handshake(connection: u64, at: SystemTime, outcome: Outcome) -> Self {
        Self {
            sequence: 0,
            at,
            connection,
            step: Step::Handshake,
            method: String::new(),
            target: String::new(),
            query: Vec::new(),
            headers: Vec::new(),
            authorization: None,
            form: Vec::new(),
            csr: None,
            attested: false,
            tls: None,
            outcome,
            fault: None,
            reason: None,
            issued: None,
        }
    }

    /// About how many octets it takes up.
    pub(crate) fn size(&self) -> usize {
        let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(a, b)| a.len() + b.len()).sum::<usize>();
        let form = self.form.iter().map(|(a, b)| a.len() + b.as_ref().map_or(0, String::len)).sum::<usize>();
        let headers = self.headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        let csr = self.csr.as_ref().map_or(0, Vec::len);
        // A token's claims: what is not long is there at most once.
        let issued = self.issued.as_ref().map_or(0, |claims| claims.to_string().len());
        size_of::<Self>()
            + self.method.len()
            + self.target.len()
            + pairs(&self.query)
            + form
            + headers
            + csr
            + issued
    }

    /// The client id, or another id, of the identity that was asked for; of the system-assigned one where
    /// the request names none, if it got a token.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        let named = ["client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"];
        let asked = named.iter().find_map(|name| self.query(name)).or_else(|| self.form("client_id"));
        asked.or_else(|| self.issued.as_ref().and_then(|claims| claims["appid"].as_str()))
    }

    /// As one line of JSON, for programs; without tokens, secrets, certificate requests and claims. Times are
    /// those of RFC 3339, the members are those that this type has methods for.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.members()).to_string()
    }

    /// As [`to_json`](Self::to_json), with the claims of the token that was given.
    pub(crate) fn to_json_with_claims(&self) -> String {
        let mut members = self.members();
        members.insert("issued".to_owned(), self.issued.clone().unwrap_or_default());
        Value::Object(members).to_string()
    }

    fn members(&self) -> Map<String, Value> {
        let told = |(name, value): &(String, String)| {
            let told = TOLD_PARAMETERS.contains(&name.as_str());
            (name.clone(), if told { Value::from(value.as_str()) } else { Value::Null })
        };
        let sent = |(name, value): &(String, Option<String>)| {
            (name.clone(), value.as_deref().filter(|_| name != "claims").into())
        };
        let tls = self.tls.map(|tls| {
            json!({
                "version": tls.version.to_string(),
                "resumed": tls.resumed,
                "certificate": tls.certificate.map(|certificate| certificate.to_string()),
            })
        });
        let members = json!({
            "sequence": self.sequence,
            "at": rfc3339(self.at),
            "connection": self.connection,
            "step": self.step.as_str(),
            "method": self.method,
            "path": self.path(),
            "query": self.query.iter().map(told).collect::<Map<_, _>>(),
            "headers": self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect::<Map<_, _>>(),
            "authorization": self.authorization,
            "form": self.form.iter().map(sent).collect::<Map<_, _>>(),
            "attested": self.attested,
            "tls": tls,
            "outcome": self.outcome.to_string(),
            "status": self.status(),
            "fault": self.fault,
            "reason": self.reason,
            "identity": self.identity(),
        });
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// Its place in the journal, from 0.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the request arrived, on the emulator's clock.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// The connection it came on: equal numbers, same connection.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// The endpoint.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// The HTTP method; empty for a handshake.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path and query as they were sent; empty for a handshake.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A decoded query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header, by its lower-case name, of those that are kept: `Metadata`, the request ids, the library's identity,
    /// content type, `Accept`, `Host` and `x-ms-tokenboundauth`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The scheme of the `Authorization` header: `Bearer`, `mtls_pop`, `Basic` or `other`.
    #[must_use]
    pub fn authorization_scheme(&self) -> Option<&str> {
        self.authorization
    }

    /// The value of a form parameter of a token request, or of one of Cloud Shell, that is not a secret.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref())
    }

    /// The names of all form parameters of a token request, secret ones too, in order.
    pub fn form_names(&self) -> impl Iterator<Item = &str> {
        self.form.iter().map(|(name, _)| name.as_str())
    }

    /// The certification request in DER, for [`Step::IssueCredential`].
    #[must_use]
    pub fn csr(&self) -> Option<&[u8]> {
        self.csr.as_deref()
    }

    /// Whether the request for a certificate carried an attestation token.
    #[must_use]
    pub fn is_attested(&self) -> bool {
        self.attested
    }

    /// The version of TLS; none where there is none, as at the metadata service.
    #[must_use]
    pub fn tls_version(&self) -> Option<TlsVersion> {
        self.tls.map(|tls| tls.version)
    }

    /// Whether the connection resumed an earlier TLS session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.is_some_and(|tls| tls.resumed)
    }

    /// The thumbprint of the client's certificate on the connection.
    #[must_use]
    pub fn certificate(&self) -> Option<Thumbprint> {
        self.tls.and_then(|tls| tls.certificate)
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Status(status) | Outcome::Torn(status) => Some(status),
            _ => None,
        }
    }

    /// The scripted fault that happened, if one did.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault
    }

    /// Why the emulator refused: the rule or reason code, where the answer carried one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("sequence", &self.sequence)
            .field("at", &self.at)
            .field("connection", &self.connection)
            .field("step", &self.step)
            .field("method", &self.method)
            .field("path", &self.path())
            .field("authorization", &self.authorization)
            .field("form", &self.form_names().collect::<Vec<_>>())
            .field("tls", &self.tls)
            .field("outcome", &self.outcome)
            .field("fault", &self.fault)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// One line for people, in columns: time of day (UTC), step, outcome, identity, certificate; then, in words, what
/// else there is: the fault, the reason of a refusal, the path that nobody knows.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| text.chars().take(SHOWN).collect::<String>();
        // What ids of resources end in tells them apart.
        let identity =
            self.identity().map_or_else(String::new, |id| short(id.rsplit('/').next().unwrap_or(id)));
        let certificate = self.certificate().map_or_else(String::new, |own| short(&own.to_string()));
        let mut line = format!(
            "{}  {:<16} {:<12} {identity:<SHOWN$} {certificate:<SHOWN$}",
            time_of_day(self.at),
            self.step,
            self.outcome.to_string(),
        );
        if self.step == Step::Unknown {
            line += &format!("  {} {}", self.method, self.path());
        }
        if let Some(fault) = self.fault {
            line += &format!("  fault: {fault}");
        }
        if let Some(reason) = self.reason {
            line += &format!("  {reason}");
        }
        f.write_str(line.trim_end())
    }
}
