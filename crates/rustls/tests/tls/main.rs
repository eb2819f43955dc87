//! Configurations of client identities against local TLS servers.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

mod alerts;
#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/authority.rs"]
mod authority;
mod configs;
#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/keys.rs"]
mod keys;
mod rotating;
#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/server.rs"]
mod server;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use symbolon_rustls::{
    ClientAuthRecord, ClientConfigs, ClientConfigsBuilder, TlsClient, TlsErrorKind, TlsStream,
};
use symbolon_types::{Context, Env};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;

/// Returns a builder that trusts the authority and reads no variables.
fn trusting(authority: &Authority) -> ClientConfigsBuilder {
    ClientConfigs::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates([authority.certificate()])
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn tcp(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Connects with the configuration alone, as another library does.
async fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> TlsStream<TcpStream> {
    TlsConnector::from(Arc::clone(config)).connect(localhost(), tcp(address).await).await.unwrap()
}

/// Sends a request on a new connection of the client. Returns the kind of the failure.
async fn exchange(client: &TlsClient, address: SocketAddr) -> Result<(), TlsErrorKind> {
    let record = ClientAuthRecord::default();
    let connected = client.connect(localhost(), address.port(), tcp(address).await, &record).await;
    let mut stream = connected.map_err(|error| error.kind())?;
    request(&mut stream).await.map_err(|error| record.failure_kind(&*error))
}

/// Sends a request and reads the response, up to its last byte.
async fn request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Box<dyn Error>> {
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    stream.flush().await?;
    let mut response = Vec::new();
    while !response.ends_with(b"hello") {
        response.push(stream.read_u8().await?);
    }
    Ok(())
}
