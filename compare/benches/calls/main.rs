//! Bound calls with `symbolon-client`, compared with reqwest on the same TLS configuration.
//!
//! Both call one server, a process of its own, with one certificate and one token, in turns, so
//! that the ratios depend little on the machine. The limits are those of the project.

mod caller;
mod callers;
mod measure;
mod server;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use symbolon_testing::{Emulator, EmulatorClients};

use crate::callers::{Protocol, over_openssl, over_rustls, with_reqwest};
use crate::measure::{Sizes, measure};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const TLS12: &str = "TLS 1.2";
const TLS13: &str = "TLS 1.3";
/// The resource of the token.
const RESOURCE: &str = "https://resource.example";
const USAGE: &str = "\
Usage: cargo xtask bench calls [-- OPTIONS]

  --quick         small sizes: a check that it works, not a measurement
  --only NAME     latency, throughput or streaming
  --openssl       OpenSSL compared with rustls, over HTTP/1.1 and TLS 1.2 and 1.3
  --http1         HTTP/1.1 only
  --http2         HTTP/2 only
";

fn main() -> Result<(), BoxError> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let [command, ca, version] = arguments.as_slice()
        && command == "serve"
    {
        let version = if version == TLS12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        return runtime()?.block_on(server::serve(Path::new(ca), version));
    }
    if has("--help") || has("-h") {
        print!("{USAGE}");
        return Ok(());
    }
    let only =
        arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let sizes = if has("--quick") { Sizes::QUICK } else { Sizes::FULL };
    let protocols = match (has("--http1"), has("--http2")) {
        (true, false) => vec![Protocol::Http1],
        (false, true) => vec![Protocol::Http2],
        _ => vec![Protocol::Http1, Protocol::Http2],
    };
    let only = only.map(String::as_str);
    match has("--openssl") {
        true => runtime()?.block_on(run_openssl(sizes, only)),
        false => runtime()?.block_on(run(&protocols, sizes, only)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn run(protocols: &[Protocol], sizes: Sizes, only: Option<&str>) -> Result<(), BoxError> {
    let emulator = Emulator::start().await?;
    let server = ServerProcess::start(emulator.ca_file(), TLS13)?;
    let tokens = emulator.client()?;
    println!("| | symbolon-client | reqwest | ratio | limit | |\n|---|--:|--:|--:|--:|---|");
    for protocol in protocols {
        let ours = async || over_rustls(&tokens, &server, *protocol);
        let theirs = async || with_reqwest(&tokens, &server, *protocol).await;
        measure(protocol.name(), ours, theirs, sizes, only, 1.0).await?;
    }
    Ok(())
}

async fn run_openssl(sizes: Sizes, only: Option<&str>) -> Result<(), BoxError> {
    let emulator = Emulator::start().await?;
    let tokens = emulator.client()?;
    println!("| | OpenSSL | rustls | ratio | limit | |\n|---|--:|--:|--:|--:|---|");
    for version in [TLS12, TLS13] {
        let server = ServerProcess::start(emulator.ca_file(), version)?;
        let openssl = async || over_openssl(&tokens, &server);
        let rustls = async || over_rustls(&tokens, &server, Protocol::Http1);
        measure(version, openssl, rustls, sizes, only, 0.9).await?;
    }
    Ok(())
}

/// The server, in a process of its own. It ends when this is dropped.
struct ServerProcess {
    child: Child,
    url: String,
    /// The certificate of the server, in PEM.
    certificate: String,
}

impl ServerProcess {
    /// Starts a server that requires certificates of this authority, over this version of TLS.
    fn start(ca: &Path, version: &str) -> Result<Self, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            command.arg("serve").arg(ca).arg(version).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut printed = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let url = printed.next().ok_or("the server did not start")??;
        let lines = printed.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
        let lines: Result<Vec<String>, _> = lines.collect();
        Ok(Self { child, url, certificate: lines?.join("\n") })
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
