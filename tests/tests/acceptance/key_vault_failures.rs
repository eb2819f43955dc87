//! KV: servers that request the certificate again, break TLS, or refuse.

use std::time::Duration;

use http::StatusCode;
use http::Version;
use http_body_util::BodyExt as _;
use rustls::SupportedProtocolVersion;
use symbolon::{Client, ClientIdentity, Env, Error, SoftwareKeys};
use symbolon_client::{Connections, ConnectionsBuilder};
use symbolon_hyper::outgoing;
use symbolon_openssl::OpensslBackend;
use symbolon_tests::RESOURCE;
use symbolon_transport::{LateCertificate, TransportErrorKind};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::data::{channel, connections};
use crate::key_vault::{late, openssl, vault};
use crate::late_server::LateServer;
use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls, server_config};
use crate::test_env::TestEnv;

/// The versions of TLS, with the command of `s_server` that requests the certificate.
const LATE: [(&str, &str); 2] = [("-tls1_2", "R"), ("-tls1_3", "c")];
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The connections over rustls and over OpenSSL.
fn both(builder: impl Fn() -> ConnectionsBuilder) -> [Connections; 2] {
    [builder().build().unwrap(), builder().tls_backend::<OpensslBackend>().build().unwrap()]
}

fn trusting(test_env: &TestEnv, certificate: &str) -> ConnectionsBuilder {
    connections(test_env, None).root_certificates_pem(certificate.as_bytes())
}

fn bound(test_env: &TestEnv, connections: Connections) -> Client {
    let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(connections);
    client.deadline(Duration::from_secs(30)).read_timeout(Duration::from_secs(30)).build().unwrap()
}

/// A managed identity with keys of this algorithm.
fn keys(is_rsa: bool) -> SoftwareKeys {
    if is_rsa { SoftwareKeys::rsa_2048() } else { SoftwareKeys::p256() }
}

fn code<T>(result: &Result<T, Error>) -> &str {
    result.as_ref().map_or_else(Error::code, |_| "no error")
}

