//! Tunnels through proxies of each kind.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::Method;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use symbolon_hyper::HyperTransport;
use symbolon_transport::{Request, Route, Transport, TransportError, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, Env};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, NAMES};
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, Fault, Server, ServerOptions, VERSIONS, read_head};
use crate::{outcome, trusting};

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n";

/// The protocol and the behaviour of a proxy.
#[derive(Clone)]
enum Behaviour {
    /// Answers CONNECT with this text.
    Connect(&'static str),
    /// Sends this text at once, and closes.
    Text(&'static str),
    /// Like `Connect` over TLS, with this configuration.
    Tls(&'static str, Arc<ServerConfig>),
    /// Speaks SOCKS 5, requires these credentials, and answers the request with this reply.
    Socks { credentials: Option<&'static str>, reply: u8 },
}

/// A proxy that connects every name to the same server, and records the requests.
struct TestProxy {
    port: u16,
    record: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    async fn start(target: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self { port, record: Arc::clone(&record) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (behaviour, record) = (behaviour.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let _ended = serve(client, target, behaviour, &record).await;
                });
            }
        });
        proxy
    }

    fn env(&self, variable: &str, url: &str) -> Env {
        [(variable, url.replace("PORT", &self.port.to_string()))].into_iter().collect()
    }

    fn record(&self) -> Vec<String> {
        self.record.lock().unwrap().clone()
    }
}

async fn serve(
    client: TcpStream,
    target: SocketAddr,
    behaviour: Behaviour,
    record: &Mutex<Vec<String>>,
) -> io::Result<()> {
    match behaviour {
        Behaviour::Text(text) => {
            let mut client = client;
            client.write_all(text.as_bytes()).await?;
            client.shutdown().await?;
            client.read_to_end(&mut Vec::new()).await.map(drop)
        }
        Behaviour::Connect(answer) => tunnel(client, target, answer, record).await,
        Behaviour::Tls(answer, config) => {
            let client = TlsAcceptor::from(config).accept(client).await?;
            let tls = client.get_ref().1;
            let alpn = tls.alpn_protocol().map(String::from_utf8_lossy);
            let line = format!("TLS {alpn:?} {}", tls.peer_certificates().map_or(0, <[_]>::len));
            record.lock().unwrap().push(line);
            tunnel(client, target, answer, record).await
        }
        Behaviour::Socks { credentials, reply } => socks(client, target, credentials, reply, record).await,
    }
}

async fn tunnel(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    target: SocketAddr,
    answer: &str,
    record: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let head = read_head(&mut client).await?;
    record.lock().unwrap().push(head);
    client.write_all(answer.as_bytes()).await?;
    client.flush().await?;
    if answer.contains(" 200 ") {
        let mut server = TcpStream::connect(target).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

async fn socks(
    mut client: TcpStream,
    target: SocketAddr,
    credentials: Option<&str>,
    reply: u8,
    record: &Mutex<Vec<String>>,
) -> io::Result<()> {
    assert_eq!(client.read_u8().await?, 5);
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    let method = match credentials {
        None => 0,
        Some(_) if methods.contains(&2) => 2,
        Some(_) => 0xff,
    };
    client.write_all(&[5, method]).await?;
    if let (Some(credentials), 2) = (credentials, method) {
        assert_eq!(client.read_u8().await?, 1);
        let mut sent = Vec::new();
        for _ in 0..2 {
            let mut part = vec![0; client.read_u8().await?.into()];
            client.read_exact(&mut part).await?;
            sent.push(String::from_utf8(part).unwrap());
        }
        let is_right = sent.join(":") == credentials;
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    assert_eq!(head[..3], [5, 1, 0]);
    let mut address = vec![
        0;
        match head[3] {
            1 => 4,
            4 => 16,
            _ => client.read_u8().await?.into(),
        }
    ];
    client.read_exact(&mut address).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(&address[..]).unwrap()).to_string(),
        4 => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&address[..]).unwrap()).to_string(),
        _ => format!("name {}", String::from_utf8(address).unwrap()),
    };
    let port = client.read_u16().await?;
    record.lock().unwrap().push(format!("{host} {port}"));
    // In parts, and with an address of each kind.
    client.write_all(&[5, reply]).await?;
    client.flush().await?;
    tokio::task::yield_now().await;
    client
        .write_all(match host.len() % 3 {
            0 => &[0, 1, 127, 0, 0, 1, 0, 1][..],
            1 => &[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1],
            _ => &[0, 3, 2, b'a', b'b', 0, 1],
        })
        .await?;
    if reply == 0 {
        let mut server = TcpStream::connect(target).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// Returns a configuration with a certificate of the authority, which requests one of the client.
fn tls(authority: &Authority, names: &[&str]) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificate, key) = authority.server(names);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn transport(authority: &Authority, env: Env) -> HyperTransport {
    trusting(authority).context(Context::default().with_env(env)).build().unwrap()
}

fn public(url: &str, identity: Option<&ClientIdentity>) -> Request {
    Request::new(Method::GET, url.parse().unwrap(), Route::Public).with_identity(identity.cloned())
}

fn server(authority: &Authority) -> Server {
    ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(authority)
}

async fn failure(transport: &HyperTransport, url: &str, identity: &ClientIdentity) -> TransportError {
    transport.send(public(url, Some(identity))).await.unwrap_err()
}

/// Joins the error and its causes, as the command does.
fn shown(error: TransportError) -> String {
    let error = error.into_error("no token");
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        shown += &format!("\n{error}");
        cause = error.source();
    }
    shown
}

