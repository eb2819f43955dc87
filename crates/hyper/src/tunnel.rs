//! Tunnels through proxies.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{Method, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use symbolon_transport::{TransportError, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use url::Host;

use crate::interim::InterimCount;
use crate::origin::HttpOrigin;
use crate::proxy::{Proxy, ProxyProtocol};
use crate::socks::{self, SocksError, SocksTarget};
use crate::stream::AsyncStream;

/// The error of opening a tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error(
        "the proxy responded to CONNECT with HTTP 407: it requires a user name and a password, or others{}",
        schemes(.0)
    )]
    WrongCredentials(Vec<String>),
    #[error("the proxy responded to CONNECT with HTTP {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the proxy sent data before the tunnel was used")]
    EarlyData,
    #[error("the proxy sent {} interim responses and no other", InterimCount::LIMIT)]
    InterimOnly,
    #[error("the host name cannot be sent to the proxy")]
    Target(#[source] http::Error),
    #[error("the proxy did not respond to CONNECT")]
    Lost(#[source] hyper::Error),
    #[error(transparent)]
    Socks(#[from] SocksError),
}

/// Lists the authentication schemes of a proxy that does not offer Basic (RFC 7617).
fn schemes(offered: &[String]) -> String {
    let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case("basic");
    match offered.is_empty() || offered.iter().any(is_basic) {
        true => String::new(),
        false => format!("; it offers {}, but only Basic is supported", offered.join(" and ")),
    }
}

impl TunnelError {
    /// Returns true if the same request fails again: the proxy refused it by its policy or for its
    /// credentials.
    fn is_final(&self) -> bool {
        match self {
            Self::WrongCredentials(_) | Self::Target(_) => true,
            Self::Status(status) => !symbolon_transport::is_transient_status(*status),
            Self::EarlyData | Self::InterimOnly | Self::Lost(_) => false,
            Self::Socks(error) => error.is_final(),
        }
    }

    /// Returns the error of the request that needed the tunnel.
    pub(crate) fn into_transport_error(self, proxy: &Proxy) -> TransportError {
        let variable = proxy.variable();
        let advice = match &self {
            Self::WrongCredentials(_) => Some(credentials_advice(variable)),
            Self::Socks(error) if error.concerns_credentials() => Some(credentials_advice(variable)),
            Self::Status(StatusCode::FORBIDDEN) | Self::Socks(SocksError::Forbidden) => {
                Some("let the administrator of the proxy allow this server, or add it to NO_PROXY".to_owned())
            }
            Self::Status(_) | Self::EarlyData | Self::Lost(_) | Self::Socks(SocksError::OtherProtocol) => {
                Some(format!(
                    "check that {variable} names a proxy of this kind, with its port, and that it allows the server"
                ))
            }
            _ => None,
        };
        let kind = match self.is_final() {
            true => TransportErrorKind::ProxyRefused,
            false => TransportErrorKind::Connect,
        };
        let error = TransportError::new(kind).with_source(self);
        match advice {
            Some(advice) => error.with_advice(advice),
            None => error,
        }
    }
}

fn credentials_advice(variable: &str) -> String {
    format!(
        "write the user name and the password of the proxy into {variable}, before its host: user:password@, with \
         special characters percent-encoded"
    )
}

/// Opens a tunnel to the origin through a connected proxy. `address` is that of the origin, if it
/// is resolved here.
pub(crate) async fn open<S: AsyncStream + 'static>(
    mut stream: S,
    proxy: &Proxy,
    origin: &HttpOrigin,
    address: Option<SocketAddr>,
) -> Result<S, TunnelError> {
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => connect(stream, proxy, origin).await,
        ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => {
            let target = match (address, origin.host()) {
                (Some(address), _) => SocksTarget::Address(address),
                (None, Host::Domain(name)) => SocksTarget::Name(name, origin.port()),
                (None, Host::Ipv4(address)) => SocksTarget::Address((*address, origin.port()).into()),
                (None, Host::Ipv6(address)) => SocksTarget::Address((*address, origin.port()).into()),
            };
            socks::connect(&mut stream, target, proxy.credentials()).await?;
            Ok(stream)
        }
    }
}

