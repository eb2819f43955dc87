//! An entry of the journal, and its text and JSON formats.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use symbolon_types::{Thumbprint, printable, printable_json};

use crate::calendar::{rfc3339, time_of_day};
use crate::pki::{TlsSession, TlsVersion};
use crate::protocol::Step;

/// The characters of a thumbprint or an id in a line.
const SHORT_ID: usize = 8;
/// The query parameters whose values the JSON contains.
const PUBLIC_PARAMETERS: &[&str] = &[
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

/// The outcome of a request or a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryOutcome {
    /// A response with this HTTP status.
    Status(u16),
    /// A response with this HTTP status and an incomplete body.
    Torn(u16),
    /// A TCP reset.
    Reset,
    /// No response.
    Stalled,
    /// An HTTP/2 `GOAWAY` before the request, or an HTTP/1.1 connection closed without a response.
    GoAway,
    /// An HTTP/2 stream that was refused, or an HTTP/1.1 connection closed without a response.
    StreamRefused,
    /// The server refused the client certificate in the TLS handshake.
    CertificateRefused,
    /// The TLS handshake failed for another reason.
    HandshakeFailed,
}

impl fmt::Display for EntryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Torn(status) => write!(f, "{status} torn"),
            Self::Reset => f.write_str("reset"),
            Self::Stalled => f.write_str("stalled"),
            Self::GoAway => f.write_str("goaway"),
            Self::StreamRefused => f.write_str("stream refused"),
            Self::CertificateRefused => f.write_str("cert refused"),
            Self::HandshakeFailed => f.write_str("failed"),
        }
    }
}

/// A request with its outcome, or a failed handshake. `Debug` and `Display` show no tokens,
/// certificate requests, claims, queries or secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct JournalEntry {
    /// The position in the journal, from 0.
    pub sequence: u64,
    /// The time of arrival, on the emulator's clock.
    pub at: SystemTime,
    /// The number of the connection.
    pub connection: u64,
    /// The endpoint.
    pub step: Step,
    /// The HTTP method; empty for a handshake.
    pub method: String,
    /// The path and the query as sent; empty for a handshake.
    pub target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The scheme of the `Authorization` header: `Bearer`, `mtls_pop`, `Basic` or `other`.
    pub authorization: Option<&'static str>,
    pub(crate) form: Vec<(String, Option<String>)>,
    /// The certificate request in DER, for [`Step::IssueCredential`].
    pub csr: Option<Vec<u8>>,
    /// True if the issuance request contained an attestation token.
    pub attested: bool,
    pub(crate) tls: Option<TlsSession>,
    /// The outcome.
    pub outcome: EntryOutcome,
    /// The kind of the scripted fault that took effect.
    pub fault: Option<&'static str>,
    /// The reason code of a refusal.
    pub reason: Option<&'static str>,
    /// The claims of the token in the response.
    pub(crate) issued: Option<Value>,
}

impl JournalEntry {
    /// Creates the entry of a failed handshake.
    pub(crate) fn handshake(connection: u64, at: SystemTime, outcome: EntryOutcome) -> Self {
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

    /// Returns the approximate size in octets.
    pub(crate) fn size(&self) -> usize {
        let query = self.query.iter().map(|(a, b)| a.len() + b.len()).sum::<usize>();
        let form = self.form.iter().map(|(a, b)| a.len() + b.as_ref().map_or(0, String::len)).sum::<usize>();
        let headers = self.headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        let csr = self.csr.as_ref().map_or(0, Vec::len);
        let issued = self.issued.as_ref().map_or(0, |claims| claims.to_string().len());
        size_of::<Self>() + self.method.len() + self.target.len() + query + form + headers + csr + issued
    }

    /// The client id, or another id, of the requested identity. If the request contains none but
    /// got a token, it is the client id of the system-assigned identity.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        let named = ["client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"];
        let requested = named.iter().find_map(|name| self.query(name)).or_else(|| self.form("client_id"));
        requested.or_else(|| self.issued.as_ref().and_then(|claims| claims["appid"].as_str()))
    }

