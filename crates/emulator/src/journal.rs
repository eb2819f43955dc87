//! What was asked and answered, in order, without anything secret.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use symbolon_types::Thumbprint;
use tokio::sync::broadcast;

use crate::fault::Step;

/// How many entries a slow [`Subscription`] may lag behind before it skips some.
const BACKLOG: usize = 1024;

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
            Self::CertificateRefused => f.write_str("certificate refused"),
            Self::HandshakeFailed => f.write_str("handshake failed"),
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
}

impl Entry {
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

/// One line for people.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, step, method, outcome, connection, .. } = self;
        let path = self.path();
        write!(f, "{sequence:>3} {step:<10} {outcome}")?;
        if !method.is_empty() {
            write!(f, "  {method} {path}")?;
        }
        write!(f, "  connection {connection}")?;
        if let Some(tls) = &self.tls {
            write!(f, ", {}", tls.version)?;
            if tls.resumed {
                f.write_str(" resumed")?;
            }
            if let Some(certificate) = tls.certificate {
                let certificate = certificate.to_string();
                write!(f, ", certificate {}", &certificate[..8])?;
            }
        }
        if let Some(fault) = self.fault {
            write!(f, "  fault: {fault}")?;
        }
        if let Some(reason) = self.reason {
            write!(f, "  {reason}")?;
        }
        Ok(())
    }
}

/// The exchanges up to now, in the order in which they were decided.
#[derive(Clone, Debug, Default)]
pub struct Journal(Vec<Arc<Entry>>);

impl Journal {
    /// All entries.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.0.iter().map(|entry| &**entry)
    }

    /// The entries of one step.
    pub fn of(&self, step: Step) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.step == step)
    }

    /// How many entries a step has.
    #[must_use]
    pub fn count(&self, step: Step) -> usize {
        self.of(step).count()
    }

    /// The latest entry of a step.
    #[must_use]
    pub fn last(&self, step: Step) -> Option<&Entry> {
        self.of(step).next_back()
    }

    /// The steps in order: the shortest description of what a client did.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.entries().map(Entry::step).collect()
    }
}

/// One line per entry.
impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

/// A live view of the journal, from the moment of subscription.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Arc<Entry>>);

impl Subscription {
    /// The next entry; none when the emulator has ended. A reader that lags more than 1024 entries
    /// behind misses the oldest of them.
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            match self.0.recv().await {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// The journal as the servers write it.
pub(crate) struct Recorder {
    entries: Mutex<Vec<Arc<Entry>>>,
    live: broadcast::Sender<Arc<Entry>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::default(), live: broadcast::Sender::new(BACKLOG) }
    }

    /// Numbers and keeps an entry.
    pub(crate) fn record(&self, mut entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entry.sequence = entries.len() as u64;
        let entry = Arc::new(entry);
        entries.push(Arc::clone(&entry));
        // Sent under the lock, so that subscribers see the same order. Without one it fails, and may.
        let _subscribers = self.live.send(entry);
    }

    pub(crate) fn journal(&self) -> Journal {
        Journal(self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription(self.live.subscribe())
    }
}
