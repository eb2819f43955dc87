//! Calls through the proxy, compared with the same bound client directly, and with nginx as the
//! proxy.
//!
//! Server and proxy are processes of their own. The proxy runs on one thread, as in the command,
//! and nginx with one worker. The limits are those of the project.

#[path = "../calls/caller.rs"]
mod caller;
mod nginx;
#[path = "../calls/server.rs"]
mod server;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use symbolon_proxy::{Proxy, Route, raise_descriptor_limit};
use symbolon_test_programs::Folder;
use symbolon_testing::symbolon::ManagedIdentity;
use symbolon_testing::symbolon::parts::client::{Client, Connections};
use symbolon_testing::{Emulator, EmulatorClients as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::{Caller, Reqwest, Symbolon};
use crate::nginx::Nginx;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The resource of the token.
const RESOURCE: &str = "https://resource.example";
/// Microseconds that the proxy may add to a small call.
const ADDED_LATENCY: f64 = 100.0;
/// The rate of calls at 64 connections, compared with calls without the proxy.
const THROUGHPUT: f64 = 0.7;
/// Growth of the memory of the proxy while it streams.
const STREAMING_KIB: u64 = 8 * 1024;
/// Memory of the proxy with idle connections.
const IDLE_KIB: u64 = 150 * 1024;
const USAGE: &str = "\
Usage: cargo xtask bench proxy [-- OPTIONS]

  --quick         small sizes: a check that it works, not a measurement
  --command FILE  also measure this command, for example target/release/symbolon
";

/// The numbers of calls, bytes and connections.
struct Sizes {
    rounds: usize,
    latency_calls: usize,
    throughput_calls: usize,
    streamed: usize,
    idle: usize,
}

const FULL: Sizes =
    Sizes { rounds: 9, latency_calls: 1000, throughput_calls: 8192, streamed: 1 << 30, idle: 10_000 };
const QUICK: Sizes =
    Sizes { rounds: 2, latency_calls: 20, throughput_calls: 512, streamed: 4 << 20, idle: 100 };

fn main() -> Result<(), BoxError> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", ca] => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(server::serve(Path::new(ca), &rustls::version::TLS13)),
        ["proxy", url, certificate, http2] => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(run_proxy(url, certificate, http2 == "true")),
        [] => measure_all(&FULL, None),
        ["--quick"] => measure_all(&QUICK, None),
        ["--command", file] => measure_all(&FULL, Some(file)),
        _ => {
            print!("{USAGE}");
            Ok(())
        }
    }
}

