//! The state of a connection, for the callbacks of OpenSSL.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_rustls::pki_types::{CertificateDer, ServerName};
use symbolon_rustls::rustls::Error as RustlsError;
use symbolon_rustls::{ClientAuthRecord, ServerVerification};
use symbolon_types::SigningError;

use crate::key::{OpensslKey, set_signing_error};

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) server: ServerName<'static>,
    pub(crate) verification: ServerVerification,
    pub(crate) key: Option<Arc<OpensslKey>>,
    pub(crate) record: ClientAuthRecord,
    /// The certificate of the server in the first handshake.
    leaf: Mutex<Option<CertificateDer<'static>>>,
    /// The reason for which the server was refused.
    refusal: Mutex<Option<RustlsError>>,
}

impl ConnectionState {
    pub(crate) fn new(
        server: ServerName<'static>,
        verification: ServerVerification,
        key: Option<Arc<OpensslKey>>,
        record: ClientAuthRecord,
    ) -> Self {
        Self { server, verification, key, record, leaf: Mutex::default(), refusal: Mutex::default() }
    }

    /// Returns true if the server is accepted. In a renegotiation it must have the certificate of
    /// the first handshake.
    pub(crate) fn accepts_server(&self, chain: &[CertificateDer<'static>]) -> bool {
        let mut leaf = lock(&self.leaf);
        let is_other = leaf.is_some() && leaf.as_ref() != chain.first();
        let verified = match is_other {
            true => {
                Err(RustlsError::General("the server changed its certificate in a renegotiation".to_owned()))
            }
            false => self.verification.verify(chain, &self.server),
        };
        match verified {
            Ok(()) => {
                *leaf = chain.first().cloned();
                true
            }
            Err(error) => {
                *lock(&self.refusal) = Some(error);
                false
            }
        }
    }

    /// Returns the reason for which the server was refused.
    pub(crate) fn take_refusal(&self) -> Option<RustlsError> {
        lock(&self.refusal).take()
    }

    /// Returns false if the server, which requests the certificate, accepts no signature scheme of
    /// the key: OpenSSL would continue without a certificate, and the server would treat the client
    /// as anonymous.
    pub(crate) fn can_present(&self, offered: &[u16], is_tls13: bool) -> bool {
        let Some(key) = &self.key else { return true };
        let is_common = key.supports_any(offered, is_tls13);
        if !is_common {
            let error = "the server accepts none of the signature schemes of the key";
            set_signing_error(SigningError::failed(error));
        }
        is_common
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use symbolon_rustls::ClientConfigs;
    use symbolon_types::ServerAuth;

    use super::*;

    #[tokio::test]
    async fn renegotiating_server_keeps_its_certificate() {
        let certificates =
            [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert);
        let configs = ClientConfigs::builder().platform_roots(false);
        let configs = certificates
            .iter()
            .fold(configs, |configs, trusted| configs.root_certificates_pem(trusted.pem().as_bytes()));
        let verification = configs.build().unwrap().server_verification(&ServerAuth::Roots).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let state = ConnectionState::new(server, verification, None, ClientAuthRecord::default());
        let [first, second] = certificates.map(|certificate| [certificate.der().clone()]);
        assert!(state.accepts_server(&first) && state.accepts_server(&first));
        assert!(state.take_refusal().is_none());
        assert!(!state.accepts_server(&second), "both are trusted");
        assert!(state.take_refusal().unwrap().to_string().contains("changed its certificate"));
    }
}
