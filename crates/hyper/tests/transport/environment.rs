//! Proxies, roots and crypto providers.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::Method;
use symbolon_hyper::{BuildError, ConfigError, HyperTransport};
use symbolon_transport::{Request, Route, Transport, TransportErrorKind};
use symbolon_types::{ClientIdentity, Context, Env};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, ServerOptions, VERSIONS, read_head};
use crate::{get, outcome, trusting};

/// A proxy that connects every name to the same server.
struct TunnelProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    async fn start(target: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let journal = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move {
                    let head = read_head(&mut client).await.unwrap();
                    journal.lock().unwrap().push(head);
                    client.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains(" 200 ") {
                        let mut server = TcpStream::connect(target).await.unwrap();
                        let _closed = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n";

fn public(url: &str, identity: Option<&ClientIdentity>) -> Request {
    Request::new(Method::GET, url.parse().unwrap(), Route::Public).with_identity(identity.cloned())
}

#[tokio::test]
async fn proxied_request_presents_its_certificate() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let proxy = TunnelProxy::start(server.address(), ESTABLISHED).await;
        let url = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
        let env = [("HTTPS_PROXY", url)].into_iter().collect();
        let transport = trusting(&authority).context(Context::default().with_env(env)).build().unwrap();
        let identity = authority.identity(Algorithm::P256);

        for _ in 0..3 {
            let sent = outcome(&transport, public("https://service.example/x", Some(&identity))).await;
            assert_eq!(sent.as_deref(), Ok("hello"));
        }
        let expected = "CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\n\
                        proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n";
        assert_eq!(proxy.heads(), [expected]);
        let journal = server.journal();
        assert_eq!(journal.requests.len(), 3);
        assert_eq!(journal.handshakes[0].certificate, Some(identity.thumbprint()));
        assert!(journal.requests.iter().all(|request| !request.text.contains("proxy")));
    }
}

#[tokio::test]
async fn local_requests_bypass_the_proxy() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let proxy = TunnelProxy::start(server.address(), ESTABLISHED).await;
    let env = [("ALL_PROXY", format!("http://127.0.0.1:{}", proxy.port))].into_iter().collect();
    let transport = trusting(&authority).context(Context::default().with_env(env)).build().unwrap();
    let by_address = server.url().replace("localhost", "127.0.0.1");
    for request in [get(&server.url(), None), public(&server.url(), None), public(&by_address, None)] {
        assert_eq!(outcome(&transport, request).await.as_deref(), Ok("hello"));
    }
    assert!(proxy.heads().is_empty());
    // Same origin, both routes: the local request must not use the tunnel.
    outcome(&transport, public("https://service.example/", None)).await.unwrap();
    let local = Request::new(Method::GET, "https://service.example/".parse().unwrap(), Route::Local);
    assert_eq!(outcome(&transport, local).await, Err(TransportErrorKind::Connect));
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn no_proxy_hosts_bypass_the_proxy() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let proxy = TunnelProxy::start(server.address(), ESTABLISHED).await;
    let variables =
        [("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port)), ("NO_PROXY", ".example".to_owned())];
    let transport = trusting(&authority)
        .context(Context::default().with_env(variables.into_iter().collect()))
        .build()
        .unwrap();
    // Only the proxy resolves this name.
    let sent = outcome(&transport, public("https://service.example/", None)).await;
    assert_eq!(sent, Err(TransportErrorKind::Connect));
    assert!(proxy.heads().is_empty());
}

#[tokio::test]
async fn refused_tunnel_sends_nothing() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    let identity = authority.identity(Algorithm::P256);
    for (answer, kind) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            TransportErrorKind::ProxyRefused,
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n",
            TransportErrorKind::ProxyRefused,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", TransportErrorKind::Connect),
        ("", TransportErrorKind::Connect),
    ] {
        let proxy = TunnelProxy::start(server.address(), answer).await;
        let url = format!("http://user:s3cr3t@127.0.0.1:{}", proxy.port);
        let env = [("HTTPS_PROXY", url)].into_iter().collect();
        let transport = trusting(&authority).context(Context::default().with_env(env)).build().unwrap();
        let error = transport.send(public("https://service.example/", Some(&identity))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}");
        assert!(!format!("{error:?}{error}{transport:?}").contains("s3cr3t"));
    }
    assert_eq!(server.journal().accepted, 0);
}

#[tokio::test]
async fn ssl_cert_file_adds_roots() {
    let (given, named) = (Authority::new(), Authority::new());
    let servers = [&given, &named]
        .map(|authority| ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(authority));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), named.pem()).unwrap();
    let env: Env = [("SSL_CERT_FILE", file.path().to_str().unwrap())].into_iter().collect();
    // With and without the roots of the platform.
    for platform_roots in [true, false] {
        let builder =
            trusting(&given).context(Context::default().with_env(env.clone())).platform_roots(platform_roots);
        let transport = builder.build().unwrap();
        for server in &servers {
            assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
        }
    }
}

/// Returns the results of requests to a server of each authority, with this environment.
async fn reached(authorities: &[&Authority], variable: &str, value: &str) -> Vec<Result<(), String>> {
    let env: Env = [(variable, value)].into_iter().collect();
    let transport = HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(env))
        .build()
        .unwrap();
    let mut results = Vec::new();
    for authority in authorities {
        let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(authority);
        let sent = transport.send(get(&server.url(), None)).await;
        results.push(sent.map(drop).map_err(|error| error.into_error("no token").to_string()));
    }
    results
}