#[tokio::test]
async fn tls_proxy_sees_no_certificate() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let proxy =
            TestProxy::start(server.address(), Behaviour::Tls(ESTABLISHED, tls(&authority, &NAMES))).await;
        let transport = transport(&authority, proxy.env("HTTPS_PROXY", "https://user:p%40ss@localhost:PORT"));
        for _ in 0..3 {
            let sent = outcome(&transport, public("https://service.example/x", Some(&identity))).await;
            assert_eq!(sent.as_deref(), Ok("hello"));
        }
        let head = "CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\n\
                    proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n";
        assert_eq!(proxy.record(), ["TLS Some(\"http/1.1\") 0", head]);
        assert_eq!(server.journal().handshakes[0].certificate, Some(identity.thumbprint()));
    }
}

#[tokio::test]
async fn untrusted_tls_proxy_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let identity = authority.identity(Algorithm::P256);
    let server = server(&authority);
    for (config, host) in
        [(tls(&stranger, &NAMES), "localhost"), (tls(&authority, &["service.example"]), "127.0.0.1")]
    {
        let proxy = TestProxy::start(server.address(), Behaviour::Tls(ESTABLISHED, config)).await;
        let url = format!("https://user:s3cr3t@{host}:PORT");
        let transport = transport(&authority, proxy.env("HTTPS_PROXY", &url));
        let error = failure(&transport, "https://service.example/", &identity).await;
        assert_eq!((error.kind(), error.is_unprocessed()), (TransportErrorKind::Tls, true));
        assert!(proxy.record().is_empty());
        let shown = shown(error);
        for part in ["service.example:443", "proxy failed", &format!("{host}:{} of HTTPS_PROXY", proxy.port)]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
    assert_eq!(server.journal().accepted, 0);
}

