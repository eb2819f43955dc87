//! Listeners on a loopback address or a Unix socket.

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

use crate::record::Peer;

/// A connection over TCP or a Unix socket.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientStream for S {}

pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    pub(crate) async fn tcp(address: SocketAddr) -> Result<(Self, SocketAddr), Error> {
        if !address.ip().is_loopback() {
            return Err(invalid(format!(
                "the agent cannot listen on {address}, which other machines can reach"
            ))
            .with_advice("use a loopback address such as 127.0.0.1:0"));
        }
        let failed = |error| {
            local(format!("the agent cannot listen on {address}"), error)
                .with_advice("choose a free port, or port 0")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok((Self::Tcp(listener), address))
    }

    /// Binds the socket in a private temporary folder and renames it once its mode is set, so that
    /// other users cannot connect in between.
    #[cfg(unix)]
    pub(crate) async fn unix(path: &Path) -> Result<(Self, SocketFile), Error> {
        check_length(path)?;
        refuse_if_in_use(path).await?;
        let failed = |error| {
            local(format!("the agent cannot create the socket {}", path.display()), error)
                .with_advice("use a short path in an existing folder of this user")
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let folder = tempfile::Builder::new().prefix(".").tempdir_in(parent).map_err(failed)?;
        let draft = folder.path().join("s");
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o600)).map_err(failed)?;
        let file = SocketFile::new(&draft, path).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)?;
        Ok((Self::Unix(listener), file))
    }

    pub(crate) async fn accept(&self) -> io::Result<(Box<dyn ClientStream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A failure only delays responses.
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

/// The file of a Unix socket, removed on drop unless another file has replaced it.
#[cfg(unix)]
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

/// Fails for a path that no client can connect to. The agent itself could bind it, because it
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
async fn refuse_if_in_use(path: &Path) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(local(format!("the agent cannot read the metadata of {}", path.display()), error)
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
            Err(local(format!("the agent cannot connect to the existing socket {}", path.display()), error)
                .with_advice("remove it if no process uses it, or use another path"))
        }
        Ok(_) => Err(invalid(format!("another process listens on {}", path.display()))
            .with_advice("stop it, or use another path")),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", message)
}

fn local(message: String, error: io::Error) -> Error {
    Error::new(ErrorKind::Service, "local_error", message).with_source(error)
}
