//! The token service: a socket that takes a fixed time for each token.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::BoxError;

/// The length of a token. Those of Entra are about as long.
const TOKEN_LENGTH: usize = 1500;

/// A running service.
pub struct TokenService {
    address: SocketAddr,
    exchanges: Arc<AtomicUsize>,
}

impl TokenService {
    /// Starts a service whose tokens live for `lifetime`.
    pub fn start(exchange: Duration, lifetime: Duration) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let exchanges = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&exchanges);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || answer(connection, number, exchange, lifetime));
            }
        });
        Ok(Self { address, exchanges })
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of exchanges since the last call.
    pub fn take_exchanges(&self) -> usize {
        self.exchanges.swap(0, Ordering::SeqCst)
    }
}

/// Reads the scope, and writes the response. The token contains the scope.
fn answer(
    mut connection: TcpStream,
    number: usize,
    exchange: Duration,
    lifetime: Duration,
) -> std::io::Result<()> {
    let mut scope = String::new();
    BufReader::new(connection.try_clone()?).read_line(&mut scope)?;
    std::thread::sleep(exchange);
    let token = format!("{}.{number}.", scope.trim());
    let padding = "x".repeat(TOKEN_LENGTH.saturating_sub(token.len()));
    write!(
        connection,
        r#"{{"token_type":"Bearer","access_token":"{token}{padding}","expires_in":{}}}"#,
        lifetime.as_secs()
    )
}
