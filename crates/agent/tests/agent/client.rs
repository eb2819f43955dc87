//! A client that sends raw HTTP requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use symbolon::parts::types::ManualClock;
use symbolon::{Context, Env, ManagedIdentity, ManagedIdentityId, SharedClock, SoftwareKeys};
use symbolon_agent::{Agent, AgentBuilder};
use symbolon_emulator::Emulator;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const VAULT: &str = "https%3A%2F%2Fvault.azure.net";

/// An emulated machine, an agent on it, and the agent's log.
pub(crate) struct AgentEnv {
    pub(crate) emulator: Emulator,
    pub(crate) agent: Agent,
    pub(crate) log: LogLines,
}

#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<String>>>);

impl LogLines {
    pub(crate) fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl AgentEnv {
    pub(crate) async fn new() -> Self {
        Self::with(|agent, _| agent.allow_all_resources()).await
    }

    pub(crate) async fn with_clock(clock: &ManualClock) -> Self {
        Self::with(|agent, _| agent.allow_all_resources().context(Context::default().with_clock(clock))).await
    }

    pub(crate) async fn with(setup: impl FnOnce(AgentBuilder, &Emulator) -> AgentBuilder) -> Self {
        // Both ends of each connection are in this process.
        symbolon_server::raise_descriptor_limit();
        let emulator = Emulator::start().await.unwrap();
        let log = LogLines::default();
        let lines = log.clone();
        let agent = Agent::builder(identity(&emulator, ManagedIdentityId::system_assigned()))
            .observer(move |record| lines.add(record.to_string()));
        let agent = setup(agent, &emulator).listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        Self { emulator, agent, log }
    }

    pub(crate) fn port(&self) -> u16 {
        self.agent.address().unwrap().port()
    }

    /// Returns a valid request for a token, with `more` appended to its query.
    pub(crate) fn request(&self, more: &str) -> String {
        let secret = secret(&self.agent);
        let port = self.port();
        format!(
            "GET /msi/token?api-version=2019-08-01&resource={VAULT}{more} HTTP/1.1\r\n\
             Host: 127.0.0.1:{port}\r\nX-IDENTITY-HEADER: {secret}\r\nConnection: close\r\n\r\n"
        )
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.agent.address().unwrap()).await.unwrap()
    }

    pub(crate) async fn send(&self, request: &str) -> RawResponse {
        exchange(self.connect().await, request).await
    }
}

/// Returns an identity of the emulator's machine.
pub(crate) fn identity(emulator: &Emulator, id: ManagedIdentityId) -> ManagedIdentity {
    let env: Env = emulator.environment().into_iter().collect();
    let transport = symbolon::HyperTransport::builder()
        .context(Context::default().with_env(env.clone()))
        .root_certificates_pem(emulator.ca_pem().as_bytes())
        .build()
        .unwrap();
    ManagedIdentity::builder()
        .identity(id)
        .context(Context::default().with_env(env).with_retry_scale(0.0))
        .transport(transport)
        .key_provider(SoftwareKeys::p256())
        .build()
        .unwrap()
}

/// Returns the output of `future`, which must not take longer than five seconds.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let clock = SharedClock::system();
    tokio::select! {
        output = future => output,
        () = clock.sleep(Duration::from_secs(5)) => panic!("no response within five seconds"),
    }
}

pub(crate) fn secret(agent: &Agent) -> String {
    agent.environment()[1].1.clone()
}

/// A raw HTTP response.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl RawResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> RawResponse {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    RawResponse { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
}
