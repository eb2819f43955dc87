//! Listeners on a loopback address or a Unix socket.

#[cfg(unix)]
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use symbolon_types::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::peer::Peer;

/// The number of connections that can wait to be accepted. A client beyond it waits for a second,
/// until its system tries again.
const BACKLOG: u32 = 1024;

/// The maximum number of connections that are taken from the queue of a listener before it closes,
/// so that clients that keep connecting do not prevent it.
const MAX_QUEUED: usize = 4096;

/// A connection over TCP or a Unix socket.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Returns when octets or the end of the stream can be read.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl ClientStream for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }
}

#[cfg(unix)]
impl ClientStream for UnixStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }
}

/// A connection and its client.
pub(crate) type Accepted = (Box<dyn ClientStream>, Peer);

/// A listener for processes of this machine.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: ListeningSocket,
    address: Option<SocketAddr>,
    /// The file that is removed at the end.
    #[cfg(unix)]
    pub(crate) file: Option<SocketFile>,
}

#[derive(Debug)]
pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// The users that can open a Unix socket, as far as its folder permits.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketUsers {
    /// This user only (mode 0600).
    Own,
    /// All users (mode 0666). The server checks the user of each connection.
    All,
}

impl Listener {
    /// Listens on a loopback address; port 0 selects a free port. Needs a Tokio runtime. `server`
    /// is the name of the server in errors, such as "the agent".
    ///
    /// # Errors
    /// `invalid_configuration` for an address that other machines can reach, `local_error` if
    /// binding fails.
    pub async fn tcp(server: &str, address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(not_loopback(server, address));
        }
        Self::tcp_for_all(server, address).await
    }

    /// Listens on a Unix socket. A leftover socket without a listener is replaced. Needs a Tokio
    /// runtime. `server` is the name of the server in errors.
    ///
    /// The socket is bound in a private temporary folder and renamed once its mode is set, so that
    /// other users cannot connect in between.
    ///
    /// # Errors
    /// `invalid_configuration` if the path exists and is not a socket, another process listens on
    /// it, or it is too long for a client to connect to; `local_error` if the socket cannot be
    /// created.
    #[cfg(unix)]
    pub async fn unix(server: &str, path: &Path, users: SocketUsers) -> Result<Self, Error> {
        check_length(path)?;
        refuse_if_in_use(server, path).await?;
        let failed = |error| {
            local(format!("{server} cannot create the socket {}", path.display()), error)
                .with_advice("use a short path in an existing folder of this user")
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let folder = tempfile::Builder::new().prefix(".").tempdir_in(parent).map_err(failed)?;
        let draft = folder.path().join("s");
        let socket = UnixListener::bind(&draft).map_err(failed)?;
        let mode = match users {
            SocketUsers::Own => 0o600,
            SocketUsers::All => 0o666,
        };
        fs::set_permissions(&draft, Permissions::from_mode(mode)).map_err(failed)?;
        let file = SocketFile::new(&draft, path).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)?;
        Ok(Self { socket: ListeningSocket::Unix(socket), address: None, file: Some(file) })
    }

    /// Listens on any address, for endpoints that others may reach, such as those of
    /// [`StatusSettings`](crate::StatusSettings). Needs a Tokio runtime. `server` is the name of
    /// the server in errors.
    ///
    /// # Errors
    /// `local_error` if binding fails.
    pub async fn tcp_for_all(server: &str, address: SocketAddr) -> Result<Self, Error> {
        let failed = |error| cannot_listen(server, address, error);
        let socket = listen(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self::of_tcp(socket, address))
    }

    /// Takes a socket that listens on a loopback address already, for example one of a service
    /// manager. Needs a Tokio runtime. `server` is the name of the server in errors.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that other machines can reach, `local_error` if the
    /// socket cannot be used.
    pub fn from_tcp(server: &str, socket: std::net::TcpListener) -> Result<Self, Error> {
        let listener = Self::from_tcp_for_all(server, socket)?;
        match listener.address {
            Some(address) if !address.ip().is_loopback() => Err(not_loopback(server, address)),
            _ => Ok(listener),
        }
    }

    /// Like [`from_tcp`](Self::from_tcp), on any address.
    ///
    /// # Errors
    /// `local_error` if the socket cannot be used.
    pub fn from_tcp_for_all(server: &str, socket: std::net::TcpListener) -> Result<Self, Error> {
        let address = check_listening(&socket)
            .and_then(|()| socket.set_nonblocking(true))
            .and_then(|()| socket.local_addr());
        let listening = address.and_then(|address| Ok((TcpListener::from_std(socket)?, address)));
        let (socket, address) = listening.map_err(|error| cannot_use(server, error))?;
        Ok(Self::of_tcp(socket, address))
    }

    /// Takes a Unix socket that is listened on already. Its file is not removed at the end. Needs a
    /// Tokio runtime. `server` is the name of the server in errors.
    ///
    /// # Errors
    /// `local_error` if the socket cannot be used.
    #[cfg(unix)]
    pub fn from_unix(server: &str, socket: std::os::unix::net::UnixListener) -> Result<Self, Error> {
        let listening = check_listening(&socket)
            .and_then(|()| socket.set_nonblocking(true))
            .and_then(|()| UnixListener::from_std(socket));
        let socket = listening.map_err(|error| cannot_use(server, error))?;
        Ok(Self { socket: ListeningSocket::Unix(socket), address: None, file: None })
    }

    fn of_tcp(socket: TcpListener, address: SocketAddr) -> Self {
        Self {
            socket: ListeningSocket::Tcp(socket),
            address: Some(address),
            #[cfg(unix)]
            file: None,
        }
    }

    /// Returns the address; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl ListeningSocket {
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(of_tcp(stream, address))
            }
            #[cfg(unix)]
            Self::Unix(listener) => of_unix(listener.accept().await?.0),
        }
    }

    /// Closes the listener, and returns the connections that clients have opened and that were not
    /// accepted yet. Closing alone would reset them.
    pub(crate) fn into_queued(self) -> Vec<Accepted> {
        let mut queued = Vec::new();
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return queued };
                while queued.len() < MAX_QUEUED
                    && let Ok((stream, address)) = listener.accept()
                {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    queued.extend(stream.map(|stream| of_tcp(stream, address)));
                }
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return queued };
                while queued.len() < MAX_QUEUED
                    && let Ok((stream, _)) = listener.accept()
                {
                    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                    queued.extend(stream.and_then(of_unix));
                }
            }
        }
        queued
    }
}

