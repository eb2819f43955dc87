//! The duration of each step of a first bound token, with an RSA key.
//!
//! The example runs against the emulator, which responds at once; on Azure the steps take longer,
//! the time between them does not. It prints the median trace of 21 mints, without and with
//! attestation, and the percentage by which a mint is longer than the steps that it waits for. It
//! asserts nothing.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

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
/// The simulated duration of an attestation, which the emulator does not have.
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

/// Requests a bound token with a new identity that has nothing cached.
async fn cold_mint(emulator: &Emulator, is_attested: bool) -> Result<Trace, Box<dyn std::error::Error>> {
    let env: Env = emulator.environment().into_iter().collect();
    let http = HyperTransport::builder().root_certificates_pem(emulator.ca_pem().as_bytes()).build()?;
    let recorder = SpanRecorder::default();
    let mut identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env))
        .transport(Timed(SharedTransport::new(http), recorder.clone()))
        .key_provider(TimedKeys(SoftwareKeys::rsa_2048(), recorder.clone()));
    if is_attested {
        identity = identity.attester(TimedAttester(recorder.clone()));
    }
    let identity = identity.build()?;
    let started = recorder.clock.now();
    identity.token("https://vault.example").proof_of_possession().await?;
    let ended = recorder.clock.now();
    let spans = recorder.spans().clone();
    Ok(Trace { started, ended, spans })
}

/// The steps of one mint.
struct Trace {
    started: SystemTime,
    ended: SystemTime,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    step: &'static str,
    from: SystemTime,
    to: SystemTime,
}

impl Trace {
    fn took(&self, step: &str) -> Duration {
        self.spans.iter().filter(|span| span.step == step).map(|span| between(span.from, span.to)).sum()
    }

    /// Returns the time until the certificate is first used.
    fn mint(&self) -> Duration {
        let token = self.spans.iter().find(|span| span.step == "token");
        between(self.started, token.map_or(self.ended, |span| span.from))
    }

    /// Returns the time that every mint has to wait.
    fn unavoidable(&self) -> Duration {
        self.took("key").max(self.took("metadata")) + self.took("attestation") + self.took("issuance")
    }

    /// Returns the time beyond that, in percent.
    fn excess(&self) -> f64 {
        (self.mint().as_secs_f64() / self.unavoidable().as_secs_f64() - 1.0) * 100.0
    }

    fn print(&self) {
        let mut spans = self.spans.clone();
        spans.sort_by_key(|span| span.from);
        for Span { step, from, to } in spans {
            let (start, end) = (millis(between(self.started, from)), millis(between(self.started, to)));
            println!("  {step:<12} {start:>8.2} ms to {end:>8.2} ms: {:>8.2} ms", end - start);
        }
        let (mint, unavoidable) = (millis(self.mint()), millis(self.unavoidable()));
        println!("  the mint took {mint:.2} ms, of which {unavoidable:.2} ms are unavoidable:");
        println!("  {:.1} % more than unavoidable (median of {RUNS})", self.excess());
        println!("  the token arrived after {:.2} ms", millis(between(self.started, self.ended)));
    }
}

fn between(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Records spans; clones share the record.
#[derive(Clone, Debug)]
struct SpanRecorder {
    clock: SharedClock,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Default for SpanRecorder {
    fn default() -> Self {
        Self { clock: SharedClock::system(), spans: Arc::default() }
    }
}

impl SpanRecorder {
    async fn time<T>(&self, step: &'static str, work: impl Future<Output = T>) -> T {
        let from = self.clock.now();
        let done = work.await;
        self.spans().push(Span { step, from, to: self.clock.now() });
        done
    }

    fn spans(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct TimedKeys(SoftwareKeys, SpanRecorder);

impl KeyProvider for TimedKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.1.time("key", self.0.key()).await
    }
}

#[derive(Debug)]
struct TimedAttester(SpanRecorder);

impl Attester for TimedAttester {
    async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        let Self(recorder) = self;
        recorder.time("attestation", recorder.clock.sleep(ATTESTATION)).await;
        Ok(Attestation::new(Secret::new("header.statement.signature"), request.deadline + LIFETIME))
    }
}

#[derive(Debug)]
struct Timed(SharedTransport, SpanRecorder);

impl Transport for Timed {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let step = match request.url().path() {
            "/metadata/identity/getplatformmetadata" => "metadata",
            "/metadata/identity/issuecredential" => "issuance",
            _ => "token",
        };
        self.1.time(step, self.0.send(request)).await
    }
}
