//! METRIC: metrics in a collector of OpenTelemetry.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use symbolon_emulator::Fault;
use symbolon_opentelemetry::OpenTelemetryObserver;
use symbolon_test_programs::{Folder, Service, missing};
use symbolon_tests::RESOURCE;
use symbolon_token::{ClientCertificate, MemoryStore, TokenCache};

use crate::test_env::TestEnv;

/// A collector in a package of Python.
const ROTEL: &str = "rotel==0.0.1a15";

/// Returns the collector, installed in a virtual environment.
fn collector() -> Option<PathBuf> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rotel");
    let python = home.join("bin/python");
    let runs = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let program = || {
        let script = "import sysconfig; print(sysconfig.get_path('platlib'), end='')";
        let output = Command::new(&python).args(["-c", script]).output().ok()?;
        let program = PathBuf::from(String::from_utf8(output.stdout).ok()?).join("rotel/rotel-agent");
        runs(Command::new(&program).arg("version")).then_some(program)
    };
    program().or_else(|| {
        runs(Command::new("python3").args(["-m", "venv"]).arg(&home));
        runs(Command::new(&python).args(["-m", "pip", "install", "--quiet", ROTEL]));
        let installed = program();
        if installed.is_none() {
            missing("collector of OpenTelemetry (rotel), or python3-venv to install it in");
        }
        installed
    })
}

/// Sends over plain HTTP with a connection for each request, on the thread of the exporter.
#[derive(Debug)]
struct PlainHttp;

#[async_trait]
impl HttpClient for PlainHttp {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let uri = request.uri();
        let authority = uri.authority().ok_or("no authority")?.as_str();
        let mut stream = TcpStream::connect(authority)?;
        let mut head = format!("POST {} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n", uri.path());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str()?);
        }
        head += &format!("content-length: {}\r\n\r\n", request.body().len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(request.body())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let status = response.split(' ').nth(1).ok_or("no status")?;
        Ok(http::Response::builder().status(status).body(Bytes::new())?)
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn metric_09_collector_receives_metrics() {
    let Some(program) = collector() else { return };
    let folder = Folder::new();
    let (grpc, http) = (free_port(), free_port());
    let mut command = Command::new(program);
    command
        .args(["start", "--exporter", "blackhole", "--debug-log", "metrics"])
        .args(["--debug-log-verbosity", "detailed", "--disable-batching"])
        .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
        .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
        .arg("--pid-file")
        .arg(folder.path().join("pid"));
    let mut service = Service::start(&command, &folder, Stdio::piped());

    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(PlainHttp)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("http://127.0.0.1:{http}/v1/metrics"))
        .build()
        .unwrap();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter).build()).build();
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let observer = OpenTelemetryObserver::new(&provider.meter("orders"));
    let context = test_env.context().with_observer(observer);
    use_everything(&test_env, &context).await;

    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", http)).is_ok() {
            break;
        }
        test_env.clock().sleep(std::time::Duration::from_millis(10)).await;
    }
    let received = tokio::task::spawn_blocking(move || {
        // The second batch shows that the first one is complete.
        provider.force_flush().unwrap();
        provider.force_flush().unwrap();
        let (mut text, mut batches) = (String::new(), 0);
        service.wait_for(|line| {
            batches += usize::from(line.starts_with("ResourceMetrics #"));
            // The lines before are the log of the collector.
            if batches > 0 {
                text += line;
                text.push('\n');
            }
            (batches == 2).then_some(())
        });
        text
    });
    let received = received.await.unwrap();
    let values = |prefix: &str| -> BTreeSet<String> {
        let lines = received.lines().filter_map(|line| line.trim_start().strip_prefix("-> "));
        lines.filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let expected = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        values("Name: "),
        expected(&[
            "symbolon.credential.refusals",
            "symbolon.mint.duration",
            "symbolon.store.operation.duration",
            "symbolon.tls.handshake.duration",
            "symbolon.token.fetch.duration",
            "symbolon.token.remaining_lifetime",
            "symbolon.token.request.duration",
        ]),
        "{received}"
    );
    for (attribute, expected) in [
        ("symbolon.token.type: ", &["Str(Bearer)", "Str(mtls_pop)"][..]),
        ("symbolon.token.origin: ", &["Str(cache)", "Str(network)"]),
        ("symbolon.cache.level: ", &["Str(memory)", "Str(store)"]),
        ("symbolon.store.operation: ", &["Str(lock)", "Str(read)", "Str(write)"]),
        ("symbolon.refused_by: ", &["Str(token_service)"]),
        ("error.type: ", &["Str(_OTHER)", "Str(managed_identity_request_failed)"]),
        ("http.response.status_code: ", &["Int(400)"]),
        ("tls.protocol.version: ", &["Str(1.3)"]),
    ] {
        let expected: BTreeSet<String> = expected.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(values(attribute), expected, "{attribute}{received}");
    }
    for absent in [RESOURCE, "vault.example", "127.0.0.1", test_env.emulator.tenant_id()] {
        assert!(!received.contains(absent), "{absent}: {received}");
    }
}

/// Hits, misses, mints, failures and refusals.
async fn use_everything(test_env: &TestEnv, context: &symbolon::Context) {
    let identity =
        test_env.builder().context(context.clone()).transport(transport(test_env, context)).build();
    let identity = identity.unwrap();
    test_env.emulator.inject(Fault::status(symbolon_emulator::Step::IssueCredential, 403));
    identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[1_000_610]));
    for _ in 0..2 {
        test_env.bound_token(&identity).await;
    }
    let (store, certificate) = (MemoryStore::new(test_env.clock()), test_env.certificate());
    for _ in 0..2 {
        let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
        let cache = TokenCache::new(10, context).with_store(store.clone());
        let client = symbolon_token::TokenClient::builder(credential, transport(test_env, context));
        let client = client.context(context.clone()).cache(cache).build();
        test_env.keep(client.token_for_resource(RESOURCE).await.unwrap());
        test_env.emulator.inject(Fault::oauth_error("made_up_by_a_server", &[]));
        client.token_for_resource(RESOURCE).force_refresh().await.unwrap_err();
    }
}

fn transport(test_env: &TestEnv, context: &symbolon::Context) -> symbolon::HyperTransport {
    symbolon::HyperTransport::builder()
        .context(context.clone().with_env(symbolon::Env::empty()))
        .platform_roots(false)
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes())
        .build()
        .unwrap()
}
