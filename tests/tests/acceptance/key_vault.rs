//! KV: resources that request the certificate late, as Azure Key Vault does.

use std::time::Duration;

use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use symbolon::{Client, ClientBuilder, Env, ErrorKind, HyperTransport, SoftwareKeys, Token};
use symbolon_azure_core::BoundAuthentication;
use symbolon_client::Connections;
use symbolon_hyper::outgoing;
use symbolon_openssl::OpensslBackend;
use symbolon_tests::RESOURCE;
use symbolon_transport::conformance;

use crate::data::connections;
use crate::late_server::LateServer;
use crate::resource_server::{HTTP1, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;
use crate::vault_server::VaultServer;

/// An emulator with real time, and a vault that takes its tokens.
pub(crate) async fn vault() -> Option<(TestEnv, VaultServer)> {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let vault = VaultServer::start(&test_env.emulator)?;
    Some((test_env, vault))
}

pub(crate) fn openssl(test_env: &TestEnv, vault: &VaultServer) -> Connections {
    let connections = connections(test_env, None).root_certificates_pem(vault.certificate().as_bytes());
    connections.tls_backend::<OpensslBackend>().build().unwrap()
}

pub(crate) fn late(client: ClientBuilder, connections: Connections) -> Client {
    client.proof_of_possession().connections(connections).late_client_certificate(true).build().unwrap()
}

/// Gets a secret, and returns the serial number of the certificate that the vault saw.
async fn serial(client: &Client, url: &str) -> String {
    let response = client.get(format!("{url}/secrets/x")).send().await.unwrap();
    let secret: serde_json::Value = response.error_for_status().unwrap().json().await.unwrap();
    assert_eq!(secret["value"], "s3cr3t");
    secret["contentType"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_01_minted_binding_is_presented_late() {
    let Some((test_env, vault)) = vault().await else { return };
    for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
        let identity = test_env.builder().key_provider(keys).build().unwrap();
        let client = late(identity.client(RESOURCE), openssl(&test_env, &vault));
        for url in vault.urls() {
            assert_ne!(serial(&client, &url).await, "", "{url}");
        }
    }
    assert_eq!(vault.late_requests(), 4, "the certificate was requested late");
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_02_application_presents_its_certificate() {
    let Some((test_env, vault)) = vault().await else { return };
    let tokens = test_env.certificate_client(test_env.certificate());
    let client = late(Client::builder(tokens, RESOURCE), openssl(&test_env, &vault));
    for url in vault.urls() {
        assert_ne!(serial(&client, &url).await, "", "{url}");
    }
}

/// The header is part of the permission: without it the vault would not request the certificate.
#[tokio::test(flavor = "multi_thread")]
async fn kv_03_without_permission_nothing_is_sent() {
    let Some((test_env, vault)) = vault().await else { return };
    let connections = openssl(&test_env, &vault);
    let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(connections.clone());
    let client = client.build().unwrap();
    for url in vault.urls() {
        let url = format!("{url}/secrets/x");
        let error = client.get(&url).send().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("transport_error", ErrorKind::Environment), "{url}");
        assert!(error.to_string().contains("late_client_certificate"), "{error}");
        // The header itself is the permission, too.
        let response = client.get(&url).header("x-ms-tokenboundauth", "true").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
    }
    assert_eq!(vault.late_requests(), 2);
    let never = test_env.identity().client("https://vault.azure.net").late_client_certificate(false);
    let never = never.proof_of_possession().connections(connections).build().unwrap();
    let error = never.get(format!("{}/secrets/x", vault.urls()[0])).send().await.unwrap_err();
    assert_eq!(error.code(), "transport_error", "{error}");
}

/// A resource that is known as a vault needs no setting.
#[tokio::test(flavor = "multi_thread")]
async fn kv_04_vaults_are_known() {
    let Some((test_env, vault)) = vault().await else { return };
    let tokens = KnownVault(test_env.identity());
    let client = Client::builder(tokens, "https://vault.azure.net").any_host().proof_of_possession();
    let client = client.connections(openssl(&test_env, &vault)).build().unwrap();
    for url in vault.urls() {
        assert_ne!(serial(&client, &url).await, "", "{url}");
    }
    assert!(test_env.logs().contains("x-ms-tokenboundauth: true"), "the log names the header");
}

/// Tokens of the emulator for a resource that it does not have.
#[derive(Debug)]
struct KnownVault(symbolon::ManagedIdentity);

impl symbolon_client::TokenProvider for KnownVault {
    async fn token(&self, _request: &symbolon_client::ProviderRequest<'_>) -> Result<Token, symbolon::Error> {
        self.0.token(RESOURCE).proof_of_possession().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_05_rustls_refuses_before_a_byte() {
    let Some((test_env, vault)) = vault().await else { return };
    let rustls = connections(&test_env, None).root_certificates_pem(vault.certificate().as_bytes());
    let rustls = rustls.build().unwrap();
    let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(rustls.clone());
    let client = client.header("x-ms-tokenboundauth", "true").build().unwrap();
    for url in vault.urls() {
        let error = client.get(format!("{url}/secrets/x")).send().await.unwrap_err();
        assert!(error.to_string().contains("symbolon-openssl"), "{error}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
    }
    assert_eq!(vault.late_requests(), 0);
    let required = test_env.identity().client(RESOURCE).connections(rustls).late_client_certificate(true);
    let error = required.build().unwrap_err();
    assert_eq!(error.code(), "transport_unsupported");
    assert!(error.to_string().contains("symbolon-openssl"), "{error}");
    let transport = test_env.identity().client(RESOURCE).transport(test_env.transport());
    assert_eq!(transport.late_client_certificate(true).build().unwrap_err().code(), "transport_unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_06_one_renegotiation_per_connection() {
    let Some((test_env, vault)) = vault().await else { return };
    let client = late(test_env.identity().client(RESOURCE), openssl(&test_env, &vault));
    for url in vault.urls() {
        let before = vault.late_requests();
        for _ in 0..20 {
            serial(&client, &url).await;
        }
        assert_eq!(vault.late_requests(), before + 1, "{url}");
        for _ in 0..3 {
            futures_util::future::join_all((0..8).map(|_| serial(&client, &url))).await;
        }
        assert!(vault.late_requests() <= before + 8, "{url}: at most once for each connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_07_rotation_changes_the_connection() {
    let Some((test_env, vault)) = vault().await else { return };
    for url in vault.urls() {
        let identity = test_env.identity();
        let client = late(identity.client(RESOURCE), openssl(&test_env, &vault));
        let old = serial(&client, &url).await;
        assert_eq!(serial(&client, &url).await, old);
        test_env.emulator.revoke(test_env.last_certificate());
        identity.token(RESOURCE).proof_of_possession().force_refresh().await.unwrap();
        assert_ne!(serial(&client, &url).await, old, "{url}");
    }
}

/// The status of a request with this token and with the certificate of another, or with none.
async fn present(
    connections: &Connections,
    url: &str,
    token: &Token,
    certificate: Option<&Token>,
) -> Result<StatusCode, String> {
    let body = outgoing(http_body_util::Full::new(bytes::Bytes::new()));
    let mut request = http::Request::builder().method(Method::GET).uri(format!("{url}/secrets/x"));
    request = request.header(AUTHORIZATION, format!("mtls_pop {}", token.secret().expose()));
    request = request.header("x-ms-tokenboundauth", "true");
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(symbolon_transport::LateCertificate::permitted());
    let identity = certificate.and_then(Token::bound_to);
    let sent = connections.send(request, identity).await;
    sent.map(|response| response.status()).map_err(|failure| failure.error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_08_stolen_token_needs_its_certificate() {
    let Some((test_env, vault)) = vault().await else { return };
    let stolen = test_env.bound_token(&test_env.identity()).await;
    let thief = test_env.bound_token(&test_env.identity()).await;
    let connections = openssl(&test_env, &vault);
    for url in vault.urls() {
        let present = async |certificate| present(&connections, &url, &stolen, certificate).await;
        assert_eq!(present(Some(&stolen)).await, Ok(StatusCode::OK), "{url}: it is a good token");
        assert_eq!(present(Some(&thief)).await, Ok(StatusCode::UNAUTHORIZED), "{url}: another certificate");
        // Apache requires a certificate. Without an identity, the client refuses renegotiation, and
        // does not offer post-handshake authentication.
        let none = present(None).await;
        match url == vault.urls()[0] {
            true => {
                let problem = "requested a TLS renegotiation, as for a client certificate, which this connection refuses";
                let error = format!("{} {problem}", url.trim_start_matches("https://"));
                assert_eq!(none, Err(error));
            }
            false => assert_eq!(none, Ok(StatusCode::FORBIDDEN), "{url}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_09_late_refusal_is_a_refusal() {
    let Some((test_env, vault)) = vault().await else { return };
    // The authority of this emulator is unknown to the vault.
    let other = TestEnv::with_system_clock(|emulator| emulator).await;
    let client = late(other.identity().client(RESOURCE), openssl(&test_env, &vault));
    for url in vault.urls() {
        let error = client.get(format!("{url}/secrets/x")).send().await.unwrap_err();
        assert_eq!(error.code(), "certificate_refused_by_resource", "{url}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_10_success_without_certificate_is_an_error() {
    let Some((test_env, vault)) = vault().await else { return };
    let client = late(test_env.identity().client(RESOURCE), openssl(&test_env, &vault));
    for url in vault.urls() {
        let error = client.get(format!("{url}/open/x")).send().await.unwrap_err();
        assert_eq!(error.code(), "transport_error", "{error}");
        assert!(error.to_string().contains("accepted the request without"), "{error}");
        assert!(!error.is_transient());
        // Another response is returned, and its connection is not kept.
        let response = client.get(format!("{url}/missing")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{url}");
        assert_ne!(serial(&client, &url).await, "", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_11_sdk_client_gets_a_secret() {
    let Some((test_env, vault)) = vault().await else { return };
    let (identity, connections) = (KnownVault(test_env.identity()), openssl(&test_env, &vault));
    let identity = std::sync::Arc::new(identity);
    let bound = BoundAuthentication::new(move |resource| {
        let tokens = KnownVault(identity.0.clone());
        Client::builder(tokens, resource).connections(connections.clone())
    });
    for url in vault.urls() {
        let options = SecretClientOptions {
            client_options: bound.client_options(),
            // The vault has no name under that of Key Vault.
            verify_challenge_resource: Some(false),
            ..SecretClientOptions::default()
        };
        let vault = SecretClient::new(&url, bound.credential(), Some(options)).unwrap();
        let secret = vault.get_secret("x", None).await.unwrap().into_model().unwrap();
        assert_eq!(secret.value.as_deref(), Some("s3cr3t"), "{url}");
    }
    assert_eq!(vault.late_requests(), 2, "the request without a token caused none");
}

fn transport(root: Option<Vec<u8>>) -> HyperTransport {
    let transport = HyperTransport::builder().platform_roots(false).tls_backend::<OpensslBackend>();
    let transport = match root {
        Some(root) => transport.root_certificates([root.into()]),
        None => transport,
    };
    transport.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_12_transport_conforms() {
    let report = conformance::check(transport(None)).await;
    assert!(report.holds(), "{report}");
    let report = conformance::check_tls(|root| transport(Some(root.to_vec()))).await;
    assert!(report.holds(), "{report}");
}

/// Tokens and calls over the transport alone.
#[tokio::test(flavor = "multi_thread")]
async fn kv_12_transport_serves_tokens_and_calls() {
    let Some((test_env, vault)) = vault().await else { return };
    let transport = HyperTransport::builder()
        .platform_roots(false)
        .context(test_env.context().with_env(Env::empty()))
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes())
        .root_certificates_pem(vault.certificate().as_bytes())
        .tls_backend::<OpensslBackend>()
        .build()
        .unwrap();
    let identity = test_env.builder().transport(transport.clone()).build().unwrap();
    let token = test_env.bound_token(&identity).await;
    for url in vault.urls() {
        let request = http::Request::get(format!("{url}/secrets/x")).header("x-ms-tokenboundauth", "true");
        let response = identity.call(&token, request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
    }
    assert_eq!(vault.late_requests(), 2);
}

/// A resource that requests the certificate in the handshake is served, too.
#[tokio::test(flavor = "multi_thread")]
async fn kv_13_handshake_certificates_are_presented() {
    let test_env = TestEnv::new().await;
    for requests_certificate in [true, false] {
        let server = ResourceServer::start(ServerTls { requests_certificate, ..HTTP1 }).await;
        let connections = connections(&test_env, Some(&server)).tls_backend::<OpensslBackend>();
        let client = test_env.identity().client(RESOURCE).proof_of_possession();
        let client = client.connections(connections.build().unwrap()).build().unwrap();
        let sent = client.get(server.url()).send().await;
        match requests_certificate {
            true => assert_eq!(sent.unwrap().status(), StatusCode::OK),
            false => assert_eq!(sent.unwrap_err().code(), "transport_error"),
        }
        assert_eq!(server.received().len(), usize::from(requests_certificate));
    }
}

/// A second independent server, with one connection for each call.
#[tokio::test(flavor = "multi_thread")]
async fn kv_14_openssl_server_requests_late() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let other = TestEnv::with_system_clock(|emulator| emulator).await;
    for (version, command) in [("-tls1_2", "R"), ("-tls1_3", "c")] {
        for (client_env, expected) in [(&test_env, Ok(200)), (&other, Err("certificate_refused_by_resource"))]
        {
            let Some(mut server) = LateServer::start(&[version], test_env.emulator.ca_pem()) else { return };
            let connections = Connections::builder()
                .context(test_env.context().with_env(Env::empty()))
                .platform_roots(false)
                .root_certificates_pem(server.certificate().as_bytes());
            let connections = connections.tls_backend::<OpensslBackend>().build().unwrap();
            let client = late(client_env.identity().client(RESOURCE), connections);
            let url = server.url().to_owned();
            let serving = tokio::task::spawn_blocking(move || {
                server.serve(command);
                server
            });
            let sent = client.post(&url).send();
            let (sent, _server) = tokio::join!(sent, serving);
            let found = sent.map(|response| response.status().as_u16());
            assert_eq!(
                found.as_ref().map_err(symbolon::Error::code).copied(),
                expected,
                "{version}: {found:?}"
            );
        }
    }
}

// The rest of the last record is in OpenSSL, and nothing more comes from the server.
#[tokio::test]
async fn kv_15_records_larger_than_a_read() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let server = ResourceServer::start(HTTP1).await;
    let connections = connections(&test_env, Some(&server)).tls_backend::<OpensslBackend>().build().unwrap();
    let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(connections);
    let client = client.deadline(Duration::from_secs(30)).build().unwrap();
    for size in [1, 8_000, 12_000, 15_000] {
        let value: &'static str = "x".repeat(size).leak();
        server.script([Reaction::Answer(200, vec![("x-long", value)].leak())]);
        let response = client.get(server.url()).send().await.unwrap();
        assert_eq!(response.headers()["x-long"], value);
    }
}

/// The TLS of the resource runs over OpenSSL, with the certificate; that of the proxy without.
#[tokio::test(flavor = "multi_thread")]
async fn kv_16_vault_behind_forward_proxies() {
    let Some((test_env, vault)) = vault().await else { return };
    for (proxy, log) in vault.proxies() {
        let env: Env = [("HTTPS_PROXY", proxy)].into_iter().collect();
        let context = test_env.context().with_env(env);
        let connections = Connections::builder().context(context.clone()).platform_roots(false);
        let connections = connections.root_certificates_pem(vault.certificate().as_bytes());
        let connections = connections.tls_backend::<OpensslBackend>().build().unwrap();
        let transport = HyperTransport::builder().context(context).platform_roots(false);
        let transport = transport.root_certificates_pem(vault.certificate().as_bytes());
        let transport = transport.tls_backend::<OpensslBackend>().build().unwrap();
        let client = late(test_env.identity().client(RESOURCE), connections);
        let other = test_env.identity().client(RESOURCE).proof_of_possession().transport(transport);
        let other = other.late_client_certificate(true).build().unwrap();
        let before = vault.late_requests();
        for url in vault.proxied_urls() {
            assert_ne!(serial(&client, &url).await, "", "{url}");
            let response = other.get(format!("{url}/secrets/x")).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{url}");
        }
        assert_eq!(vault.late_requests(), before + 4);
        // The end of a tunnel is logged.
        drop((client, other));
        test_env.wait_until(|| vault.log(log).len() == 4).await;
        for line in vault.log(log) {
            let expected = if log == "proxy.log" { "-" } else { "NONE" };
            assert!(line.starts_with("CONNECT 0.0.0.0:"), "{line}");
            assert!(line.ends_with(expected), "{line}");
        }
    }
}
