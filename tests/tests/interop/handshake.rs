//! Handshakes with a certificate for every kind of key.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use symbolon::{Connections, Context, Env, HyperTransport};
use symbolon_hyper::outgoing;
use symbolon_openssl::OpensslBackend;
use symbolon_rustls::ClientConfigs;
use symbolon_rustls::pki_types::ServerName;
use symbolon_rustls::rustls::ClientConfig;
use symbolon_test_programs::{Folder, SoftHsm, find_program, missing};
use symbolon_transport::{Request, Route, Transport as _, TransportErrorKind};
use symbolon_types::{ClientIdentity, IdentityCell};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;
use crate::keys::{CLIENT, Home, Requested, block_on};
use crate::servers::{NGINX_SERVER, SERVERS, VERSIONS};

/// A stream of configurations presents each of these keys in turn.
fn configs_present(requests: &[Requested]) {
    let Some(first) = requests.first() else { return };
    let folder = Folder::new();
    let authority = Authority::new(folder.path());
    let configs = ClientConfigs::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates_pem(&authority.pem())
        .build()
        .unwrap();
    for version in VERSIONS {
        let server = match (SERVERS[0].start)(&folder, version) {
            Ok(server) => server,
            Err(what) => return missing(&what),
        };
        let port = server.url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        let cell = IdentityCell::new(authority.certify(first));
        let rotating = block_on(configs.rotating(cell.watch())).unwrap();
        for requested in requests {
            cell.replace(authority.certify(requested));
            let page = block_on(page(rotating.current().unwrap(), port)).unwrap();
            assert!(page.contains(CLIENT), "{version:?} {}: {page}", requested.name);
        }
    }
}

/// Returns the page of a server with the configuration alone, as another library does.
async fn page(config: Arc<ClientConfig>, port: u16) -> std::io::Result<String> {
    let stream = TcpStream::connect(("localhost", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = Vec::new();
    // OpenSSL closes without an alert.
    let _closed = stream.read_to_end(&mut page).await;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Every installed server accepts the client by its certificate, and refuses a client of another
/// authority.
fn all_accept(requests: &[Requested]) {
    if find_program("openssl").is_none() {
        missing("OpenSSL (`apt-get install openssl`)");
        return;
    }
    let (folder, strangers) = (Folder::new(), Folder::new());
    let (authority, stranger) = (Authority::new(folder.path()), Authority::new(strangers.path()));
    for kind in SERVERS {
        for version in VERSIONS {
            let server = match (kind.start)(&folder, version) {
                Ok(server) => server,
                Err(what) => {
                    missing(&what);
                    continue;
                }
            };
            let clients = requests.iter().flat_map(|requested| [(requested, false), (requested, true)]);
            for (requested, is_openssl) in clients {
                let library = if is_openssl { "OpenSSL" } else { "rustls" };
                let case = format!("{} {version:?} with {} over {library}", kind.name, requested.name);
                let send = |url: &str, root: &[u8], identity| send(url, root, identity, is_openssl);
                let known = send(&server.url, &authority.pem(), authority.certify(requested));
                let (status, page) = known.unwrap_or_else(|kind| panic!("{case}: {kind:?}"));
                assert_eq!(status, StatusCode::OK, "{case}: {page}");
                assert!(page.contains(CLIENT), "{case}: {page}");
                // nginx refuses unknown clients in HTTP.
                match send(&server.url, &authority.pem(), stranger.certify(requested)) {
                    Ok((status, page)) => assert_eq!(status, StatusCode::BAD_REQUEST, "{case}: {page}"),
                    Err(error) => assert_eq!(error, TransportErrorKind::IdentityRejected, "{case}"),
                }
            }
        }
    }
}

fn send(
    url: &str,
    root: &[u8],
    identity: ClientIdentity,
    is_openssl: bool,
) -> Result<(StatusCode, String), TransportErrorKind> {
    let transport = HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .root_certificates_pem(root);
    let transport = if is_openssl { transport.tls_backend::<OpensslBackend>() } else { transport };
    let transport = transport.build().unwrap();
    let request = Request::new(Method::GET, url.parse().unwrap(), Route::Local).with_identity(Some(identity));
    let response = block_on(transport.send(request)).map_err(|error| error.kind())?;
    Ok((response.status(), String::from_utf8_lossy(response.body()).into_owned()))
}

/// Sends requests at once, and returns the protocol, the status and the page of each.
async fn send_at_once(
    connections: &Connections,
    url: &str,
    identity: &ClientIdentity,
) -> Vec<(Version, StatusCode, String)> {
    let requests = [Method::GET, Method::POST, Method::PUT, Method::GET].map(|method| async move {
        let body = outgoing(Full::new(Bytes::from_static(b"small")));
        let request = http::Request::builder().method(method).uri(url).body(body).unwrap();
        let response = connections.send(request, Some(identity)).await.unwrap();
        let (version, status) = (response.version(), response.status());
        let page = response.into_body().collect().await.unwrap().to_bytes();
        (version, status, String::from_utf8_lossy(&page).into_owned())
    });
    futures_util::future::join_all(requests).await
}

#[test]
fn connections_speak_http2_with_nginx() {
    let (folder, strangers) = (Folder::new(), Folder::new());
    let (authority, stranger) = (Authority::new(folder.path()), Authority::new(strangers.path()));
    for requested in Home::Memory.keys() {
        for version in VERSIONS {
            let server = match (NGINX_SERVER.start)(&folder, version) {
                Ok(server) => server,
                Err(what) => return missing(&what),
            };
            let connections = Connections::builder()
                .platform_roots(false)
                .context(Context::default().with_env(Env::empty()))
                .root_certificates_pem(&authority.pem())
                .build()
                .unwrap();
            let case = format!("{version:?} with {}", requested.name);
            for (identity, expected) in [
                (authority.certify(&requested), StatusCode::OK),
                (stranger.certify(&requested), StatusCode::BAD_REQUEST),
            ] {
                for (http, status, page) in block_on(send_at_once(&connections, &server.url, &identity)) {
                    assert_eq!((http, status), (Version::HTTP_2, expected), "{case}: {page}");
                    let is_known = page.contains("SUCCESS HTTP/2.0") && page.contains(CLIENT);
                    assert_eq!(is_known, expected == StatusCode::OK, "{case}: {page}");
                }
            }
        }
    }
}

#[test]
fn keys_in_memory_are_accepted_everywhere() {
    let requests = Home::Memory.keys();
    all_accept(&requests);
    configs_present(&requests);
}

#[test]
fn keys_in_files_are_accepted_everywhere() {
    all_accept(&Home::File.keys());
}

#[test]
fn keys_on_a_token_are_accepted_everywhere() {
    SoftHsm::run("handshake::keys_on_a_token_are_accepted_everywhere", |_| {
        let requests = Home::Token.keys();
        all_accept(&requests);
        configs_present(&requests);
    });
}

#[test]
fn keys_in_a_tpm_are_accepted_everywhere() {
    let requests = Home::Tpm.keys();
    all_accept(&requests);
    configs_present(&requests);
}