/// Fails for a socket that accepts no connections, such as one that is only bound, or that is a
/// connection itself.
#[cfg(unix)]
fn check_listening(socket: &impl std::os::fd::AsFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_acceptconn(socket)? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen")),
    }
}

#[cfg(not(unix))]
fn check_listening(_socket: &std::net::TcpListener) -> io::Result<()> {
    Ok(())
}

fn of_tcp(stream: TcpStream, address: SocketAddr) -> Accepted {
    // A failure only delays responses.
    let _no_delay = stream.set_nodelay(true);
    (Box::new(stream), Peer::Address(address))
}

#[cfg(unix)]
fn of_unix(stream: UnixStream) -> io::Result<Accepted> {
    let peer = stream.peer_cred()?;
    Ok((Box::new(stream), Peer::Process { uid: peer.uid(), pid: peer.pid() }))
}

/// The file of a Unix socket, removed on drop unless another file has replaced it.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    fn new(draft: &Path, path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(draft)? })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // The next run replaces a leftover socket.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Fails for a path that no client can connect to. The server itself could bind it, because it
/// renames a socket with a shorter name.
#[cfg(unix)]
fn check_length(path: &Path) -> Result<(), Error> {
    std::os::unix::net::SocketAddr::from_pathname(path).map(drop).map_err(|error| {
        let length = path.as_os_str().len();
        invalid(format!(
            "no client can connect to the socket {}: a path of {length} bytes does not fit into a socket address",
            path.display()
        ))
        .with_advice("use a path of at most 100 bytes, for example in /run/user or /tmp")
        .with_source(error)
    })
}

/// Fails unless `path` is free or a socket without a listener.
#[cfg(unix)]
async fn refuse_if_in_use(server: &str, path: &Path) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(local(format!("{server} cannot read the metadata of {}", path.display()), error)
                .with_advice("use a path in an existing folder of this user"));
        }
    };
    if !found.file_type().is_socket() {
        return Err(
            invalid(format!("{} exists and is not a socket", path.display())).with_advice("use another path")
        );
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => {
            Err(local(format!("{server} cannot connect to the existing socket {}", path.display()), error)
                .with_advice("remove it if no process uses it, or use another path"))
        }
        Ok(_) => Err(invalid(format!("another process listens on {}", path.display()))
            .with_advice("stop it, or use another path")),
    }
}

fn not_loopback(server: &str, address: SocketAddr) -> Error {
    invalid(format!("{server} cannot listen on {address}, which other machines can reach"))
        .with_advice("use a loopback address such as 127.0.0.1:0")
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As of `TcpListener::bind`: on Windows, the option lets other programs take the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn cannot_listen(server: &str, address: SocketAddr, error: io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrNotAvailable => "use an address of this machine",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges",
        _ => "choose a free port, or port 0",
    };
    local(format!("{server} cannot listen on {address}"), error).with_advice(advice)
}

fn cannot_use(server: &str, error: io::Error) -> Error {
    local(format!("{server} cannot use the socket that it was given"), error)
        .with_advice("check the unit of the socket")
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", message)
}

fn local(message: String, error: io::Error) -> Error {
    Error::new(ErrorKind::Service, "local_error", message).with_source(error)
}
