//! Where clients come from: a loopback address or a Unix socket.

#[cfg(unix)]
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
#[cfg(unix)]
use std::path::{Path, PathBuf};

use symbolon::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::Peer;

/// A connection of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    pub(crate) async fn tcp(address: SocketAddr) -> Result<(Self, SocketAddr), Error> {
        if !address.ip().is_loopback() {
            return Err(misconfigured(format!("the agent does not listen on {address}"))
                .with_advice("name a loopback address: what it gives out is for this machine"));
        }
        let failed = |error| local(format!("the agent cannot listen on {address}"), error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok((Self::Tcp(listener), address))
    }

    /// The socket is made in a folder that is this user's alone and moved when it has its mode, so that nobody
    /// connects before.
    #[cfg(unix)]
    pub(crate) async fn unix(path: &Path) -> Result<(Self, SocketFile), Error> {
        refuse_if_in_use(path).await?;
        let failed = |error| local(format!("the agent cannot make the socket {}", path.display()), error);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let folder = tempfile::Builder::new().prefix(".").tempdir_in(parent).map_err(failed)?;
        let draft = folder.path().join("s");
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o600)).map_err(failed)?;
        let file = SocketFile::of(&draft, path).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)?;
        Ok((Self::Unix(listener), file))
    }

    pub(crate) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Without it an answer only waits longer.
                let _no_delay = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer::Address(address)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                Ok((Box::new(stream), Peer::Process { uid: peer.uid(), pid: peer.pid() }))
            }
        }
    }
}

/// The socket in the file system, removed at the end unless another has taken its place.
#[cfg(unix)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    fn of(made_at: &Path, path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(made_at)? })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Whoever comes next replaces what is left over.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Nothing is replaced but a socket on which nobody listens.
#[cfg(unix)]
async fn refuse_if_in_use(path: &Path) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(local(format!("the agent cannot look at {}", path.display()), error)),
    };
    if !found.file_type().is_socket() {
        return Err(misconfigured(format!("{} is there, and is no socket", path.display()))
            .with_advice("name another path"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => {
            Err(local(format!("{} is there, and who has it cannot be told", path.display()), error))
        }
        Ok(_) => Err(misconfigured(format!("somebody answers at {} already", path.display()))
            .with_advice("stop it, or name another path")),
    }
}

fn misconfigured(what: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", what)
}

fn local(what: String, error: io::Error) -> Error {
    Error::new(ErrorKind::Service, "local_error", what).with_source(error)
}