/// Without a certificate there is nothing to present in a renegotiation, and rustls has none.
#[tokio::test(flavor = "multi_thread")]
async fn kv_17_renegotiation_is_named() {
    let Some((test_env, vault)) = vault().await else { return };
    let [tls12, tls13] = vault.urls();
    for connections in both(|| trusting(&test_env, vault.certificate())) {
        let client = test_env.identity().client(RESOURCE).connections(connections);
        let client = client.header("x-ms-tokenboundauth", "true").build().unwrap();
        let secret = async |url: &str| client.get(format!("{url}/secrets/x")).send().await;
        // On a new connection, and on one that has served a request.
        for _ in 0..2 {
            let error = secret(&tls12).await.unwrap_err();
            assert_eq!((error.code(), error.is_transient()), ("transport_error", false), "{error:?}");
            for part in ["requested a TLS renegotiation", "symbolon-openssl", "x-ms-tokenboundauth"] {
                assert!(format!("{error:?}").contains(part), "{part}: {error:?}");
            }
            let open = client.get(format!("{tls12}/open/x")).send().await.unwrap();
            assert!(open.text().await.unwrap().contains("s3cr3t"));
        }
        assert_eq!(secret(&tls13).await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}

/// rustls has presented the certificate in the handshake: a renegotiation refuses it not.
#[tokio::test(flavor = "multi_thread")]
async fn kv_17_renegotiation_is_no_refusal() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let options = ["-tls1_2", "-verify", "1"];
    let Some(mut server) = LateServer::start(&options, test_env.emulator.ca_pem()) else { return };
    let client = bound(&test_env, trusting(&test_env, server.certificate()).build().unwrap());
    let url = server.url().to_owned();
    let serving = tokio::task::spawn_blocking(move || {
        server.serve("R");
        server
    });
    let (sent, _server) = tokio::join!(client.post(&url).send(), serving);
    assert_eq!(code(&sent), "transport_error", "{sent:?}");
    assert!(format!("{sent:?}").contains("requested a TLS renegotiation"), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_17_renegotiation_within_a_body() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let options = ["-tls1_2", "-verify", "1"];
    let Some(mut server) = LateServer::start(&options, test_env.emulator.ca_pem()) else { return };
    let client = bound(&test_env, trusting(&test_env, server.certificate()).build().unwrap());
    let url = server.url().to_owned();
    let (receive, received) = tokio::sync::oneshot::channel();
    let serving = tokio::task::spawn_blocking(move || {
        server.receive_head();
        server.write("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nfirst:\n");
        received.blocking_recv().unwrap();
        assert!(!server.renegotiate());
        server
    });
    let call = async {
        let mut body = client.post(&url).send().await.unwrap().into_http().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first:\n");
        receive.send(()).unwrap();
        body.frame().await.unwrap().unwrap_err()
    };
    let (error, _server) = tokio::join!(call, serving);
    assert_eq!((error.code(), error.is_transient()), ("transport_error", false), "{error:?}");
    assert!(format!("{error:?}").contains("requested a TLS renegotiation"), "{error:?}");
}

/// The server renegotiates before its request for the certificate, and once more within its
/// response. With TLS 1.3, it requests the certificate three times.
#[tokio::test(flavor = "multi_thread")]
async fn kv_18_certificate_is_requested_again() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    for (version, command) in LATE {
        let Some(mut server) = LateServer::start(&[version], test_env.emulator.ca_pem()) else { return };
        let connections = trusting(&test_env, server.certificate()).tls_backend::<OpensslBackend>();
        let client = late(test_env.identity().client(RESOURCE), connections.build().unwrap());
        let url = server.url().to_owned();
        let (receive, received) = tokio::sync::oneshot::channel();
        let serving = tokio::task::spawn_blocking(move || {
            server.receive_head();
            let again = |server: &mut LateServer| match command {
                "R" => server.renegotiate(),
                _ => server.request_certificate(command),
            };
            assert!(again(&mut server));
            assert!(server.request_certificate(command));
            server.write("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nfirst:\n");
            // s_server takes what it reads at once as one text.
            received.blocking_recv().unwrap();
            assert!(again(&mut server));
            server.write("and last\n");
            server
        });
        let call = async {
            let mut body = client.post(&url).send().await.unwrap().into_http().into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            receive.send(()).unwrap();
            (first, body.collect().await.unwrap().to_bytes())
        };
        let ((first, rest), _server) = tokio::join!(call, serving);
        assert_eq!((&first[..], &rest[..]), (&b"first:\n"[..], &b"and last\n"[..]), "{version}");
    }
}

/// TLS 1.3 only: `s_server` and others take no data of the client within a renegotiation.
#[tokio::test(flavor = "multi_thread")]
async fn kv_19_certificate_is_presented_in_an_upload() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let Some(mut server) = LateServer::start(&["-tls1_3"], test_env.emulator.ca_pem()) else { return };
    let connections = trusting(&test_env, server.certificate()).tls_backend::<OpensslBackend>();
    let client = late(test_env.identity().client(RESOURCE), connections.build().unwrap());
    let (parts, body) = channel();
    let url = server.url().to_owned();
    let serving = tokio::task::spawn_blocking(move || {
        server.receive_head();
        for part in ["one.\n", "two.\n"] {
            parts.blocking_send(part).unwrap();
            server.wait_for(|line| line.starts_with(&part[..3]));
            assert!(server.request_certificate("c"));
        }
        drop(parts);
        server.wait_for(|line| line == "0");
        server.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        server
    });
    let (sent, _server) = tokio::join!(client.post(&url).streaming_body(body).send(), serving);
    assert_eq!(sent.unwrap().text().await.unwrap(), "ok");
}

/// Apache reads the body before it requests the certificate, up to a limit.
#[tokio::test(flavor = "multi_thread")]
async fn kv_19_vault_reads_the_upload_first() {
    let Some((test_env, vault)) = vault().await else { return };
    let client = late(test_env.identity().client(RESOURCE), openssl(&test_env, &vault));
    for url in vault.urls() {
        for (size, expected) in [(100_000, StatusCode::OK), (200_000, StatusCode::PAYLOAD_TOO_LARGE)] {
            let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; size]));
            let sent = client.post(format!("{url}/secrets/x")).streaming_body(body).send().await;
            assert_eq!(sent.unwrap().status(), expected, "{url} {size}");
        }
    }
}