/// Opens a tunnel by CONNECT (RFC 9110 §9.3.6).
async fn connect<S: AsyncStream + 'static>(
    stream: S,
    proxy: &Proxy,
    origin: &HttpOrigin,
) -> Result<S, TunnelError> {
    let target = origin.to_string();
    let mut request = http::Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
    if let Some(credentials) = proxy.credentials().and_then(|credentials| credentials.basic()) {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let mut request = request.body(Empty::<Bytes>::new()).map_err(TunnelError::Target)?;
    let interim = InterimCount::of(&mut request);

    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(TunnelError::Lost)?;
    let mut response = pin!(sender.send_request(request));
    let mut connection = pin!(connection.without_shutdown());
    let mut released = None;
    let answered = poll_fn(|context| {
        if released.is_none()
            && let Poll::Ready(parts) = connection.as_mut().poll(context)
        {
            released = Some(parts);
        }
        if interim.is_exceeded() {
            return Poll::Ready(Err(TunnelError::InterimOnly));
        }
        response.as_mut().poll(context).map_err(TunnelError::Lost)
    });
    let response = answered.await?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(TunnelError::WrongCredentials(offered_schemes(response.headers())));
        }
        status => return Err(TunnelError::Status(status)),
    }
    let released = match released {
        Some(parts) => parts,
        None => connection.await,
    };
    let parts = released.map_err(TunnelError::Lost)?;
    if !parts.read_buf.is_empty() {
        return Err(TunnelError::EarlyData);
    }
    Ok(parts.io.into_inner())
}

/// Returns the authentication schemes in `Proxy-Authenticate` (RFC 9110 §11.7.1), one for each
/// field.
fn offered_schemes(headers: &HeaderMap) -> Vec<String> {
    let first_word = |value: &http::HeaderValue| {
        let word = value.to_str().ok()?.split([' ', ',']).next()?;
        (!word.is_empty() && word.len() <= 32).then(|| word.to_owned())
    };
    headers.get_all(PROXY_AUTHENTICATE).iter().filter_map(first_word).take(4).collect()
}

/// A stream of TLS to a proxy.
///
/// Its errors are those of the proxy. As errors of rustls, they would be taken for errors of the
/// server's TLS in the tunnel, and an alert for a refusal of the client certificate.
#[derive(Debug)]
pub(crate) struct ProxyTlsStream<S>(pub(crate) S);

/// The TLS connection to the proxy failed.
#[derive(Debug, thiserror::Error)]
#[error("the TLS connection to the proxy was lost: {0}")]
struct ProxyTlsError(String);

fn of_proxy<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match symbolon_rustls::tls_error(&error) {
        Some(tls) => io::Error::new(io::ErrorKind::ConnectionReset, ProxyTlsError(tls.to_string())),
        None => error,
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for ProxyTlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer).map(of_proxy)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ProxyTlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes).map(of_proxy)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map(of_proxy)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context).map(of_proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_named_without_basic() {
        for (fields, expected) in [
            (&[][..], ""),
            (&["Basic realm=\"x\""], ""),
            (&["Negotiate", "basic realm=x"], ""),
            (&["Negotiate", "NTLM"], "; it offers Negotiate and NTLM, but only Basic is supported"),
        ] {
            let values = fields.iter().map(|field| (PROXY_AUTHENTICATE, field.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            assert_eq!(schemes(&offered_schemes(&headers)), expected);
        }
    }

    /// Nothing in the chain of causes is taken for an error of the server's TLS.
    #[test]
    fn proxy_alert_is_no_alert_of_the_server() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        let error = of_proxy::<()>(Err(io::Error::new(io::ErrorKind::InvalidData, alert))).unwrap_err();
        assert!(symbolon_rustls::tls_error(&error).is_none());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("proxy"), "{error}");
    }
}
