//! Accepting connections and serving HTTP on them.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use symbolon_types::Thumbprint;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::faults::{Fault, FaultEffect};
use crate::journal::{EntryOutcome, JournalEntry};
use crate::pki::{TlsSession, TlsVersion, tls};
use crate::protocol::{Server, Step};
use crate::run::dispatch;
use crate::run::framed::FramedIo;
use crate::state::{EmulatorState, TrackedConnection};

/// The time that a refused client may continue sending before its connection is closed. Closing
/// with unread input resets the connection, and the reset can overtake the alert.
const LINGER: Duration = Duration::from_secs(2);

/// Serves until the runtime ends.
pub(super) async fn serve(
    listener: TcpListener,
    server: Server,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<EmulatorState>,
) {
    loop {
        // A failed accept affects one connection, which is lost.
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Failure only delays responses.
        let _no_delay = stream.set_nodelay(true);
        tokio::spawn(accept_connection(stream, server, tls.clone(), Arc::clone(&state)));
    }
}

async fn accept_connection(
    stream: TcpStream,
    server: Server,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<EmulatorState>,
) {
    let number = state.connections.next_number();
    let Some(config) = tls else {
        let connection = state.connections.open(number, None);
        return serve_connection(stream, |stream| stream, server, connection, state).await;
    };
    let fault = state
        .faults
        .take(Step::Handshake, state.clock.now(), |fault| fault.server.is_none_or(|only| only == server));
    let name = fault.as_ref().map(|fault| fault.name);
    // The endpoint of Service Fabric requests no certificate that could be refused.
    let refuses = server != Server::ServiceFabric
        && matches!(&fault, Some(Fault { effect: FaultEffect::RefuseCertificate, .. }));
    let stream = match fault {
        Some(fault) => match apply_handshake_fault(stream, number, &fault, &state).await {
            Some(stream) => stream,
            None => return,
        },
        None => stream,
    };
    let config = match (refuses, config.alpn_protocols.iter().any(|name| name == tls::HTTP_2)) {
        (false, _) => config,
        (true, false) => Arc::clone(&state.refusing_tls),
        (true, true) => tls::with_http2(&state.refusing_tls),
    };
    match TlsAcceptor::from(config).accept(stream).into_fallible().await {
        Ok(stream) => {
            let connection = state.connections.open(number, Some(session(stream.get_ref().1)));
            if connection.is_http2() {
                serve_http2(stream, server, connection, state).await;
            } else {
                serve_connection(stream, |stream| stream.get_ref().0, server, connection, state).await;
            }
        }
        Err((error, stream)) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            if let Some(cause) = cause {
                let outcome = match cause {
                    rustls::Error::InvalidCertificate(_) => EntryOutcome::CertificateRefused,
                    _ => EntryOutcome::HandshakeFailed,
                };
                let entry = JournalEntry::handshake(number, state.clock.now(), outcome);
                state.recorder.record(JournalEntry { fault: name.filter(|_| refuses), ..entry });
                drain(stream, &state).await;
            }
        }
    }
}

/// Applies a fault before the handshake. Returns the stream unless the fault ended the connection.
async fn apply_handshake_fault(
    mut stream: TcpStream,
    number: u64,
    fault: &Fault,
    state: &EmulatorState,
) -> Option<TcpStream> {
    let outcome = match fault.effect {
        FaultEffect::Reset => Some(EntryOutcome::Reset),
        FaultEffect::Stall => Some(EntryOutcome::Stalled),
        FaultEffect::TlsAlert(_) => Some(EntryOutcome::HandshakeFailed),
        _ => None,
    };
    if let Some(outcome) = outcome {
        let entry = JournalEntry::handshake(number, state.clock.now(), outcome);
        state.recorder.record(JournalEntry { fault: Some(fault.name), ..entry });
    }
    if !fault.delay.is_zero() {
        state.clock.sleep(fault.delay).await;
    }
    match fault.effect {
        FaultEffect::Reset => {
            // Dropping a socket with zero linger sends a reset.
            let _zero_linger = stream.set_zero_linger();
            None
        }
        FaultEffect::Stall => pending().await,
        FaultEffect::TlsAlert(number) => {
            // The start of the ClientHello is enough: `drain` reads the rest after the alert.
            let _hello = stream.read(&mut [0; 1024]).await;
            // A record of the type alert with the level fatal (RFC 8446 §5.1, §6).
            let _alert = stream.write_all(&[21, 3, 3, 0, 2, 2, number]).await;
            drain(stream, state).await;
            None
        }
        _ => Some(stream),
    }
}

fn session(connection: &ServerConnection) -> TlsSession {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    TlsSession {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        http2: connection.alpn_protocol() == Some(tls::HTTP_2),
        certificate: leaf.map(|leaf| Thumbprint::of(leaf)),
    }
}

/// Reads the remaining input of a refused client, so that the client receives the alert.
async fn drain(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &EmulatorState) {
    // The client has closed the connection already.
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

/// Serves HTTP/1.1 on a stream; `tcp` returns the socket below it.
async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    tcp: fn(&S) -> &TcpStream,
    server: Server,
    connection: Arc<TrackedConnection>,
    state: Arc<EmulatorState>,
) {
    let tracked = Arc::clone(&connection);
    let service = service_fn(move |request| {
        dispatch::respond(request, 0, server, Arc::clone(&tracked), Arc::clone(&state))
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // The reset comes first, so that no later request is answered.
        biased;
        () = connection.reset.notified() => {
            let stream = http.into_parts().io.into_inner();
            // Dropping a socket with zero linger sends a reset.
            let _zero_linger = tcp(&stream).set_zero_linger();
        }
        // Errors of a single connection are the client's.
        _ended = &mut http => {}
    }
}

/// Serves HTTP/2 on a stream.
async fn serve_http2(
    stream: TlsStream<TcpStream>,
    server: Server,
    connection: Arc<TrackedConnection>,
    state: Arc<EmulatorState>,
) {
    let io = FramedIo::new(stream);
    let (tracked, shared) = (Arc::clone(&connection), Arc::clone(&state));
    let service = service_fn(move |request| {
        let previous = tracked.count_request();
        dispatch::respond(request, previous, server, Arc::clone(&tracked), Arc::clone(&shared))
    });
    let mut http = Box::pin(
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io.clone()), service),
    );
    let mut go_away = connection.go_away.subscribe();
    let leave = async {
        let Ok(Some(last)) = go_away.wait_for(Option::is_some).await.map(|last| *last) else {
            pending().await
        };
        poll_fn(|_| if io.is_between_frames() { Poll::Ready(last) } else { Poll::Pending }).await
    };
    tokio::select! {
        // The reset comes first, so that no later request is answered. The connection is polled
        // before the end of a frame is tested.
        biased;
        () = connection.reset.notified() => {
            // Dropping a socket with zero linger sends a reset.
            let _zero_linger = io.with(|stream| stream.get_ref().0.set_zero_linger());
        }
        _ended = &mut http => {}
        last = leave => {
            // The rest of the connection is the client's.
            let _sent = io.clone().write_all(&go_away_frame(last)).await;
            drop(http);
            drain(io, &state).await;
        }
    }
}

/// Returns the frame `GOAWAY` without an error (RFC 9113 §6.8).
fn go_away_frame(last: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[..9].copy_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
    frame[9..13].copy_from_slice(&last.to_be_bytes());
    frame
}
