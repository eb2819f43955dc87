//! Accepting connections and speaking HTTP/1.1 on them.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use symbolon_types::Thumbprint;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer::Role;
use crate::connection::Connection;
use crate::dispatch;
use crate::entry::{Entry, Outcome, TlsFacts, TlsVersion};
use crate::fault::{Effect, Fault};
use crate::state::State;
use crate::step::Step;

/// How long a refused client may go on sending before its connection is closed. A close with
/// unread input would reset the connection, and the reset can overtake the alert.
const LINGER: Duration = Duration::from_secs(2);

/// Serves until the runtime ends.
pub(crate) async fn serve(
    listener: TcpListener,
    role: Role,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<State>,
) {
    loop {
        // A failed accept concerns one connection, which is gone.
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without it an answer only waits longer.
        let _no_delay = stream.set_nodelay(true);
        tokio::spawn(greet(stream, role, tls.clone(), Arc::clone(&state)));
    }
}

async fn greet(stream: TcpStream, role: Role, tls: Option<Arc<ServerConfig>>, state: Arc<State>) {
    let number = state.connections.number();
    let Some(config) = tls else {
        let connection = state.connections.open(number, None);
        return converse(stream, role, connection, state).await;
    };
    let fault = state.script.take(Step::Handshake, state.clock.now());
    let name = fault.as_ref().map(|fault| fault.effect.name());
    let refuses = matches!(&fault, Some(Fault { effect: Effect::RefuseCertificate, .. }));
    let stream = match fault {
        Some(fault) => match hindered(stream, number, &fault, &state).await {
            Some(stream) => stream,
            None => return,
        },
        None => stream,
    };
    // The endpoint of Service Fabric asks for no certificate that could be refused.
    let refuses = refuses && role != Role::Fabric;
    let config = if refuses { Arc::clone(&state.refusing_tls) } else { config };
    match TlsAcceptor::from(config).accept(stream).into_fallible().await {
        Ok(stream) => {
            let connection = state.connections.open(number, Some(facts(stream.get_ref().1)));
            converse(stream, role, connection, state).await;
        }
        Err((error, stream)) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            if let Some(cause) = cause {
                let outcome = match cause {
                    rustls::Error::InvalidCertificate(_) => Outcome::CertificateRefused,
                    _ => Outcome::HandshakeFailed,
                };
                let fault = name.filter(|_| refuses);
                state
                    .recorder
                    .record(Entry { fault, ..Entry::handshake(number, state.clock.now(), outcome) });
                drain(stream, &state).await;
            }
        }
    }
}

/// The stream, unless this fault ends the handshake before it begins.
async fn hindered(mut stream: TcpStream, number: u64, fault: &Fault, state: &State) -> Option<TcpStream> {
    let outcome = match fault.effect {
        Effect::Reset => Some(Outcome::Reset),
        Effect::Stall => Some(Outcome::Stalled),
        Effect::TlsAlert(_) => Some(Outcome::HandshakeFailed),
        _ => None,
    };
    if let Some(outcome) = outcome {
        let name = Some(fault.effect.name());
        state.recorder.record(Entry { fault: name, ..Entry::handshake(number, state.clock.now(), outcome) });
    }
    if !fault.delay.is_zero() {
        state.clock.sleep(fault.delay).await;
    }
    match fault.effect {
        Effect::Reset => {
            // Dropping a socket that does not linger sends the reset.
            let _zero_linger = stream.set_zero_linger();
            None
        }
        Effect::Stall => pending().await,
        Effect::TlsAlert(number) => {
            // Of the ClientHello the first octets are enough: the rest is read when the alert is out.
            let _hello = stream.read(&mut [0; 1024]).await;
            // A record of the type alert, of two octets: the level fatal, and the number (RFC 8446 §5.1, §6).
            let _alert = stream.write_all(&[21, 3, 3, 0, 2, 2, number]).await;
            drain(stream, state).await;
            None
        }
        _ => Some(stream),
    }
}

fn facts(session: &ServerConnection) -> TlsFacts {
    TlsFacts {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: session.peer_certificates().and_then(<[_]>::first).map(|leaf| Thumbprint::of(leaf)),
    }
}

/// Reads what a refused client still sends, so that it reads the alert.
async fn drain(mut stream: TcpStream, state: &State) {
    // A client that is gone already needs no more.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unread = [0; 1024];
    let rest = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    tokio::select! {
        () = rest => {}
        () = state.clock.sleep(LINGER) => {}
    }
}

async fn converse<S: Socket>(stream: S, role: Role, connection: Arc<Connection>, state: Arc<State>) {
    let peer = Arc::clone(&connection);
    let service = service_fn(move |request| {
        let exchange = dispatch::answer(request, role, Arc::clone(&peer), Arc::clone(&state));
        async move { Ok::<_, Infallible>(exchange.await) }
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // First, so that no request is answered that came after the word to cut.
        biased;
        () = connection.cut.notified() => {
            let stream = http.into_parts().io.into_inner();
            // Dropping a socket that does not linger sends the reset.
            let _zero_linger = stream.tcp().set_zero_linger();
        }
        // How a client ends its connection is no concern of the server.
        _ended = &mut http => {}
    }
}

/// A stream over TCP.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