#[tokio::test]
async fn ssl_cert_file_is_read_leniently() {
    let (one, two, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.pem");
    let (first, second) = (one.pem(), two.pem());
    let both = format!("{first}{second}");
    let utf_16 = format!("\u{feff}{both}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let joined = format!("{}{second}", first.trim_end());
    assert!(joined.contains("----------BEGIN"));
    let broken = first.replace("MII", "M!I");
    let unfinished = first.replace("-----END", "----END");
    let bogus = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n";
    for (content, skipped) in [
        (both.clone().into_bytes(), None),
        (format!("\u{feff}{both}").into_bytes(), None),
        (both.replace('\n', "\r\n").into_bytes(), None),
        (utf_16, None),
        (joined.into_bytes(), None),
        (format!("{first}{broken}{second}").into_bytes(), Some("certificate 2 of 3")),
        (format!("{unfinished}{first}{second}").into_bytes(), Some("certificate 1 of 3")),
        (format!("{first}{second}{bogus}").into_bytes(), Some("certificate 3 of 3")),
    ] {
        std::fs::write(&path, &content).unwrap();
        let shown = String::from_utf8_lossy(&content);
        let results = reached(&[&one, &two, &stranger], "SSL_CERT_FILE", path.to_str().unwrap()).await;
        let [Ok(()), Ok(()), Err(refused)] = &results[..] else { panic!("{results:?} {shown}") };
        assert!(refused.contains("SSL_CERT_FILE"), "{refused}");
        match skipped {
            Some(skipped) => assert!(refused.contains(skipped) && refused.contains("roots.pem"), "{refused}"),
            None => assert!(!refused.contains("could not be read"), "{refused}"),
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn ssl_cert_dir_adds_roots() {
    let (one, two, three) = (Authority::new(), Authority::new(), Authority::new());
    let stranger = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for folder in ["first", "second"] {
        std::fs::create_dir(path(folder)).unwrap();
    }
    std::fs::write(path("first/one.pem"), one.pem()).unwrap();
    std::os::unix::fs::symlink("one.pem", path("first/0a1b2c3d.0")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("first/0a1b2c3d.1")).unwrap();
    std::fs::write(path("first/README"), "text").unwrap();
    std::fs::write(path("second/two.crt"), two.pem() + &three.pem().replace("MII", "M!I")).unwrap();
    std::fs::write(path("second/three.crt"), three.pem()).unwrap();
    let folders = ["first", "second", "missing"].map(|name| path(name).to_str().unwrap().to_owned());
    let results = reached(&[&one, &two, &three, &stranger], "SSL_CERT_DIR", &folders.join(":")).await;
    let [Ok(()), Ok(()), Ok(()), Err(refused)] = &results[..] else { panic!("{results:?}") };
    for part in ["certificate 2 of 2", "two.crt", "missing", "SSL_CERT_DIR"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[tokio::test]
async fn unreadable_ssl_cert_file_is_named() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.pem");
    let env: Env = [("SSL_CERT_FILE", path.to_str().unwrap())].into_iter().collect();
    let transport = trusting(&authority).context(Context::default().with_env(env)).build().unwrap();
    let broken = authority.pem().replace("MII", "M!I");
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n";
    for content in [None, Some(""), Some("no PEM"), Some(broken.as_str()), Some(not_a_certificate)] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = transport.send(get(&server.url(), None)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Tls, "{content:?}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains("SSL_CERT_FILE") && source.contains("roots.pem"), "{source}");
    }
    assert_eq!(server.journal().accepted, 0);
    std::fs::write(&path, authority.pem()).unwrap();
    assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn missing_roots_are_reported() {
    let transport = HyperTransport::builder()
        .platform_roots(false)
        .context(Context::default().with_env(Env::empty()))
        .build()
        .unwrap();
    let error = transport.send(get("https://localhost:1/", None)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Tls);
    assert!(error.source().unwrap().to_string().contains("no root certificate"));
}

#[test]
fn malformed_root_is_reported_by_position() {
    let pem = Authority::new().pem();
    let broken = pem.replace("MII", "M!I");
    let bogus = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nMTIz\n-----END PRIVATE KEY-----\n";
    for (text, expected) in [
        (pem.clone(), None),
        (format!("{key}{pem}text between\n{pem}"), None),
        (String::new(), Some(BuildError::Tls(ConfigError::NoRoot))),
        (key.to_owned(), Some(BuildError::Tls(ConfigError::NoRoot))),
        (format!("{pem}{broken}{pem}"), Some(BuildError::Tls(ConfigError::MalformedRoot { position: 2 }))),
        (
            format!("{key}{pem}{pem}{bogus}"),
            Some(BuildError::Tls(ConfigError::MalformedRoot { position: 3 })),
        ),
    ] {
        let builder = HyperTransport::builder()
            .context(Context::default().with_env(Env::empty()))
            .root_certificates_pem(text.as_bytes());
        assert_eq!(builder.build().err(), expected, "{text}");
    }
    let builder = HyperTransport::builder().context(Context::default().with_env(Env::empty()));
    let built = builder.root_certificates([Authority::new().certificate(), b"123"[..].into()]).build();
    assert_eq!(built.err(), Some(BuildError::Tls(ConfigError::MalformedRoot { position: 2 })));
}

#[test]
fn unsuitable_crypto_provider_is_refused() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.version() == &rustls::version::TLS13);
    let build = |minimum| {
        let builder = HyperTransport::builder()
            .context(Context::default().with_env(Env::empty()))
            .crypto_provider(provider.clone());
        builder.minimum_tls(minimum).build().err()
    };
    assert_eq!(build(symbolon_hyper::TlsVersion::V1_3), None);
    assert_eq!(
        build(symbolon_hyper::TlsVersion::V1_2),
        Some(BuildError::Tls(ConfigError::UnsuitableCryptoProvider))
    );
}

#[tokio::test]
async fn no_process_wide_provider_is_installed() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    outcome(&trusting(&authority).build().unwrap(), get(&server.url(), None)).await.unwrap();
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
