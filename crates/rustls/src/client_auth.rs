//! A record of the client authentication in one handshake.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, NamedGroup, SignatureScheme};

thread_local! {
    /// The handshake that this thread is polling.
    ///
    /// rustls resumes a session only with the resolver that created it, so all connections of an
    /// identity share one resolver, which cannot distinguish them. It is called within the poll of
    /// its handshake, though.
    static CURRENT: RefCell<Option<ClientAuthRecord>> = const { RefCell::new(None) };
}

/// A record of the client authentication, and of the version of TLS, of one connection. Clones
/// share it.
///
/// A new record is empty. [`TlsClient::connect`](crate::TlsClient::connect) fills it.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthRecord(Arc<Observed>);

#[derive(Debug, Default)]
struct Observed {
    presented: AtomicBool,
    offered_session: AtomicBool,
    is_tls12: AtomicBool,
    is_tls13: AtomicBool,
}

/// Records that the server of the current handshake requested a certificate.
pub(crate) fn server_requested() {
    CURRENT.with_borrow(|current| {
        if let Some(record) = current {
            record.set_presented();
        }
    });
}

impl ClientAuthRecord {
    /// Returns true if the certificate was presented, in this handshake or in the resumed session.
    #[must_use]
    pub fn is_presented(&self) -> bool {
        self.0.presented.load(Ordering::Relaxed)
    }

    /// Returns true if the server may have seen the certificate, even through an offered session.
    #[must_use]
    pub fn is_known_to_server(&self) -> bool {
        self.is_presented() || self.0.offered_session.load(Ordering::Relaxed)
    }

    /// Returns the version of TLS, `1.2` or `1.3`, as soon as the server has signed the handshake.
    /// Only a [recorded configuration](crate::TlsClient::recorded_config) records it.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        if self.0.is_tls13.load(Ordering::Relaxed) {
            Some("1.3")
        } else {
            self.0.is_tls12.load(Ordering::Relaxed).then_some("1.2")
        }
    }

    /// Drives a handshake and records if the server requests the certificate.
    ///
    /// This is for a library that performs the handshake itself, with a
    /// [recorded configuration](crate::TlsClient::recorded_config). `handshake` may contain other
    /// steps of a connection, such as the handshake with a proxy before: the record is about the
    /// last one.
    pub async fn observe<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        poll_fn(|context| {
            // A key may block on a runtime of its own, in which other handshakes are polled.
            let outer = CURRENT.replace(Some(self.clone()));
            let polled = handshake.as_mut().poll(context);
            CURRENT.set(outer);
            polled
        })
        .await
    }

    /// Records that the certificate was presented. Another TLS library calls it when the server
    /// requests the certificate.
    pub fn set_presented(&self) {
        self.0.presented.store(true, Ordering::Relaxed);
    }

    fn record_offer<T>(&self, session: Option<T>) -> Option<T> {
        if session.is_some() {
            self.0.offered_session.store(true, Ordering::Relaxed);
        }
        session
    }
}

/// A verifier that records the version of TLS, in which the server signs each handshake.
#[derive(Debug)]
pub(crate) struct RecordedVerifier(pub(crate) Arc<dyn ServerCertVerifier>);

fn record_version(state: impl FnOnce(&Observed) -> &AtomicBool) {
    CURRENT.with_borrow(|current| {
        if let Some(ClientAuthRecord(observed)) = current {
            state(observed).store(true, Ordering::Relaxed);
        }
    });
}

impl ServerCertVerifier for RecordedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        record_version(|observed| &observed.is_tls12);
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        record_version(|observed| &observed.is_tls13);
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

/// A store without sessions. rustls looks for a session at the beginning of each handshake, which
/// clears the record of the one before.
#[derive(Debug)]
pub(crate) struct NoSessions;

impl ClientSessionStore for NoSessions {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _session: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, _ticket: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        CURRENT.with_borrow(|current| {
            if let Some(ClientAuthRecord(observed)) = current {
                for state in [&observed.presented, &observed.is_tls12, &observed.is_tls13] {
                    state.store(false, Ordering::Relaxed);
                }
            }
        });
        None
    }
}

/// The sessions of an identity as one of its connections uses them: it reads all, and writes only
/// after it has presented the certificate. So every stored session counts as having presented it.
#[derive(Debug)]
pub(crate) struct RecordedSessions {
    pub(crate) shared: Arc<ClientSessionMemoryCache>,
    pub(crate) record: ClientAuthRecord,
}

impl ClientSessionStore for RecordedSessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.shared.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.shared.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        if self.record.is_presented() {
            self.shared.set_tls12_session(server, session);
        }
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.record.record_offer(self.shared.tls12_session(server))
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.shared.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.record.is_presented() {
            self.shared.insert_tls13_ticket(server, ticket);
        }
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.record.record_offer(self.shared.take_tls13_ticket(server))
    }
}