#[tokio::test]
async fn socks_proxy_gets_names_or_addresses() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = server(&authority);
    for (url, credentials, target, requested) in [
        ("socks5h://127.0.0.1:PORT", None, "https://service.example/", "name service.example 443"),
        (
            "socks5h://user:p%40s@127.0.0.1:PORT",
            Some("user:p@s"),
            "https://service.example:8443/",
            "name service.example 8443",
        ),
        // The proxy may require no credentials.
        ("socks5h://user:p@s@127.0.0.1:PORT", None, "https://service.example/", "name service.example 443"),
        ("socks5h://127.0.0.1:PORT", None, "https://198.51.100.7/", "198.51.100.7 443"),
        ("socks5://127.0.0.1:PORT", None, "https://198.51.100.7/", "198.51.100.7 443"),
        ("socks5://127.0.0.1:PORT", None, "https://[2001:db8::7]/", "2001:db8::7 443"),
    ] {
        let proxy = TestProxy::start(server.address(), Behaviour::Socks { credentials, reply: 0 }).await;
        let transport = transport(&authority, proxy.env("ALL_PROXY", url));
        let sent = outcome(&transport, public(target, Some(&identity))).await;
        assert_eq!(proxy.record(), [requested], "{url}");
        match target.contains("service.example") {
            true => assert_eq!(sent.as_deref(), Ok("hello"), "{url} {target}"),
            // The certificate is for names.
            false => assert_eq!(sent, Err(TransportErrorKind::Tls), "{url} {target}"),
        }
    }
    // The name is resolved here.
    let proxy = TestProxy::start(server.address(), Behaviour::Socks { credentials: None, reply: 0 }).await;
    let transport = transport(&authority, proxy.env("ALL_PROXY", "socks5://127.0.0.1:PORT"));
    let sent = outcome(&transport, public("https://service.example/", Some(&identity))).await;
    assert_eq!(sent, Err(TransportErrorKind::Connect));
    assert!(proxy.record().is_empty());
}

#[tokio::test]
async fn refusals_of_proxies_are_final() {
    use TransportErrorKind::{Connect, ProxyRefused};
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = server(&authority);
    let socks = |credentials, reply| Behaviour::Socks { credentials, reply };
    for (behaviour, scheme, kind, parts) in [
        (
            Behaviour::Connect("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"),
            "http",
            ProxyRefused,
            &["HTTP 407", "user name", "HTTPS_PROXY"][..],
        ),
        (
            Behaviour::Connect("HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\ncontent-length: 0\r\n\r\n"),
            "http",
            ProxyRefused,
            &["HTTP 407", "NTLM", "Basic"],
        ),
        (
            Behaviour::Connect("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno\r\n"),
            "http",
            ProxyRefused,
            &["HTTP 403", "administrator"],
        ),
        (
            Behaviour::Connect("HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n"),
            "http",
            ProxyRefused,
            &["HTTP 405"],
        ),
        (
            Behaviour::Connect("HTTP/1.1 302 Found\r\nlocation: http://x/\r\n\r\n"),
            "http",
            ProxyRefused,
            &["HTTP 302"],
        ),
        (
            Behaviour::Connect("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
            "http",
            Connect,
            &["HTTP 503"],
        ),
        (Behaviour::Connect("HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n"), "http", Connect, &["HTTP 502"]),
        (Behaviour::Connect("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "http", Connect, &["CONNECT"]),
        (Behaviour::Connect(""), "http", Connect, &["CONNECT"]),
        (socks(Some("user:other"), 0), "socks5h", ProxyRefused, &["refused the user name", "HTTPS_PROXY"]),
        (socks(None, 2), "socks5h", ProxyRefused, &["policy"]),
        (socks(None, 5), "socks5h", Connect, &["refused the connection"]),
        (socks(None, 4), "socks5h", Connect, &["unreachable"]),
        (socks(None, 1), "socks5h", Connect, &["no reason"]),
        (
            Behaviour::Text("HTTP/1.1 400 Bad Request\r\n\r\n"),
            "socks5h",
            ProxyRefused,
            &["does not speak SOCKS 5"],
        ),
    ] {
        let proxy = TestProxy::start(server.address(), behaviour).await;
        let env = proxy.env("HTTPS_PROXY", &format!("{scheme}://user:s3cr3t@127.0.0.1:PORT"));
        let transport = transport(&authority, env);
        let error = failure(&transport, "https://service.example/", &identity).await;
        assert_eq!((error.kind(), error.is_unprocessed()), (kind, true), "{parts:?} {error:?}");
        assert_eq!(error.is_transient(), kind == Connect, "{parts:?}");
        let shown = shown(error);
        let address = format!("127.0.0.1:{} of HTTPS_PROXY", proxy.port);
        for part in parts.iter().chain([&"service.example:443", &address.as_str()]) {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!format!("{shown}{transport:?}").contains("s3cr3t"), "{shown}");
    }
    // Without credentials, a SOCKS proxy that requires some offers no method.
    let proxy = TestProxy::start(server.address(), socks(Some("a:b"), 0)).await;
    let transport = transport(&authority, proxy.env("HTTPS_PROXY", "socks5h://127.0.0.1:PORT"));
    let error = failure(&transport, "https://service.example/", &identity).await;
    assert_eq!(error.kind(), ProxyRefused);
    assert!(shown(error).contains("requires a user name"));
    assert_eq!(server.journal().accepted, 0);
}

#[tokio::test]
async fn interim_responses_of_proxy_are_bounded() {
    let authority = Authority::new();
    let identity = authority.identity(Algorithm::P256);
    let server = server(&authority);
    let few = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10) + ESTABLISHED;
    let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000) + ESTABLISHED;
    for (answer, expected) in [(few, Ok("hello")), (many, Err(TransportErrorKind::Connect))] {
        let proxy = TestProxy::start(server.address(), Behaviour::Connect(answer.leak())).await;
        let transport = transport(&authority, proxy.env("HTTPS_PROXY", "http://127.0.0.1:PORT"));
        let sent = outcome(&transport, public("https://service.example/", Some(&identity))).await;
        assert_eq!(sent.as_deref().map_err(|kind| *kind), expected);
    }
}

/// An unusable proxy fails only the request that would use it.
#[tokio::test]
async fn unusable_proxy_is_an_error_of_its_requests() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    for url in ["ftp://user:s3cr3t@proxy.example", "http://", "http://user:s3cr/3t@proxy.example"] {
        let transport = transport(&authority, [("ALL_PROXY", url)].into_iter().collect());
        let local = Request::new(Method::GET, server.url().parse().unwrap(), Route::Local);
        assert_eq!(outcome(&transport, local).await.as_deref(), Ok("hello"), "{url}");
        assert_eq!(outcome(&transport, public(&server.url(), None)).await.as_deref(), Ok("hello"), "{url}");
        let error = transport.send(public("https://service.example/", None)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Misconfigured, "{url}");
        let error = error.into_error("no token");
        assert_eq!((error.code(), error.is_transient()), ("invalid_configuration", false));
        let shown = format!("{error} {error:?} {:?}", transport.proxy_warnings());
        assert!(shown.contains("ALL_PROXY") && shown.contains("service.example:443"), "{shown}");
        assert!(!shown.contains("s3cr"), "{shown}");
        let variables = [("ALL_PROXY", url), ("NO_PROXY", "*")];
        let excepted = self::transport(&authority, variables.into_iter().collect());
        let sent = outcome(&excepted, public("https://service.example/", None)).await;
        assert_eq!(sent, Err(TransportErrorKind::Connect), "only the proxy resolves this name");
    }
}