/// Prints address and secret, and runs a proxy until stdin ends.
async fn run_proxy(url: &str, certificate: &str, http2: bool) -> Result<(), BoxError> {
    raise_descriptor_limit();
    let identity = ManagedIdentity::builder().build()?;
    let route = Route::new("/", url, client(&identity, certificate, http2)?)?;
    let proxy = Proxy::builder().route(route).listen(([127, 0, 0, 1], 0).into()).await?;
    let (address, secret) = (proxy.address().ok_or("no address")?, proxy.secret().ok_or("no secret")?);
    println!("{address}\n{}", secret.expose());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// Returns a client with bound tokens that trusts this certificate (PEM).
fn client(identity: &ManagedIdentity, certificate: &str, http2: bool) -> Result<Client, BoxError> {
    let connections = Connections::builder()
        .platform_roots(false)
        .root_certificates_pem(certificate.as_bytes())
        .http2(http2)
        .build()?;
    Ok(identity
        .client(RESOURCE)
        .proof_of_possession()
        .connections(connections)
        .no_read_timeout()
        .any_host()
        .build()?)
}

fn measure_all(sizes: &Sizes, command: Option<&str>) -> Result<(), BoxError> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("| | proxy | direct | difference | limit | |\n|---|--:|--:|--:|--:|---|");
    runtime.block_on(async {
        let emulator = Emulator::start().await?;
        let for_nginx = rcgen::generate_simple_self_signed(["client".to_owned()])?;
        let folder = Folder::new();
        let authorities = folder.path().join("authorities.pem");
        std::fs::write(&authorities, std::fs::read_to_string(emulator.ca_file())? + &for_nginx.cert.pem())?;
        let mut server = Process::start(&["serve", &authorities.to_string_lossy()], None)?;
        let url = server.line()?;
        let mut certificate = String::new();
        loop {
            match server.line()? {
                line if line.is_empty() => break,
                line => certificate.extend([line.as_str(), "\n"]),
            }
        }
        let direct = |http2| {
            Ok::<_, BoxError>(Symbolon {
                client: client(&emulator.identity()?, &certificate, http2)?,
                url: url.clone(),
            })
        };
        let environment: Vec<_> = emulator.environment().into_iter().collect();
        for (name, http2) in [("HTTP/1.1", false), ("HTTP/2", true)] {
            let arguments = ["proxy", &url, &certificate, if http2 { "true" } else { "false" }];
            let mut process = Process::start(&arguments, Some(environment.clone()))?;
            let (address, secret) = (process.line()?, process.line()?);
            let proxy = MeasuredProxy { id: process.child.id(), address, secret };
            measure(name, &proxy, &direct(http2)?, sizes).await?;
        }
        if let Some(file) = command {
            let trusted = folder.path().join("trusted.pem");
            std::fs::write(&trusted, std::fs::read_to_string(emulator.ca_file())? + &certificate)?;
            let trusted = trusted.to_string_lossy();
            let arguments = ["proxy", "--to", &url, "--resource", RESOURCE, "--pop", "--ca-file", &trusted];
            let mut process =
                Process::run(file, &[&arguments[..], &["--output", "json"]].concat(), environment)?;
            let printed: serde_json::Value = serde_json::from_str(&process.line()?)?;
            let variable = |name: &str| printed[name].as_str().ok_or("no variable");
            let address = variable("SYMBOLON_PROXY_URL")?.trim_start_matches("http://").to_owned();
            let secret = variable("SYMBOLON_PROXY_SECRET")?.to_owned();
            let proxy = MeasuredProxy { id: process.child.id(), address, secret };
            measure("command, HTTP/2", &proxy, &direct(true)?, sizes).await?;
        }
        let identity = (for_nginx.cert.pem(), for_nginx.signing_key.serialize_pem());
        if let Some(nginx) = Nginx::start(&url, &certificate, &identity)? {
            measure("nginx, HTTP/1.1", &nginx.proxy, &direct(false)?, sizes).await?;
        }
        Ok(())
    })
}

/// A proxy that runs.
struct MeasuredProxy {
    /// Its process.
    id: u32,
    address: String,
    secret: String,
}

impl MeasuredProxy {
    /// Returns its resident memory in KiB.
    fn resident(&self) -> Result<u64, BoxError> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Returns the processor time of its first thread in seconds.
    fn processor_time(&self) -> Result<f64, BoxError> {
        let nanoseconds = std::fs::read_to_string(format!("/proc/{}/schedstat", self.id))?;
        Ok(nanoseconds.split(' ').next().ok_or("no schedstat")?.parse::<f64>()? / 1e9)
    }
}

