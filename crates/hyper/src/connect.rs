//! TCP connections.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use symbolon_transport::{
    PhaseCell, RequestPhase, TransportError, TransportErrorKind, is_local_address, stop_when,
};
use symbolon_types::{SharedClock, catch_panic_of};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use url::Host;

use crate::origin::HttpOrigin;

/// The time after which the next address of a host is tried as well (RFC 8305 §5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

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
pub(crate) async fn connect(
    origin: &HttpOrigin,
    clock: &SharedClock,
    phase: &PhaseCell,
) -> Result<TcpConnection, TransportError> {
    let addresses = resolve(origin.host(), origin.port(), phase).await?;
    let addresses = allowed(origin, addresses)?;
    Ok(connect_to(addresses, origin.host(), origin.port(), clock, phase).await?)
}

/// Connects to one of the addresses of a host.
pub(crate) async fn connect_to(
    addresses: Vec<SocketAddr>,
    host: &Host<String>,
    port: u16,
    clock: &SharedClock,
    phase: &PhaseCell,
) -> Result<TcpConnection, ConnectError> {
    phase.enter(RequestPhase::Connection);
    let stream = connect_first(alternating(addresses), clock).await.and_then(undelayed);
    match stream {
        Ok(stream) => Ok(TcpConnection { stream, lost: None }),
        Err(source) => Err(ConnectError::Connection { host: host.clone(), port, source }),
    }
}

/// Returns the addresses with their two families in turns, because often one of them is not routed
/// (RFC 8305 §4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first = addresses.first().map(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == is_first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// Connects to the addresses, each after the failure of the one before it or after
/// [`NEXT_ADDRESS_DELAY`], and returns the first connection.
async fn connect_first(addresses: Vec<SocketAddr>, clock: &SharedClock) -> io::Result<TcpStream> {
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = Vec::new();
    loop {
        if let Some(address) = addresses.next() {
            attempts.push(Box::pin(TcpStream::connect(address)));
        } else if attempts.is_empty() {
            return Err(error);
        }
        let has_next = addresses.peek().is_some();
        let delay = async { if has_next { clock.sleep(NEXT_ADDRESS_DELAY).await } else { pending().await } };
        let ended = poll_fn(|context| {
            let mut ended = attempts.iter_mut().enumerate().filter_map(|(index, attempt)| {
                match attempt.as_mut().poll(context) {
                    Poll::Ready(result) => Some((index, result)),
                    Poll::Pending => None,
                }
            });
            ended.next().map_or(Poll::Pending, Poll::Ready)
        });
        match stop_when(delay, ended).await {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((index, Err(failed))) => {
                drop(attempts.swap_remove(index));
                error = failed;
            }
            Err(()) => {}
        }
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

    use tokio::net::TcpListener;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        for (resolved, expected) in [
            (&[][..], &[][..]),
            (&["10.0.0.1:1", "10.0.0.2:1"], &["10.0.0.1:1", "10.0.0.2:1"]),
            (
                &["[fd00::1]:1", "[fd00::2]:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"],
                &["[fd00::1]:1", "10.0.0.1:1", "[fd00::2]:1", "10.0.0.2:1", "10.0.0.3:1"],
            ),
            (&["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:1"], &["10.0.0.1:1", "[fd00::1]:1", "10.0.0.2:1"]),
        ] {
            assert_eq!(alternating(addresses(resolved)), addresses(expected));
        }
    }

    /// Returns a server that drops the packets of new connections: its queue is full.
    #[cfg(target_os = "linux")]
    async fn silent_server() -> (TcpListener, Vec<TcpStream>) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let clock = SharedClock::system();
        while let Ok(stream) =
            stop_when(clock.sleep(Duration::from_millis(200)), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        (listener, queued)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn silent_address_delays_the_next_only() {
        let (silent, _queued) = silent_server().await;
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let (silent, server) = (silent.local_addr().unwrap(), server.local_addr().unwrap());
        let clock = SharedClock::system();
        for addresses in [vec![silent, server], vec![closed, silent, closed, server], vec![server, silent]] {
            let stream = stop_when(clock.sleep(Duration::from_secs(20)), connect_first(addresses, &clock));
            assert_eq!(stream.await.unwrap().unwrap().peer_addr().unwrap(), server);
        }
        let error = connect_first(vec![closed, closed], &clock).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

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