    /// Formats the entry as one line of JSON, without tokens, secrets and certificate requests. A
    /// secret parameter is null; the claims that a request asks for are in it. The members
    /// correspond to the methods of this type; times follow RFC 3339. Control and other invisible
    /// characters are escaped.
    #[must_use]
    pub fn to_json(&self) -> String {
        printable_json(&self.members().to_string())
    }

    /// Like [`to_json`](Self::to_json), with the claims of the issued token.
    pub(crate) fn to_json_with_claims(&self) -> String {
        let mut members = self.members();
        members["issued"] = self.issued.clone().unwrap_or_default();
        printable_json(&members.to_string())
    }

    fn members(&self) -> Value {
        let query = |(name, value): &(String, String)| {
            let public = PUBLIC_PARAMETERS.contains(&name.as_str());
            (name.clone(), if public { Value::from(value.as_str()) } else { Value::Null })
        };
        let form = |(name, value): &(String, Option<String>)| (name.clone(), value.as_deref().into());
        let tls = self.tls.map(|tls| {
            json!({
                "version": tls.version.to_string(),
                "resumed": tls.resumed,
                "certificate": tls.certificate.map(|certificate| certificate.to_string()),
            })
        });
        json!({
            "sequence": self.sequence,
            "at": rfc3339(self.at),
            "connection": self.connection,
            "step": self.step.as_str(),
            "method": self.method,
            "path": self.path(),
            "query": self.query.iter().map(query).collect::<Map<_, _>>(),
            "headers": self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect::<Map<_, _>>(),
            "authorization": self.authorization,
            "form": self.form.iter().map(form).collect::<Map<_, _>>(),
            "attested": self.attested,
            "tls": tls,
            "outcome": self.outcome.to_string(),
            "status": self.status(),
            "fault": self.fault,
            "reason": self.reason,
            "identity": self.identity(),
        })
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The decoded value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header, by its lower-case name. The journal contains `Metadata`, the request
    /// ids, the identification of the library, `Content-Type`, `Accept`, `Host` and
    /// `x-ms-tokenboundauth`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a form parameter that is not a secret, of a token request or of Cloud Shell.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref())
    }

    /// The names of all form parameters in order, including those with secret values.
    pub fn form_names(&self) -> impl Iterator<Item = &str> {
        self.form.iter().map(|(name, _)| name.as_str())
    }

    /// The TLS version; `None` without TLS, as at the metadata service.
    #[must_use]
    pub fn tls_version(&self) -> Option<TlsVersion> {
        self.tls.map(|tls| tls.version)
    }

    /// Returns true if the connection resumed an earlier TLS session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.is_some_and(|tls| tls.resumed)
    }

    /// The thumbprint of the client certificate of the connection.
    #[must_use]
    pub fn certificate(&self) -> Option<Thumbprint> {
        self.tls.and_then(|tls| tls.certificate)
    }

    /// The HTTP status, if there was a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            EntryOutcome::Status(status) | EntryOutcome::Torn(status) => Some(status),
            _ => None,
        }
    }
}

symbolon_types::debug_fields!(
    JournalEntry |this|
    sequence: this.sequence, at: this.at, connection: this.connection, step: this.step,
    method: this.method, path: this.path(), authorization: this.authorization,
    form: this.form_names().collect::<Vec<_>>(), tls: this.tls, outcome: this.outcome, fault: this.fault,
    reason: this.reason
);

/// One line with the columns time of day (UTC), step, outcome, identity and certificate, followed
/// by an unknown path, the fault and the reason of a refusal. Control and other invisible
/// characters of the request are escaped.
impl fmt::Display for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| text.chars().take(SHORT_ID).collect::<String>();
        // The last segment distinguishes resource ids.
        let identity =
            self.identity().map_or_else(String::new, |id| short(id.rsplit('/').next().unwrap_or(id)));
        let certificate =
            self.certificate().map_or_else(String::new, |certificate| short(&certificate.to_string()));
        let mut line = format!(
            "{}  {:<16} {:<12} {identity:<SHORT_ID$} {certificate:<SHORT_ID$}",
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
        printable(line.trim_end()).fmt(f)
    }
}
