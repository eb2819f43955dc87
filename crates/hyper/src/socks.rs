//! The client of a SOCKS 5 proxy (RFC 1928, RFC 1929).
//!
//! The one of hyper-util has no public errors, so that a refusal by policy could not be told from a
//! failure, and it resolves names on the async thread.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::proxy::ProxyCredentials;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
/// The version of the authentication by user name and password (RFC 1929 §2).
const AUTHENTICATION_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// The server that the proxy connects to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SocksTarget<'a> {
    Address(SocketAddr),
    Name(&'a str, u16),
}

/// The error of opening a connection through a SOCKS proxy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocksError {
    #[error("the proxy requires a user name and a password, or another kind of authentication")]
    AuthenticationRequired,
    #[error("the proxy refused the user name or the password")]
    WrongCredentials,
    #[error("the user name or the password of the proxy has more than 255 bytes")]
    LongCredentials,
    #[error("the host name has more than 255 bytes")]
    LongName,
    #[error("the policy of the proxy forbids this server")]
    Forbidden,
    #[error("the proxy could not connect to the server: {}", text_of(*.0))]
    Failed(u8),
    #[error("the proxy does not speak SOCKS 5")]
    OtherProtocol,
    #[error("the connection to the proxy was lost")]
    Lost(#[from] io::Error),
}

impl SocksError {
    /// Returns true if the same request fails again.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Failed(_))
    }

    /// Returns true if other credentials may help.
    pub(crate) fn concerns_credentials(&self) -> bool {
        matches!(self, Self::AuthenticationRequired | Self::WrongCredentials | Self::LongCredentials)
    }
}

/// Returns the meaning of a reply (RFC 1928 §6).
fn text_of(reply: u8) -> &'static str {
    match reply {
        3 => "its network is unreachable",
        4 => "it is unreachable, or its name is unknown to the proxy",
        5 => "it refused the connection",
        6 => "its time to live expired",
        7 | 8 => "the proxy does not support the request",
        _ => "the proxy gave no reason",
    }
}

/// Lets the proxy at the other end of a stream connect to the server.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: SocksTarget<'_>,
    credentials: Option<&ProxyCredentials>,
) -> Result<(), SocksError> {
    let methods: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    write(stream, methods).await?;
    let [version, method] = read(stream).await?;
    match (version, method, credentials) {
        (VERSION, NO_AUTHENTICATION, _) => {}
        (VERSION, USER_AND_PASSWORD, Some(credentials)) => authenticate(stream, credentials).await?,
        (VERSION, NONE_ACCEPTABLE, _) => return Err(SocksError::AuthenticationRequired),
        _ => return Err(SocksError::OtherProtocol),
    }
    write(stream, &request(target)?).await?;
    let [version, reply, _reserved, kind] = read(stream).await?;
    match (version, reply) {
        (VERSION, 0) => {}
        (VERSION, 2) => return Err(SocksError::Forbidden),
        (VERSION, reply) => return Err(SocksError::Failed(reply)),
        _ => return Err(SocksError::OtherProtocol),
    }
    // The address that the proxy connects from, and its port.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN => usize::from(read::<1>(stream).await?[0]),
        _ => return Err(SocksError::OtherProtocol),
    };
    stream.read_exact(&mut vec![0; length + 2]).await?;
    Ok(())
}

async fn authenticate(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    credentials: &ProxyCredentials,
) -> Result<(), SocksError> {
    let (user, password) = (credentials.user.expose().as_bytes(), credentials.password.expose().as_bytes());
    let length = |text: &[u8]| u8::try_from(text.len()).map_err(|_| SocksError::LongCredentials);
    let mut message = Zeroizing::new(Vec::with_capacity(3 + user.len() + password.len()));
    message.extend([AUTHENTICATION_VERSION, length(user)?]);
    message.extend(user);
    message.push(length(password)?);
    message.extend(password);
    write(stream, &message).await?;
    match read(stream).await? {
        [AUTHENTICATION_VERSION, 0] => Ok(()),
        [AUTHENTICATION_VERSION, _] => Err(SocksError::WrongCredentials),
        _ => Err(SocksError::OtherProtocol),
    }
}

fn request(target: SocksTarget<'_>) -> Result<Vec<u8>, SocksError> {
    let mut request = vec![VERSION, CONNECT, 0];
    let port = match target {
        SocksTarget::Address(SocketAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.ip().octets());
            address.port()
        }
        SocksTarget::Address(SocketAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.ip().octets());
            address.port()
        }
        SocksTarget::Name(name, port) => {
            request.extend([DOMAIN, u8::try_from(name.len()).map_err(|_| SocksError::LongName)?]);
            request.extend(name.as_bytes());
            port
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    // A stream of TLS has a buffer.
    stream.flush().await
}

async fn read<const LENGTH: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; LENGTH]> {
    let mut message = [0; LENGTH];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
