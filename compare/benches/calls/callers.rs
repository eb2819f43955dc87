//! The compared clients.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use symbolon_openssl::OpensslBackend;
use symbolon_rustls::ClientConfigs;
use symbolon_testing::symbolon::parts::client::{Connections, ConnectionsBuilder, HttpCalls as _};
use symbolon_testing::symbolon::parts::token::TokenClient;

use crate::caller::{Reqwest, Symbolon};
use crate::{BoxError, RESOURCE, ServerProcess};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Returns `symbolon-client` over rustls.
pub(crate) fn over_rustls(
    tokens: &TokenClient,
    server: &ServerProcess,
    protocol: Protocol,
) -> Result<Symbolon, BoxError> {
    let connections = connections(server).http2(protocol == Protocol::Http2).build()?;
    let client = tokens.client(RESOURCE).proof_of_possession().connections(connections).build()?;
    Ok(Symbolon { client, url: server.url.clone() })
}

/// Returns `symbolon-client` over HTTP/1.1 and OpenSSL.
pub(crate) fn over_openssl(tokens: &TokenClient, server: &ServerProcess) -> Result<Symbolon, BoxError> {
    let connections = connections(server).tls_backend::<OpensslBackend>().build()?;
    let client = tokens.client(RESOURCE).proof_of_possession().connections(connections).build()?;
    Ok(Symbolon { client, url: server.url.clone() })
}

fn connections(server: &ServerProcess) -> ConnectionsBuilder {
    Connections::builder().platform_roots(false).root_certificates_pem(server.certificate.as_bytes())
}

/// Returns reqwest with a bound token, on the TLS configuration of its certificate.
pub(crate) async fn with_reqwest(
    tokens: &TokenClient,
    server: &ServerProcess,
    protocol: Protocol,
) -> Result<Reqwest, BoxError> {
    let token = tokens.token_for_resource(RESOURCE).proof_of_possession().await?;
    let identity = token.bound_to().ok_or("the token is not bound")?;
    let offered = if protocol == Protocol::Http2 { "h2" } else { "http/1.1" };
    let configs = ClientConfigs::builder()
        .platform_roots(false)
        .root_certificates_pem(server.certificate.as_bytes())
        .alpn_protocols([offered])
        .build()?;
    let config = configs.config(identity).await?;
    let client =
        reqwest::Client::builder().tls_backend_preconfigured((*config).clone()).no_proxy().build()?;
    let authorization = format!("{} {}", token.token_type(), token.secret().expose());
    let mut authorization = HeaderValue::try_from(authorization)?;
    // As `bearer_auth` of reqwest does: HPACK does not index it (RFC 7541 §7.1.3).
    authorization.set_sensitive(true);
    Ok(Reqwest { client, url: server.url.clone(), header: (AUTHORIZATION, authorization) })
}