async fn measure(
    name: &str,
    proxy: &MeasuredProxy,
    direct: &Symbolon,
    sizes: &Sizes,
) -> Result<(), BoxError> {
    let MeasuredProxy { address, secret, .. } = proxy;
    let proxied = proxied(address, secret)?;
    // Opens the connections, and fills the caches.
    at_once(direct, 64, 64).await?;
    at_once(&proxied, 64, 64).await?;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds {
        ours.extend(latencies(&proxied, sizes.latency_calls).await?);
        theirs.extend(latencies(direct, sizes.latency_calls).await?);
    }
    let (ours, theirs) = (median(&mut ours) * 1e6, median(&mut theirs) * 1e6);
    let (added, met) = (ours - theirs, verdict(ours - theirs <= ADDED_LATENCY));
    println!(
        "| {name}, one after another, median | {ours:.0} µs | {theirs:.0} µs | {added:.0} µs | {ADDED_LATENCY:.0} µs | {met} |"
    );

    let (mut ours, mut theirs, mut used) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..sizes.rounds {
        let before = proxy.processor_time()?;
        ours.push(at_once(&proxied, 64, sizes.throughput_calls).await?.as_secs_f64());
        used += proxy.processor_time()? - before;
        theirs.push(at_once(direct, 64, sizes.throughput_calls).await?.as_secs_f64());
    }
    let rate = |times: &mut Vec<f64>| sizes.throughput_calls as f64 / median(times);
    let (ours, theirs) = (rate(&mut ours), rate(&mut theirs));
    let (ratio, met) = (ours / theirs, verdict(ours / theirs >= THROUGHPUT));
    println!(
        "| {name}, 64 at once | {ours:.0} /s | {theirs:.0} /s | {ratio:.2} × | {THROUGHPUT:.2} × | {met} |"
    );
    let used = used * 1e6 / (sizes.rounds * sizes.throughput_calls) as f64;
    println!("| {name}, processor time of the proxy for each of them | {used:.1} µs | | | | |");

    for is_down in [true, false] {
        let direction = if is_down { "down" } else { "up" };
        let before = proxy.resident()?;
        let task = tokio::spawn(stream(proxied.clone(), is_down, sizes.streamed));
        let mut most = before;
        while !task.is_finished() {
            most = most.max(proxy.resident()?);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ours = task.await??.as_secs_f64();
        let theirs = stream(direct.clone(), is_down, sizes.streamed).await?.as_secs_f64();
        let rate = |seconds: f64| sizes.streamed as f64 / 1_048_576.0 / seconds;
        let (ours, theirs, ratio) = (rate(ours), rate(theirs), theirs / ours);
        println!(
            "| {name}, streaming {direction} | {ours:.0} MiB/s | {theirs:.0} MiB/s | {ratio:.2} × | | |"
        );
        let (growth, met) = (most - before, verdict(most - before <= STREAMING_KIB));
        println!("| {name}, memory growth, {direction} | {growth} KiB | | | {STREAMING_KIB} KiB | {met} |");
    }

    let head = format!("GET / HTTP/1.1\r\nhost: {address}\r\nx-symbolon-secret: {secret}\r\n\r\n");
    let mut idle = Vec::new();
    for _ in 0..sizes.idle {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        if &start != b"HTTP/1.1 200" {
            return Err(format!("not a response: {:?}", String::from_utf8_lossy(&start)).into());
        }
        idle.push(stream);
    }
    let (memory, met) = (proxy.resident()?, verdict(proxy.resident()? <= IDLE_KIB));
    println!("| {name}, {} idle connections | {memory} KiB | | | {IDLE_KIB} KiB | {met} |", idle.len());
    Ok(())
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

/// Returns a client of the proxy over HTTP/1.1, as most programs are.
fn proxied(address: &str, secret: &str) -> Result<Reqwest, BoxError> {
    // reqwest builds a TLS configuration even if it is not used.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let header = (HeaderName::from_static("x-symbolon-secret"), HeaderValue::from_str(secret)?);
    Ok(Reqwest { client, url: format!("http://{address}"), header })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn latencies(caller: &impl Caller, calls: usize) -> Result<Vec<f64>, BoxError> {
    // In a task, so that both run on a worker of the runtime.
    let caller = caller.clone();
    tokio::spawn(async move {
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            let start = Instant::now();
            caller.get().await?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(times)
    })
    .await?
}

async fn at_once(caller: &impl Caller, count: usize, calls: usize) -> Result<Duration, BoxError> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for _ in 0..calls / count {
                    caller.get().await?;
                }
                Ok::<_, BoxError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(start.elapsed())
}

async fn stream(caller: impl Caller, is_down: bool, size: usize) -> Result<Duration, BoxError> {
    let start = Instant::now();
    let streamed = if is_down { caller.download(size).await? } else { caller.upload(size).await? };
    if streamed != size {
        return Err(format!("{streamed} bytes arrived, not {size}").into());
    }
    Ok(start.elapsed())
}

/// This program in another role, or another. It ends when this is dropped.
struct Process {
    child: Child,
    printed: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str], env: Option<Vec<(&'static str, String)>>) -> Result<Self, BoxError> {
        Self::run(std::env::current_exe()?, arguments, env.unwrap_or_default())
    }

    fn run(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        env: Vec<(&'static str, String)>,
    ) -> Result<Self, BoxError> {
        let mut command = Command::new(program);
        command.args(arguments).envs(env);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let printed = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, printed })
    }

    /// Returns the next line that it prints.
    fn line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        self.printed.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
