//! A server that sends a fixed response and closes the connection, or loses requests.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use url::Url;

/// The wait for a client's next bytes.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

pub(super) struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    closed: Receiver<()>,
}

impl Server {
    /// Starts a server that replies to each request.
    pub(super) fn replying(reply: impl Into<Vec<u8>>) -> io::Result<Self> {
        Self::start(reply.into(), serve)
    }

    /// Starts a server that replies before it has received anything.
    pub(super) fn replying_at_once(reply: impl Into<Vec<u8>>) -> io::Result<Self> {
        Self::start(reply.into(), blurt)
    }

    /// Starts a server that replies to requests whose path is `/kept`, keeps their connection open,
    /// and closes the connection of any other request after it has received it.
    pub(super) fn losing(reply: impl Into<Vec<u8>>) -> io::Result<Self> {
        Self::start(reply.into(), lose)
    }

    fn start(reply: Vec<u8>, serve: Serve) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let (close, closed) = channel();
        let journal = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                // `Drop` opens a connection without a request.
                let is_over = serve(stream, &reply, &journal).is_err();
                if is_over || close.send(()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { address, received, closed })
    }

    /// Returns the URL of a closed port.
    pub(super) fn closed_url() -> io::Result<Url> {
        url(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?, "/")
    }

    pub(super) fn url(&self, path: &str) -> Url {
        #[expect(clippy::expect_used, reason = "every path is a literal of the suite")]
        url(self.address, path).expect("a loopback address and a literal path make a URL")
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns all bytes that clients sent.
    pub(super) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the server has closed the connection of one more request.
    pub(super) fn wait_until_closed(&self) {
        let _closed_or_gone = self.closed.recv_timeout(SILENCE);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _woken = TcpStream::connect(self.address);
    }
}

fn url(address: SocketAddr, path: &str) -> io::Result<Url> {
    format!("http://{address}{path}").parse().map_err(io::Error::other)
}

type Serve = fn(TcpStream, &[u8], &Mutex<Vec<u8>>) -> io::Result<()>;

fn blurt(mut stream: TcpStream, reply: &[u8], journal: &Mutex<Vec<u8>>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    // A client that has read enough may hang up first.
    let _all_read = stream.write_all(reply);
    let _still_open = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    let _read_until_reset = stream.read_to_end(&mut heard);
    if heard.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    journal.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&heard);
    Ok(())
}

fn serve(mut stream: TcpStream, reply: &[u8], journal: &Mutex<Vec<u8>>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let request = read_request(&mut stream)?;
    journal.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&request);
    // A client that has read enough may hang up first.
    let _all_read = stream.write_all(reply);
    let _still_open = stream.shutdown(Shutdown::Write);
    let _drained = io::copy(&mut stream, &mut io::sink());
    Ok(())
}

fn lose(mut stream: TcpStream, reply: &[u8], journal: &Mutex<Vec<u8>>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut requests = 0;
    loop {
        match read_request(&mut stream) {
            Ok(request) => {
                requests += 1;
                journal.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&request);
                let target = request.split(|byte| *byte == b' ').nth(1);
                if target != Some(b"/kept") {
                    return Ok(());
                }
                stream.write_all(reply)?;
            }
            // A client that keeps no connection closes it here.
            Err(error) if requests == 0 => return Err(error),
            Err(_) => return Ok(()),
        }
    }
}

pub(super) fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&buffer[..read]);
        if is_complete(&request) {
            return Ok(request);
        }
    }
}

fn is_complete(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= head + 4 + length.unwrap_or(0)
}
