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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use openssl::pkey::PKey;
    use openssl::ssl::{NameType, Ssl, SslContext, SslMethod, SslVersion};
    use openssl::x509::X509;
    use symbolon_rustls::TlsErrorKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};
    use tokio_openssl::SslStream;

    use super::*;
    use crate::ffi;
    use crate::stream::OpensslStream;

    /// A certificate with its key.
    struct Credentials(rcgen::CertifiedKey<rcgen::KeyPair>);

    impl Credentials {
        fn new(name: &str) -> Self {
            Self(rcgen::generate_simple_self_signed([name.to_owned()]).unwrap())
        }

        fn expired() -> Self {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            let cert = params.self_signed(&key).unwrap();
            Self(rcgen::CertifiedKey { cert, signing_key: key })
        }

        fn pem(&self) -> String {
            self.0.cert.pem()
        }

        fn identity(&self) -> ClientIdentity {
            let pem = self.pem() + &self.0.signing_key.serialize_pem();
            symbolon_rustls::client_identity_from_pem(pem.as_bytes()).unwrap()
        }

        /// The context of a server over TLS 1.2. In its second handshake it is that of `next`.
        fn server(&self, next: Option<SslContext>) -> SslContext {
            let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
            context.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
            context.set_certificate(&X509::from_pem(self.pem().as_bytes()).unwrap()).unwrap();
            let key = PKey::private_key_from_pem(self.0.signing_key.serialize_pem().as_bytes()).unwrap();
            context.set_private_key(&key).unwrap();
            let handshakes = AtomicUsize::new(0);
            context.set_servername_callback(move |ssl, _alert| {
                if handshakes.fetch_add(1, Ordering::Relaxed) == 1
                    && let Some(next) = &next
                {
                    ssl.set_ssl_context(next).unwrap();
                }
                Ok(())
            });
            context.build()
        }
    }

    fn backend(trusted: &[&Credentials]) -> OpensslBackend {
        let configs = ClientConfigs::builder().platform_roots(false);
        let add = |configs: symbolon_rustls::ClientConfigsBuilder, one: &&Credentials| {
            configs.root_certificates_pem(one.pem().as_bytes())
        };
        OpensslBackend::from(trusted.iter().fold(configs, add).build().unwrap())
    }

    /// Connects to a server of this context.
    async fn connect(
        backend: &OpensslBackend,
        identity: Option<&ClientIdentity>,
        name: &str,
        server: &SslContext,
        record: &ClientAuthRecord,
    ) -> (Result<OpensslStream, TlsError>, SslStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(16_384);
        let mut accepting = SslStream::new(Ssl::new(server).unwrap(), far).unwrap();
        let client = backend.openssl_client(identity, &ServerAuth::Roots).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let accept = async {
            let _refused = Pin::new(&mut accepting).accept().await;
            accepting
        };
        tokio::join!(client.handshake(name, 443, Box::new(near), record), accept)
    }

    /// Sends an octet when the certificate was presented.
    async fn send_after_certificate(write: &mut WriteHalf<OpensslStream>, record: &ClientAuthRecord) {
        while !record.is_presented() {
            tokio::task::yield_now().await;
        }
        write.write_u8(b'b').await.unwrap();
    }

    // Both certificates are trusted and for this name.
    #[tokio::test]
    async fn changed_server_gets_no_certificate() {
        let [first, second, client] = ["localhost"; 3].map(Credentials::new);
        let backend = backend(&[&first, &second]);
        for is_changed in [false, true] {
            let record = ClientAuthRecord::default();
            let server = first.server(is_changed.then(|| second.server(None)));
            let identity = client.identity();
            let (stream, mut server) =
                connect(&backend, Some(&identity), "localhost", &server, &record).await;
            let (mut read, mut write) = tokio::io::split(stream.unwrap());
            let serve = async {
                server.write_all(b"a").await.unwrap();
                ffi::renegotiate_with_certificate(server.ssl());
                Pin::new(&mut server).do_handshake().await.unwrap();
                // Within it, the handshake.
                match server.read_u8().await {
                    Ok(octet) => {
                        server.write_u8(octet).await.unwrap();
                        Some(server)
                    }
                    Err(_refused) => None,
                }
            };
            let call = async {
                assert_eq!(read.read_u8().await.unwrap(), b'a');
                let answer = async {
                    // Data in front of the handshake would be read first.
                    send_after_certificate(&mut write, &record).await;
                    std::future::pending().await
                };
                tokio::select! {
                    read = read.read_u8() => read,
                    never = answer => never,
                }
            };
            let (received, served) = tokio::join!(call, serve);
            match is_changed {
                false => assert_eq!(received.unwrap(), b'b'),
                true => {
                    let error = received.unwrap_err().to_string();
                    assert!(error.contains("changed its certificate"), "{error}");
                }
            }
            assert_eq!(record.is_presented(), !is_changed);
            assert_eq!(served.is_some(), !is_changed);
        }
    }

    // OpenSSL would postpone the renegotiation if it had read ahead (`SSL_CTX_set_read_ahead`).
    #[tokio::test]
    async fn data_behind_a_renegotiation_request_is_read() {
        let [certificate, client] = ["localhost"; 2].map(Credentials::new);
        let record = ClientAuthRecord::default();
        let (stream, mut server) = connect(
            &backend(&[&certificate]),
            Some(&client.identity()),
            "localhost",
            &certificate.server(None),
            &record,
        )
        .await;
        let (mut read, mut write) = tokio::io::split(stream.unwrap());
        let serve = async {
            ffi::renegotiate_with_certificate(server.ssl());
            Pin::new(&mut server).do_handshake().await.unwrap();
            server.write_u8(b'a').await.unwrap();
            server.read_u8().await.unwrap()
        };
        let call = async {
            assert_eq!(read.read_u8().await.unwrap(), b'a');
            tokio::select! {
                more = read.read_u8() => panic!("{more:?}"),
                () = send_after_certificate(&mut write, &record) => {}
            }
        };
        let ((), received) = tokio::join!(call, serve);
        assert_eq!(received, b'b');
    }

    #[tokio::test]
    async fn servers_are_named_or_addressed() {
        for (certified, requested, is_accepted) in [
            ("localhost", "localhost", true),
            ("localhost", "service.example", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::1", "::1", true),
            ("localhost", "127.0.0.1", false),
        ] {
            let server = Credentials::new(certified);
            let backend = backend(&[&server]);
            let record = ClientAuthRecord::default();
            let (stream, served) = connect(&backend, None, requested, &server.server(None), &record).await;
            let refused = stream.map(|_stream| ()).map_err(|error| error.kind());
            let expected = if is_accepted { Ok(()) } else { Err(TlsErrorKind::ServerCertificate) };
            assert_eq!(refused, expected, "{certified} {requested}");
            // RFC 6066 §3: no addresses.
            let is_name = requested.parse::<std::net::IpAddr>().is_err();
            assert_eq!(served.ssl().servername(NameType::HOST_NAME), is_name.then_some(requested));
        }
    }

    #[tokio::test]
    async fn expired_server_is_refused() {
        let server = Credentials::expired();
        let record = ClientAuthRecord::default();
        let (stream, _served) =
            connect(&backend(&[&server]), None, "localhost", &server.server(None), &record).await;
        let error = stream.unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::ServerCertificate);
        assert!(error.advice().unwrap().contains("clock"), "{error}");
    }
}
