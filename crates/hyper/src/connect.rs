//! TCP connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use symbolon_transport::{PhaseCell, RequestPhase, TransportError, TransportErrorKind, is_local_address};
use symbolon_types::catch_panic_of;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use url::Host;

use crate::origin::HttpOrigin;

/// The error of connecting to a host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name {name} could not be resolved")]
    Resolution { name: String, source: io::Error },
    #[error("the name {name} has no address")]
    NoAddress { name: String },
    #[error("no TCP connection to {host}:{port}")]
    Connection { host: Host<String>, port: u16, source: io::Error },
}

impl From<ConnectError> for TransportError {
    fn from(error: ConnectError) -> Self {
        Self::new(TransportErrorKind::Connect).with_source(error)
    }
}

/// Connects to the origin.
pub(crate) async fn connect(origin: &HttpOrigin, phase: &PhaseCell) -> Result<TcpConnection, TransportError> {
    let addresses = resolve(origin.host(), origin.port(), phase).await?;
    let addresses = allowed(origin, addresses)?;
    Ok(connect_to(&addresses, origin.host(), origin.port(), phase).await?)
}

/// Connects to one of the addresses of a host, in their order.
pub(crate) async fn connect_to(
    addresses: &[SocketAddr],
    host: &Host<String>,
    port: u16,
    phase: &PhaseCell,
) -> Result<TcpConnection, ConnectError> {
    phase.enter(RequestPhase::Connection);
    let stream = TcpStream::connect(addresses).await.and_then(undelayed);
    match stream {
        Ok(stream) => Ok(TcpConnection { stream, lost: None }),
        Err(source) => Err(ConnectError::Connection { host: host.clone(), port, source }),
    }
}

/// A TCP connection that can be read to its end after its loss.
///
/// A server that responds early, or sends an alert, and then closes makes the next write fail,
/// while its last bytes are still unread. So the first failed write is no error: it and all later
/// ones are discarded, and the loss is the error of the read that finds nothing more.
#[derive(Debug)]
pub(crate) struct TcpConnection {
    stream: TcpStream,
    lost: Option<io::ErrorKind>,
}

impl TcpConnection {
    /// Returns the result of a write of `length` bytes, or discards them if the connection is lost.
    fn unless_lost(
        &mut self,
        length: usize,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
        if self.lost.is_none() {
            match write(Pin::new(&mut self.stream)) {
                Poll::Ready(Err(error))
                    if matches!(
                        error.kind(),
                        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut
                    ) =>
                {
                    self.lost = Some(error.kind());
                }
                polled => return polled,
            }
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match (&polled, self.lost) {
            (Poll::Ready(Ok(())), Some(lost)) if buffer.filled().len() == before => {
                Poll::Ready(Err(lost.into()))
            }
            _ => polled,
        }
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unless_lost(bytes.len(), |stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.unless_lost(length, |stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Returns the addresses of a host, at least one.
pub(crate) async fn resolve(
    host: &Host<String>,
    port: u16,
    phase: &PhaseCell,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let name = match host {
        Host::Domain(name) => name,
        Host::Ipv4(address) => return Ok(vec![(*address, port).into()]),
        Host::Ipv6(address) => return Ok(vec![(*address, port).into()]),
    };
    phase.enter(RequestPhase::Resolution);
    match look_up(name, port).await {
        Ok(addresses) if addresses.is_empty() => Err(ConnectError::NoAddress { name: name.clone() }),
        Ok(addresses) => Ok(addresses),
        Err(source) => Err(ConnectError::Resolution { name: name.clone(), source }),
    }
}

/// Returns the addresses to connect to: without TLS only the local ones.
fn allowed(origin: &HttpOrigin, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, TransportError> {
    addresses.retain(|address| origin.is_tls() || is_local_address(address.ip()));
    match addresses.is_empty() {
        true => Err(TransportErrorKind::Insecure.into()),
        false => Ok(addresses),
    }
}

/// Resolves a name on a blocking thread. Tokio panics if none can be started.
async fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = catch_panic_of("name resolution", || lookup_host((name, port))).await;
    let addresses = found.unwrap_or_else(|error| {
        tracing::debug!(%error, "no addresses");
        let text =
            "the name could not be resolved, because no thread could be started or the runtime has ended";
        Err(io::Error::other(text))
    });
    Ok(addresses?.collect())
}

/// Requests and handshake flights are written whole, so Nagle's algorithm would only add delay.
fn undelayed(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use symbolon_transport::{Request, Route};

    use super::*;

    #[test]
    fn plain_http_goes_to_local_addresses_only() {
        let origin = |url: &str| {
            HttpOrigin::of(&Request::new(Method::GET, url.parse().unwrap(), Route::Local)).unwrap()
        };
        let (plain, tls) = (origin("http://source.example/"), origin("https://source.example/"));
        let addresses = ["203.0.113.7:80", "10.0.0.4:80", "[2001:db8::1]:80", "[fd00::4]:80"];
        let addresses = addresses.map(|address| address.parse().unwrap());
        assert_eq!(allowed(&plain, addresses.to_vec()).unwrap(), [addresses[1], addresses[3]]);
        assert_eq!(allowed(&tls, addresses.to_vec()).unwrap(), addresses);
        let refused = allowed(&plain, vec![addresses[0], addresses[2]]).unwrap_err();
        assert_eq!(refused.kind(), TransportErrorKind::Insecure);
    }
}
