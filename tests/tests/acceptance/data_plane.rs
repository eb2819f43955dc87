//! DATA: TLS configurations for other libraries.

use std::sync::Arc;
use std::time::Duration;

use crate::test_env::TestEnv;
use symbolon::{Client, Error, Token};
use symbolon_rustls::ClientConfigs;
use symbolon_rustls::pki_types::ServerName;
use symbolon_rustls::rustls::ClientConfig;
use symbolon_tests::RESOURCE;
use symbolon_token::{ClientCertificate, IdentityCell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

const HOUR: Duration = Duration::from_secs(3600);

fn configs(test_env: &TestEnv) -> ClientConfigs {
    let root = test_env.emulator.ca_pem().as_bytes();
    let configs = ClientConfigs::builder().platform_roots(false).root_certificates_pem(root);
    configs.context(test_env.context()).build().unwrap()
}

/// Calls the resource with a token on a new connection of this configuration. Returns the status.
async fn call(test_env: &TestEnv, config: &Arc<ClientConfig>, token: &Token) -> u16 {
    let url: Url = test_env.emulator.resource_url().parse().unwrap();
    let host = url.host_str().unwrap().to_owned();
    let stream = TcpStream::connect((host.as_str(), url.port().unwrap())).await.unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(ServerName::try_from(host).unwrap(), stream).await.unwrap();
    let (scheme, secret) = (token.token_type(), token.secret().expose());
    let request = format!("GET / HTTP/1.1\r\nhost: resource\r\nauthorization: {scheme} {secret}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line).await.unwrap();
    std::str::from_utf8(&status_line[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn data_01_configs_follow_the_binding() {
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(10 * HOUR).token_not_after(None).token_lifetime(HOUR)
    })
    .await;
    let identity = test_env.identity();
    let mut rotating = configs(&test_env).rotating(identity.watch_binding()).await.unwrap();
    assert!(rotating.current().is_none(), "there is no certificate yet");

    let token = test_env.bound_token(&identity).await;
    let first = rotating.changed().await.unwrap();
    assert_eq!(call(&test_env, &first, &token).await, 200);

    test_env.manual_clock.advance(6 * HOUR);
    test_env.bound_token(&identity).await;
    test_env.wait_until(|| test_env.emulator.issued().len() == 2).await;
    let second = rotating.changed().await.unwrap();
    test_env.manual_clock.advance(2 * HOUR);
    let token = test_env.bound_token(&identity).await;
    assert_eq!(token.bound_to().unwrap().thumbprint(), test_env.last_certificate());
    assert_eq!(call(&test_env, &second, &token).await, 200);
    assert_eq!(call(&test_env, &first, &token).await, 401, "the old certificate");
}

#[tokio::test]
async fn data_01_refused_binding_has_no_config() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    let mut rotating = configs(&test_env).rotating(identity.watch_binding()).await.unwrap();
    let old = rotating.current().unwrap();
    let refused = token.bound_to().unwrap().thumbprint();
    test_env.emulator.reject_in_tls(refused);
    // The next request opens a connection.
    test_env.emulator.reset_connections_of(refused);
    let request = identity.token("https://other.example").proof_of_possession();
    let token = test_env.keep(request.await.unwrap());
    // The refusal and the new certificate may be reported as one change.
    let new = loop {
        if let Some(config) = rotating.changed().await {
            break config;
        }
    };
    assert!(!Arc::ptr_eq(&old, &new));
    assert_eq!(call(&test_env, &new, &token).await, 200);
}

#[tokio::test]
async fn data_02_configs_follow_a_confidential_client() {
    let test_env = TestEnv::new().await;
    let cell = IdentityCell::new(test_env.certificate());
    let mut rotating = configs(&test_env).rotating(cell.watch()).await.unwrap();
    let first = rotating.current().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let client = test_env.certificate_client(cell.get());
        let request = client.token_for_resource(RESOURCE).proof_of_possession();
        let token = test_env.keep(request.await.unwrap());
        assert_eq!(call(&test_env, &rotating.current().unwrap(), &token).await, 200);
        tokens.push(token);
        cell.replace(test_env.certificate());
        rotating.changed().await.unwrap();
    }
    assert_eq!(call(&test_env, &first, &tokens[0]).await, 200);
    assert_eq!(call(&test_env, &first, &tokens[1]).await, 401);
}

#[tokio::test]
async fn data_02_client_follows_its_certificate() {
    let test_env = TestEnv::new().await;
    let cell = IdentityCell::new(test_env.certificate());
    let credential = ClientCertificate::rotating(test_env.application(), cell.clone()).unwrap();
    let tokens = test_env.client_builder(credential).build();
    let connections = crate::data::connections(&test_env, None).http2(false).build().unwrap();
    let client = Client::builder(tokens.clone(), RESOURCE).proof_of_possession().connections(connections);
    let client = client.build().unwrap();
    let url = test_env.emulator.resource_url();
    let call = async || {
        let response = client.get(url).send().await?.error_for_status()?;
        let seen: serde_json::Value = response.json().await?;
        Ok::<_, Error>(seen["x5t#S256"].as_str().map(str::to_owned))
    };
    let present = || Some(cell.get().thumbprint().to_string());
    assert_eq!(call().await.unwrap(), present());

    let left = cell.get().not_after().duration_since(test_env.clock().now()).unwrap();
    test_env.manual_clock.advance(left);
    for request in
        [tokens.token_for_resource(RESOURCE), tokens.token_for_resource(RESOURCE).proof_of_possession()]
    {
        assert_eq!(request.await.unwrap_err().code(), "invalid_certificate");
    }
    cell.replace(test_env.certificate());
    test_env.keep(tokens.token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(call().await.unwrap(), present());

    let refuse = || {
        test_env.emulator.reject_in_tls(cell.get().thumbprint());
        test_env.emulator.reset_connections_of(cell.get().thumbprint());
    };
    refuse();
    assert_eq!(call().await.unwrap_err().code(), "certificate_refused_by_resource");
    cell.replace(test_env.certificate());
    assert_eq!(call().await.unwrap(), present());
    // Replaced, but the token of the refused one is still cached.
    refuse();
    cell.replace(test_env.certificate());
    assert_eq!(call().await.unwrap(), present());
}
