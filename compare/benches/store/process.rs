//! A process that requests tokens, and its side in the first process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use symbolon_redis::{RedisStore, RedisStoreBuilder};
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, ClientSecret, Context, SealingKey, Secret, TokenCache, TokenClient, TokenOrigin,
};
use symbolon_transport::{Request, Response, TransportError, TransportErrorKind, transport_fn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;

use crate::BoxError;

/// The first argument of such a process.
pub const ROLE: &str = "process";
/// The store argument of a process without one.
pub const NO_STORE: &str = "none";

/// A started process, controlled by lines: `once TIME` requests one token at a time and waits for
/// the end of the input, `traffic` requests tokens until then.
pub struct TokenProcess {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl TokenProcess {
    /// Starts a process and waits until it is ready.
    pub fn start(service: SocketAddr, store: &str) -> Result<Self, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ROLE, &service.to_string(), store]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut process = Self { child, output };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            other => Err(format!("a process printed {other}").into()),
        }
    }

    /// Writes a line.
    pub fn send(&mut self, line: &str) -> Result<(), BoxError> {
        let input = self.child.stdin.as_mut().ok_or("no stdin")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Ends the input.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Reads a line.
    pub fn line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for TokenProcess {
    fn drop(&mut self) {
        self.end_input();
        let _reaped = self.child.wait();
    }
}

/// Returns the settings of a store: `sentinel:` and a URL, or the URL of a server.
pub fn store_builder(store: &str) -> Result<RedisStoreBuilder, BoxError> {
    let builder = RedisStore::builder(SealingKey::new("bench", [1; 32])?);
    Ok(match store.strip_prefix("sentinel:") {
        Some(url) => builder.sentinels("main", [url]),
        None => builder.server(store),
    })
}

/// Runs such a process.
pub fn run(service: &str, store: &str) -> Result<(), BoxError> {
    let service: SocketAddr = service.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut cache = TokenCache::new(1000, &Context::default());
        if store != NO_STORE {
            cache = cache.with_store(store_builder(store)?.build()?);
        }
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.example")?;
        let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
        let credential = ClientSecret::new(application, Secret::new("secret"))?;
        let transport = transport_fn(move |request| exchange(service, request));
        let client = TokenClient::builder(credential, transport).cache(cache).build();
        println!("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        match line.trim().split_once(' ') {
            Some(("once", at)) => {
                once(&client, Duration::from_millis(at.parse()?)).await?;
                // A process that ends, or starts a thread to wait, would take time from the others.
                let stdin = Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
                Ok(stdin.readable().await?)
            }
            _ => traffic(&client).await,
        }
    })
}

/// Requests a token at a time since 1970, and prints the microseconds and its origin.
async fn once(client: &TokenClient, at: Duration) -> Result<(), BoxError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    tokio::time::sleep(at.saturating_sub(now)).await;
    let began = Instant::now();
    match client.token("https://resource.example/.default").await {
        Ok(token) => println!("{} {}", began.elapsed().as_micros(), token.origin() == TokenOrigin::Network),
        Err(error) => println!("failed: {error}"),
    }
    Ok(())
}

/// Requests tokens until the end of the input, and prints the numbers of requests and failures.
async fn traffic(client: &TokenClient) -> Result<(), BoxError> {
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_over);
    std::thread::spawn(move || {
        let _end = std::io::stdin().read_line(&mut String::new());
        ended.store(true, Ordering::SeqCst);
    });
    let (requests, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;
    let mut number = std::process::id() as usize;
    while !is_over.load(Ordering::SeqCst) {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = number >> 33;
        let scope = format!("https://resource-{}.example/.default", random % 40);
        let request = client.token(&scope);
        let began = Instant::now();
        let result = if random % 97 == 0 { request.force_refresh().await } else { request.await };
        slowest = slowest.max(began.elapsed());
        requests.fetch_add(1, Ordering::SeqCst);
        match result {
            Ok(token) => {
                let is_valid = token.secret().expose().starts_with(&name_of(&scope))
                    && token.expires_on() > SystemTime::now();
                if random % 53 == 0 {
                    client.cache().invalidate(&token);
                }
                if !is_valid {
                    failures.fetch_add(1, Ordering::SeqCst);
                    eprintln!("a token of another scope, or expired");
                }
            }
            Err(error) => {
                failures.fetch_add(1, Ordering::SeqCst);
                eprintln!("{error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{} {} {}", requests.into_inner(), failures.into_inner(), slowest.as_millis());
    Ok(())
}

/// Returns the part of a scope that the service repeats.
fn name_of(scope: &str) -> String {
    scope.trim_start_matches("https://").split('.').next().unwrap_or_default().to_owned()
}

/// Sends the name of the scope to the service, and returns its response.
async fn exchange(service: SocketAddr, request: Request) -> Result<Response, TransportError> {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    let scope = body.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap_or_default();
    let scope = scope.replace("%3A", ":").replace("%2F", "/");
    let lost = |error: std::io::Error| TransportError::new(TransportErrorKind::Connect).with_source(error);
    let mut connection = tokio::net::TcpStream::connect(service).await.map_err(lost)?;
    connection.write_all(format!("{}\n", name_of(&scope)).as_bytes()).await.map_err(lost)?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await.map_err(lost)?;
    Ok(Response::new(http::StatusCode::OK, response))
}
