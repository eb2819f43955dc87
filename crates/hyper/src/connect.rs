//! TCP connections, direct or through a proxy.

use std::io;

use symbolon_transport::{TransportError, TransportErrorKind};
use tokio::net::TcpStream;
use url::Host;

use crate::origin::HttpOrigin;
use crate::proxy::Proxy;

/// Connects to the origin, through the proxy if there is one.
pub(crate) async fn connect(origin: &HttpOrigin, proxy: Option<&Proxy>) -> Result<TcpStream, TransportError> {
    tracing::debug!(origin = %origin, is_proxied = proxy.is_some(), "connecting");
    let failed = || TransportError::new(TransportErrorKind::Connect);
    match proxy {
        None => direct(origin).await.map_err(|error| failed().with_source(error)),
        Some(proxy) => {
            let stream = TcpStream::connect((proxy.host(), proxy.port())).await;
            let stream = stream.and_then(undelayed).map_err(|error| failed().with_source(error))?;
            proxy.tunnel(stream, origin).await.map_err(|error| failed().with_source(error))
        }
    }
}

async fn direct(origin: &HttpOrigin) -> io::Result<TcpStream> {
    let port = origin.port();
    let stream = match origin.host() {
        Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
        Host::Ipv4(address) => TcpStream::connect((*address, port)).await,
        Host::Ipv6(address) => TcpStream::connect((*address, port)).await,
    };
    stream.and_then(undelayed)
}

/// Requests and handshake flights are written whole, so Nagle's algorithm would only add delay.
fn undelayed(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
