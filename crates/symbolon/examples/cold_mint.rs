//! Where the time of a first bound token goes, leg by leg, with an RSA key.
//!
//! Runs against the emulator, which answers at once: on Azure the legs take longer, and what is between them
//! does not. It prints the trace of one mint without and one with attestation, and of how many
//! percent a mint is longer than what it has to wait for, the median of 21. Nothing is asserted: it is a
//! measurement.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon::parts::transport::{
    Capabilities, Request, Response, SharedTransport, Transport, TransportError,
};
use symbolon::parts::types::SharedSigningKey;
use symbolon::{
    Attestation, AttestationRequest, Attester, Context, Env, Error, HyperTransport, KeyProvider,
    ManagedIdentity, Secret, SharedClock, SoftwareKeys,
};
use symbolon_emulator::Emulator;

const RUNS: usize = 21;
const LIFETIME: Duration = Duration::from_secs(3600);
/// What a service would take: the emulator has none.
const ATTESTATION: Duration = Duration::from_millis(25);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    for is_attested in [false, true] {
        let mut traces = Vec::new();
        for _ in 0..RUNS {
            traces.push(cold_mint(&emulator, is_attested).await?);
        }
        println!("{}", if is_attested { "with attestation" } else { "without attestation" });
        traces.sort_by(|one, other| one.excess().total_cmp(&other.excess()));
        let median = &traces[RUNS / 2];
        median.print();
    }
    Ok(())
}

/// A process that has nothing yet asks for a bound token.
async fn cold_mint(emulator: &Emulator, is_attested: bool) -> Result<Trace, Box<dyn std::error::Error>> {
    let env: Env = emulator.environment().into_iter().collect();
    let http = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;
    let stopwatch = Stopwatch::default();
    let mut identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env))
        .transport(Timed(SharedTransport::new(http), stopwatch.clone()))
        .key_provider(TimedKeys(SoftwareKeys::rsa_2048(), stopwatch.clone()));
    if is_attested {
        identity = identity.attester(TimedAttester(stopwatch.clone()));
    }
    let identity = identity.build()?;
    let began = stopwatch.clock.now();
    identity.token("https://vault.example").proof_of_possession().await?;
    let ended = stopwatch.clock.now();
    let spans = stopwatch.spans().clone();
    Ok(Trace { began, ended, spans })
}

/// What happened, and when.
struct Trace {
    began: SystemTime,
    ended: SystemTime,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    leg: &'static str,
    from: SystemTime,
    to: SystemTime,
}

impl Trace {
    fn took(&self, leg: &str) -> Duration {
        self.spans.iter().filter(|span| span.leg == leg).map(|span| between(span.from, span.to)).sum()
    }

    /// Until the certificate is presented for the first time.
    fn mint(&self) -> Duration {
        let token = self.spans.iter().find(|span| span.leg == "token");
        between(self.began, token.map_or(self.ended, |span| span.from))
    }

    /// What a mint waits for, whatever it does.
    fn unavoidable(&self) -> Duration {
        self.took("key").max(self.took("metadata")) + self.took("attestation") + self.took("issuance")
    }

    /// In percent.
    fn excess(&self) -> f64 {
        (self.mint().as_secs_f64() / self.unavoidable().as_secs_f64() - 1.0) * 100.0
    }

    fn print(&self) {
        let mut spans = self.spans.clone();
        spans.sort_by_key(|span| span.from);
        for Span { leg, from, to } in spans {
            let (start, end) = (millis(between(self.began, from)), millis(between(self.began, to)));
            println!("  {leg:<12} {start:>8.2} ms to {end:>8.2} ms: {:>8.2} ms", end - start);
        }
        let (mint, unavoidable) = (millis(self.mint()), millis(self.unavoidable()));
        println!("  the mint took {mint:.2} ms, and had to wait for {unavoidable:.2} ms of them:");
        println!("  {:.1} % more than it must (median of {RUNS})", self.excess());
        println!("  the token was there after {:.2} ms", millis(between(self.began, self.ended)));
    }
}

fn between(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Notes what begins and ends; clones share the notes.
#[derive(Clone, Debug)]
struct Stopwatch {
    clock: SharedClock,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self { clock: SharedClock::system(), spans: Arc::default() }
    }
}

impl Stopwatch {
    async fn time<T>(&self, leg: &'static str, work: impl Future<Output = T>) -> T {
        let from = self.clock.now();
        let done = work.await;
        self.spans().push(Span { leg, from, to: self.clock.now() });
        done
    }

    fn spans(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct TimedKeys(SoftwareKeys, Stopwatch);

impl KeyProvider for TimedKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.1.time("key", self.0.key()).await
    }
}

#[derive(Debug)]
struct TimedAttester(Stopwatch);

impl Attester for TimedAttester {
    async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        let Self(stopwatch) = self;
        stopwatch.time("attestation", stopwatch.clock.sleep(ATTESTATION)).await;
        Ok(Attestation::new(Secret::new("header.statement.signature"), request.deadline() + LIFETIME))
    }
}

#[derive(Debug)]
struct Timed(SharedTransport, Stopwatch);

impl Transport for Timed {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let leg = match request.url().path() {
            "/metadata/identity/getplatformmetadata" => "metadata",
            "/metadata/identity/issuecredential" => "issuance",
            _ => "token",
        };
        self.1.time(leg, self.0.send(request)).await
    }
}