#[tokio::test]
async fn deadline_names_what_was_waited_for() {
    use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport};
    let authority = Authority::new();
    let stalled =
        |fault| ServerOptions::new(VERSIONS[1], ClientCertificates::Never).fault(fault).start(&authority);
    // Accepts connections, and sends nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = format!("http://user:s3cr3t@{}", silent.local_addr().unwrap());
    let proxied: Env = [("HTTPS_PROXY", proxy)].into_iter().collect();
    let (handshake, response, body) =
        (stalled(Fault::Stall), stalled(Fault::Mute), stalled(Fault::Announce(10)));
    for (env, url, expected) in [
        (Env::empty(), handshake.url(), "the TLS handshake"),
        (Env::empty(), response.url(), "the response"),
        (Env::empty(), body.url(), "the rest of the response"),
        (proxied, "https://service.example/".to_owned(), "the proxy"),
    ] {
        let http = HttpClient::new(SharedTransport::new(transport(&authority, env)), Context::default());
        let policy = RetryPolicy::once().with_attempt_timeout(std::time::Duration::from_millis(1500));
        let error = http.send(&policy, || Ok::<_, TransportError>(public(&url, None))).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Timeout);
        let shown = shown(error);
        assert!(shown.contains(&format!("waited 1.5s for {expected})")), "{shown}");
    }
}