/// The authorities that a server names are a hint; its signature schemes are a condition.
#[tokio::test(flavor = "multi_thread")]
async fn kv_20_conditions_of_the_certificate() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let unusable = Err("the server accepts none of the signature schemes of the key");
    for (options, is_rsa, expected) in [
        (&["-CAfile", "other.pem", "-verifyCAfile", "clients.pem"][..], false, Ok(200)),
        (&["-client_sigalgs", "RSA-PSS+SHA512"], true, Ok(200)),
        (&["-client_sigalgs", "RSA-PSS+SHA256"], false, unusable),
        (&["-client_sigalgs", "ECDSA+SHA256"], true, unusable),
        // With TLS 1.3, these schemes are for certificates only.
        (&["-tls1_3", "-client_sigalgs", "RSA+SHA256:ECDSA+SHA256"], true, unusable),
        (&["-tls1_2", "-client_sigalgs", "RSA+SHA256:ECDSA+SHA256"], true, Ok(200)),
    ] {
        for (version, command) in LATE {
            if options[0].starts_with("-tls") && options[0] != version {
                continue;
            }
            let others = options.iter().filter(|option| **option != version);
            let options: Vec<&str> = [version].iter().chain(others).copied().collect();
            let Some(mut server) = LateServer::start(&options, test_env.emulator.ca_pem()) else { return };
            let identity = test_env.builder().key_provider(keys(is_rsa)).build().unwrap();
            let connections = trusting(&test_env, server.certificate()).tls_backend::<OpensslBackend>();
            let client = late(identity.client(RESOURCE), connections.build().unwrap());
            let url = server.url().to_owned();
            let serving = tokio::task::spawn_blocking(move || {
                server.serve(command);
                server
            });
            let (sent, _server) = tokio::join!(client.post(&url).send(), serving);
            let sent = sent.map(|response| response.status().as_u16());
            match (sent, expected) {
                (Ok(status), Ok(expected)) => assert_eq!(status, expected, "{options:?}"),
                (Err(error), Err(expected)) => {
                    assert_eq!(error.code(), "transport_error", "{options:?} {error:?}");
                    assert!(format!("{error:?}").contains(expected), "{options:?} {error:?}");
                }
                (sent, expected) => panic!("{options:?}: {sent:?}, not {expected:?}"),
            }
        }
    }
}

/// A key whose device has failed.
#[derive(Debug)]
struct FailedKey(SubjectPublicKeyInfoDer<'static>);

impl SigningKey for FailedKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, _scheme: SignatureScheme, _message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::failed("the device was unplugged"))
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

/// The proxy with TLS is a connection within the operation that signs.
#[tokio::test(flavor = "multi_thread")]
async fn kv_20_key_that_fails_late_is_named() {
    let Some((test_env, vault)) = vault().await else { return };
    let token = test_env.bound_token(&test_env.identity()).await;
    let identity = token.bound_to().unwrap();
    let failed = FailedKey(identity.key().public_key().clone());
    let identity = ClientIdentity::new(identity.chain().to_vec(), SharedSigningKey::new(failed)).unwrap();
    let [(proxy, _), (tls_proxy, _)] = vault.proxies();
    for env in
        [Env::empty(), Env::from_iter([("HTTPS_PROXY", proxy)]), Env::from_iter([("HTTPS_PROXY", tls_proxy)])]
    {
        let connections = trusting(&test_env, vault.certificate()).context(test_env.context().with_env(env));
        let connections = connections.tls_backend::<OpensslBackend>().build().unwrap();
        for url in vault.proxied_urls() {
            let request =
                http::Request::get(format!("{url}/secrets/x")).header("x-ms-tokenboundauth", "true");
            let body = outgoing(http_body_util::Empty::<bytes::Bytes>::new());
            let mut request = request.body(body).unwrap();
            request.extensions_mut().insert(LateCertificate::permitted());
            let failure = connections.send(request, Some(&identity)).await.unwrap_err();
            assert_eq!(failure.error.kind(), TransportErrorKind::IdentityUnusable, "{url} {failure:?}");
            let error = failure.error.into_error("no response");
            assert!(format!("{error:?}").contains("the device was unplugged"), "{url} {error:?}");
        }
    }
}

/// A server over TLS for one connection, which requires a certificate: it reads the head of a
/// request, and `respond` does the rest.
async fn serve_one<F>(
    versions: &[&'static SupportedProtocolVersion],
    respond: impl FnOnce(TlsStream<TcpStream>) -> F + Send + 'static,
) -> (String, String)
where
    F: Future<Output = TlsStream<TcpStream>> + Send + 'static,
{
    let (config, certificate) = server_config(HTTP1, versions);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/x", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let mut stream = respond(stream).await;
        // Until the client closes.
        let _end = stream.get_mut().0.read_to_end(&mut Vec::new()).await;
    });
    (url, certificate)
}

