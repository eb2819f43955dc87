//! The throughput of bound tokens: four clients, each with its own certificate and one mTLS
//! connection, send requests without a pause.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up should stop")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use symbolon_emulator::Emulator;

/// Concurrent clients.
const CLIENTS: usize = 4;
/// Requests of each client per iteration.
const EACH: usize = 25;

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let emulator = runtime.block_on(Emulator::start()).expect("an emulator");
    let request = request(&emulator);
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| connect(&emulator)).collect();
    let mut group = criterion.benchmark_group("emulator");
    group.throughput(Throughput::Elements((CLIENTS * EACH) as u64));
    group.sample_size(20);
    group.bench_function("bound_tokens", |bencher| {
        bencher.iter(|| {
            std::thread::scope(|scope| {
                for client in &mut clients {
                    let request = &request;
                    scope.spawn(move || (0..EACH).for_each(|_| token(client, request)));
                }
            });
        });
    });
    group.finish();
}

fn connect(emulator: &Emulator) -> Connection {
    let certified = emulator.issue_client_certificate(emulator.client_id()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(emulator.ca_der().to_vec())).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from(certified.certificate.der.to_vec())],
            PrivateKeyDer::Pkcs8(certified.pkcs8.to_vec().into()),
        )
        .expect("a client certificate");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = TcpStream::connect(authority(emulator)).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a TLS client"), stream)
}

fn authority(emulator: &Emulator) -> &str {
    emulator.token_url().trim_start_matches("https://")
}

fn request(emulator: &Emulator) -> Vec<u8> {
    let body = format!(
        "grant_type=client_credentials&token_type=mtls_pop&client_id={}&scope=https%3A%2F%2Fvault.azure.net%2F.default",
        emulator.client_id()
    );
    let path = emulator.token_endpoint();
    let path = path.trim_start_matches(emulator.token_url());
    format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        authority(emulator),
        body.len()
    )
    .into_bytes()
}

/// Sends a request and reads the complete response.
fn token(client: &mut Connection, request: &[u8]) {
    client.write_all(request).expect("a request");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = client.read(&mut chunk).expect("an answer");
        assert!(read > 0, "the emulator closed the connection");
        answer.extend_from_slice(&chunk[..read]);
        if is_whole(&answer) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200") && text.contains(r#""token_type":"mtls_pop""#), "{text}");
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

criterion_group!(all, benches);
criterion_main!(all);
