//! The TLS client of one identity.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use symbolon_hyper::{AsyncStream, TlsBackendClient, TlsConnection};
use symbolon_rustls::pki_types::ServerName;
use symbolon_rustls::{ClientAuthRecord, ServerVerification, TlsError, TlsErrorKind, TlsVersion};
use symbolon_types::ClientIdentity;

use crate::connection::ConnectionState;
use crate::ffi;
use crate::key::{KeyError, OpensslKey};
use crate::stream::OpensslStream;

/// The only application protocol (RFC 7301 §6): HTTP/2 forbids renegotiation (RFC 9113 §9.2.1) and
/// post-handshake authentication (RFC 8740 §3).
const HTTP_1_1: &[u8] = b"\x08http/1.1";
/// The cipher suites of TLS 1.2 that rustls has, too.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// The TLS client of one identity, or of none.
pub(crate) struct OpensslClient {
    context: SslContext,
    key: Option<Arc<OpensslKey>>,
    verification: ServerVerification,
}

impl fmt::Debug for OpensslClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslClient").field("has_identity", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl OpensslClient {
    pub(crate) fn new(
        identity: Option<&ClientIdentity>,
        verification: ServerVerification,
        versions: &RangeInclusive<TlsVersion>,
    ) -> Result<Self, TlsError> {
        let unusable = |error: KeyError| TlsError::new(TlsErrorKind::IdentityUnusable).with_source(error);
        let key = match identity {
            Some(identity) => Some(Arc::new(OpensslKey::new(identity.key().clone()).map_err(unusable)?)),
            None => None,
        };
        let context =
            context(identity.zip(key.as_ref()), versions).map_err(|error| unusable(error.into()))?;
        Ok(Self { context, key, verification })
    }

    pub(crate) async fn handshake(
        &self,
        server: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
        record: &ClientAuthRecord,
    ) -> Result<OpensslStream, TlsError> {
        let name = format!("{}:{port}", server.to_str());
        let (verification, key) = (self.verification.clone(), self.key.clone());
        let state = Arc::new(ConnectionState::new(server, verification, key, record.clone()));
        let connected = match self.ssl(&state) {
            Ok(ssl) => OpensslStream::connect(ssl, stream, state).await,
            Err(error) => Err(io::Error::other(error)),
        };
        connected.map_err(|error| self.verification.handshake_error(error, record, &name))
    }

    fn ssl(&self, state: &Arc<ConnectionState>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        if let ServerName::DnsName(name) = &state.server {
            ssl.set_hostname(name.as_ref())?;
        }
        if self.key.is_some() {
            ffi::allow_late_certificate(&ssl);
        }
        ffi::attach(&mut ssl, Arc::clone(state))?;
        Ok(ssl)
    }
}

fn context(
    identity: Option<(&ClientIdentity, &Arc<OpensslKey>)>,
    versions: &RangeInclusive<TlsVersion>,
) -> Result<SslContext, ErrorStack> {
    let mut context = ffi::new_context()?;
    context.set_verify(SslVerifyMode::PEER);
    context.set_min_proto_version(Some(version(*versions.start())))?;
    context.set_max_proto_version(Some(version(*versions.end())))?;
    context.set_cipher_list(CIPHERS)?;
    context.set_alpn_protos(HTTP_1_1)?;
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_TICKET);
    context
        .set_mode(SslMode::AUTO_RETRY | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::ENABLE_PARTIAL_WRITE);
    match identity {
        Some((identity, key)) => {
            let mut chain = identity.chain().iter();
            if let Some(leaf) = chain.next() {
                context.set_certificate(&*X509::from_der(leaf)?)?;
            }
            for certificate in chain {
                context.add_extra_chain_cert(X509::from_der(certificate)?)?;
            }
            ffi::set_client_schemes(&mut context, &key.scheme_names())?;
            let private = ffi::private_key(key)?;
            context.set_private_key(&private)?;
        }
        // There is no certificate to be requested late.
        None => {
            context.set_options(SslOptions::NO_RENEGOTIATION);
        }
    }
    Ok(context.build())
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        _ => SslVersion::TLS1_3,
    }
}

#[async_trait]
impl TlsBackendClient for OpensslClient {
    async fn connect(
        &self,
        server: ServerName<'static>,
        port: u16,
        stream: Box<dyn AsyncStream>,
        record: &ClientAuthRecord,
        may_request_late: bool,
    ) -> Result<TlsConnection, TlsError> {
        let name = format!("{}:{port}", server.to_str());
        let stream = self.handshake(server, port, stream, record).await?;
        if self.key.is_some() && !record.is_presented() && !may_request_late {
            return Err(TlsError::new(TlsErrorKind::IdentityNotRequested).of_server(&name));
        }
        let version = stream.version();
        Ok(TlsConnection::new(stream, version))
    }

    /// None are kept.
    fn forget_sessions(&self) {}
}