/// The body of a response that ends with its connection is complete only after `close_notify`.
#[tokio::test]
async fn kv_21_truncated_body_is_an_error() {
    let test_env = TestEnv::new().await;
    // An attacker can close TCP, and add records without the keys: an alert, an oversized record.
    let ends: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(b"\x15\x03\x03\0\x02\x01\0"),
        Some(b"\x17\x03\x03\xff\xff"),
        Some(b"\0\0\0\0\0"),
    ];
    for version in VERSIONS {
        for end in ends {
            for is_openssl in [false, true] {
                let (url, certificate) =
                    serve_one(&[version], async move |mut stream: TlsStream<TcpStream>| {
                        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\npart").await.unwrap();
                        stream.flush().await.unwrap();
                        match end {
                            None => stream.shutdown().await.unwrap(),
                            Some(octets) => {
                                let (tcp, _) = stream.get_mut();
                                tcp.write_all(octets).await.unwrap();
                                tcp.shutdown().await.unwrap();
                            }
                        }
                        stream
                    })
                    .await;
                let [rustls, openssl] = both(|| trusting(&test_env, &certificate));
                let client = bound(&test_env, if is_openssl { openssl } else { rustls });
                let body = async { client.get(&url).send().await?.text().await }.await;
                match end {
                    None => assert_eq!(body.unwrap(), "part", "{version:?} {is_openssl}"),
                    Some(_) => assert_eq!(code(&body), "transport_error", "{version:?} {is_openssl} {end:?}"),
                }
            }
        }
    }
}

/// An answer without TLS fails at once, and the request is not sent.
#[tokio::test]
async fn kv_21_malformed_handshake_is_an_error() {
    let test_env = TestEnv::new().await;
    for answer in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x03\xff\xff",
        b"\x16\x03\x03\0\0\x16\x03\x03\0\0",
        b"\x16\x03\x03\0\x04\x02\xff\xff\xff",
        b"\x15\x03\x03\0\x02\x01\0",
        b"\x17\x03\x03\0\x01x",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/x", listener.local_addr().unwrap().port());
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.unwrap();
                let _end = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        for connections in both(|| connections(&test_env, None)) {
            let error = bound(&test_env, connections).get(&url).send().await.unwrap_err();
            assert_eq!(error.code(), "transport_error", "{answer:?} {error:?}");
        }
        serving.abort();
    }
}

/// An accepted change of the protocol is a success, too.
#[tokio::test]
async fn kv_22_upgrade_without_certificate_is_an_error() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(ServerTls { requests_certificate: false, ..HTTP1 }).await;
    let connections = connections(&test_env, Some(&server)).tls_backend::<OpensslBackend>().build().unwrap();
    let client = late(test_env.identity().client(RESOURCE), connections);
    server.script([Reaction::Upgrade]);
    let upgrade = client.get(server.url()).header("connection", "upgrade").header("upgrade", "websocket");
    let error = upgrade.send().await.unwrap_err();
    assert_eq!(error.code(), "transport_error", "{error:?}");
    assert!(error.to_string().contains("accepted the request without"), "{error}");
}

/// HTTP/2 forbids renegotiation, and is not offered.
#[tokio::test]
async fn kv_23_openssl_offers_no_http2() {
    let test_env = TestEnv::new().await;
    for protocols in [&["h2", "http/1.1"][..], &["h2"]] {
        let server = ResourceServer::start(ServerTls { protocols, ..HTTP2 }).await;
        let connections = connections(&test_env, Some(&server)).tls_backend::<OpensslBackend>();
        let sent = bound(&test_env, connections.build().unwrap()).get(server.url()).send().await;
        match protocols.len() {
            2 => assert_eq!(sent.unwrap().into_http().version(), Version::HTTP_11),
            _ => {
                let error = sent.unwrap_err();
                assert_eq!(error.code(), "transport_error");
                assert!(error.to_string().contains("HTTP versions"), "{error}");
            }
        }
    }
}

/// A resumed session would have presented the certificate of another connection.
#[tokio::test(flavor = "multi_thread")]
async fn kv_24_openssl_resumes_no_session() {
    let Some((test_env, vault)) = vault().await else { return };
    let mut logged = 0;
    for (is_openssl, connections) in
        [false, true].into_iter().zip(both(|| trusting(&test_env, vault.certificate())))
    {
        let anonymous =
            test_env.identity().client(RESOURCE).connections(connections.clone()).build().unwrap();
        let bound = || late(test_env.identity().client(RESOURCE), connections.clone());
        let mut clients = vec![(anonymous, "open")];
        if is_openssl {
            clients.extend([(bound(), "secrets"), (bound(), "secrets")]);
        }
        let before = logged;
        for (client, path) in clients {
            for url in vault.urls() {
                let call = async || {
                    let response = client.get(format!("{url}/{path}/x")).send().await.unwrap();
                    response.error_for_status().unwrap().bytes().await.unwrap()
                };
                call().await;
                // On new connections.
                futures_util::future::join_all((0..4).map(|_| call())).await;
                logged += 5;
            }
        }
        test_env.wait_until(|| vault.log("sessions.log").len() == logged).await;
        let kinds = vault.log("sessions.log").split_off(before);
        let is_resumed = kinds.iter().any(|kind| kind == "Resumed");
        assert_eq!(is_resumed, !is_openssl, "{kinds:?}");
    }
}
