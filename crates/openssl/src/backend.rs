//! OpenSSL as the TLS library of connections.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use symbolon_hyper::{AsyncStream, TlsBackend, TlsBackendClient};
use symbolon_rustls::pki_types::ServerName;
use symbolon_rustls::{ClientAuthRecord, ClientConfigs, IdentityMap, TlsError};
use symbolon_types::{ClientIdentity, ServerAuth};

use crate::client::OpensslClient;

/// OpenSSL as the TLS library of [`Connections`](symbolon_hyper::Connections) and of
/// [`HyperTransport`](symbolon_hyper::HyperTransport). It is made from the settings of their
/// builders: roots, versions, clock and variables.
///
/// ```
/// use symbolon_hyper::{Connections, HyperTransport};
/// use symbolon_openssl::OpensslBackend;
///
/// let connections = Connections::builder().tls_backend::<OpensslBackend>().build()?;
/// let transport = HyperTransport::builder().tls_backend::<OpensslBackend>().build()?;
/// assert!(connections.renegotiates());
/// # Ok::<(), symbolon_hyper::BuildError>(())
/// ```
#[derive(Debug)]
pub struct OpensslBackend {
    settings: ClientConfigs,
    clients: Mutex<IdentityMap<Arc<OpensslClient>>>,
}

impl From<ClientConfigs> for OpensslBackend {
    fn from(settings: ClientConfigs) -> Self {
        Self { settings, clients: Mutex::default() }
    }
}

impl OpensslBackend {
    async fn openssl_client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<OpensslClient>, TlsError> {
        let verification = self.settings.server_verification(server).await?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.drop_unowned();
        if let Some(client) = clients.get(identity, server) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(OpensslClient::new(identity, verification, &self.settings.versions())?);
        clients.get_or_insert_with(identity, server, || Arc::clone(&client));
        Ok(client)
    }
}

#[async_trait]
impl TlsBackend for OpensslBackend {
    async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<dyn TlsBackendClient>, TlsError> {
        let client: Arc<OpensslClient> = self.openssl_client(identity, server).await?;
        Ok(client)
    }

    async fn connect_to_proxy(
        &self,
        proxy: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
    ) -> Result<Box<dyn AsyncStream>, TlsError> {
        let client = self.openssl_client(None, &ServerAuth::Roots).await?;
        Ok(Box::new(client.handshake(proxy, port, stream, &ClientAuthRecord::default()).await?))
    }

    fn renegotiates(&self) -> bool {
        true
    }
}
