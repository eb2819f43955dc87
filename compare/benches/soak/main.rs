//! Many callers of one client for minutes, while its certificates live for seconds.
//!
//! No call may fail, and none may begin with a certificate after its end. File descriptors and
//! memory stay flat. The emulator runs in a process of its own, so that they are the client's.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use symbolon_testing::Emulator;
use symbolon_testing::symbolon::parts::client::{Client, Connections};
use symbolon_testing::symbolon::{Context, Env, ManagedIdentity, SoftwareKeys};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const RESOURCE: &str = "https://resource.example";
/// The interval between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// The growth of memory, from the first third of the run to the last, that is not a leak.
const MEMORY_LIMIT_KIB: u64 = 8 * 1024;
const USAGE: &str = "\
Usage: cargo xtask soak [-- OPTIONS]

  --seconds N     duration of the run (120)
  --callers N     callers at once (200)
  --lifetime N    lifetime of a certificate in seconds (15)
  --http1         HTTP/1.1 instead of HTTP/2
";

fn main() -> Result<ExitCode, BoxError> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(Ok(default), |at| arguments.get(at + 1).map_or("", String::as_str).parse())
    };
    if has("--help") || has("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lifetime = Duration::from_secs(number("--lifetime", 15)?);
    if has("serve") {
        runtime.block_on(serve(lifetime))?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = SoakRun {
        duration: Duration::from_secs(number("--seconds", 120)?),
        callers: number("--callers", 200)?,
        lifetime,
        http2: !has("--http1"),
    };
    let is_good = runtime.block_on(run.run())?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the variables and the URL of an emulator, and runs it until stdin ends.
async fn serve(lifetime: Duration) -> Result<(), BoxError> {
    let emulator = Emulator::builder().certificate_lifetime(lifetime).token_not_after(None).start().await?;
    for (name, value) in emulator.environment() {
        println!("{name}={value}");
    }
    println!("RESOURCE={}\n", emulator.resource_url());
    let _ended = std::io::stdin().read_line(&mut String::new());
    Ok(())
}

/// The emulator, in a process of its own. It ends when this is dropped.
struct EmulatorProcess {
    child: Child,
    variables: Vec<(String, String)>,
}

impl EmulatorProcess {
    fn start(lifetime: Duration) -> Result<Self, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--lifetime", &lifetime.as_secs().to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let printed = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let mut variables = Vec::new();
        for line in printed {
            let line = line?;
            let Some((name, value)) = line.split_once('=') else { break };
            variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self { child, variables })
    }

    fn env(&self) -> Env {
        self.variables.iter().cloned().collect()
    }
}

impl Drop for EmulatorProcess {
    fn drop(&mut self) {
        // The end of stdin lets the emulator remove its files.
        drop(self.child.stdin.take());
        let _reaped = self.child.wait();
    }
}

struct SoakRun {
    duration: Duration,
    callers: u64,
    lifetime: Duration,
    http2: bool,
}

/// The counters that the callers share.
#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    failed: AtomicU64,
    /// Calls that began with a certificate after its end.
    late: AtomicU64,
    is_over: AtomicBool,
    /// The ends of the certificates, by thumbprint.
    ends: Mutex<HashMap<String, SystemTime>>,
}

/// The state of the process at one time.
struct Sample {
    descriptors: u64,
    resident_kib: u64,
}

impl SoakRun {
    /// Returns true if the run kept all promises.
    async fn run(&self) -> Result<bool, BoxError> {
        let emulator = EmulatorProcess::start(self.lifetime)?;
        let env = emulator.env();
        let url = env.var("RESOURCE").ok_or("the emulator did not start")?;
        let context = Context::default().with_env(env);
        let identity = ManagedIdentity::builder().context(context.clone());
        let identity = identity.key_provider(SoftwareKeys::p256()).build()?;
        let connections = Connections::builder().context(context).http2(self.http2).build()?;
        let client = identity.client(RESOURCE).proof_of_possession().connections(connections).build()?;

        let counters = Arc::new(Counters::default());
        let callers: Vec<_> = (0..self.callers)
            .map(|_| tokio::spawn(call(client.clone(), identity.clone(), url.clone(), Arc::clone(&counters))))
            .collect();
        let samples = self.observe(&counters).await;
        counters.is_over.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await?;
        }
        Ok(self.judge(&counters, &samples))
    }

    async fn observe(&self, counters: &Counters) -> Vec<Sample> {
        let mut samples = Vec::new();
        println!("second     calls  certificates  descriptors  resident KiB  failed  late");
        for second in 1..=self.duration.as_secs() {
            tokio::time::sleep(INTERVAL).await;
            let sample = Sample { descriptors: descriptors(), resident_kib: resident() };
            if second % 10 == 0 || second == self.duration.as_secs() {
                println!(
                    "{second:>6} {:>9} {:>13} {:>12} {:>13} {:>7} {:>5}",
                    counters.calls.load(Ordering::Relaxed),
                    counters.ends().len(),
                    sample.descriptors,
                    sample.resident_kib,
                    counters.failed.load(Ordering::Relaxed),
                    counters.late.load(Ordering::Relaxed)
                );
            }
            samples.push(sample);
        }
        samples
    }

    fn judge(&self, counters: &Counters, samples: &[Sample]) -> bool {
        let third = samples.len() / 3;
        let most = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
        let growth = |of: fn(&Sample) -> u64| {
            most(&samples[samples.len() - third..], of).saturating_sub(most(&samples[..third], of))
        };
        let (failed, late) = (counters.failed.load(Ordering::Relaxed), counters.late.load(Ordering::Relaxed));
        let certificates = counters.ends().len() as u64;
        // A certificate is renewed after half of its lifetime.
        let expected = self.duration.as_secs() / self.lifetime.as_secs().max(1);
        let results = [
            ("failed calls", failed, failed == 0),
            ("calls with a certificate after its end", late, late == 0),
            ("certificates", certificates, certificates >= expected),
            (
                "more descriptors at the end",
                growth(|sample| sample.descriptors),
                growth(|sample| sample.descriptors) <= 4 + self.callers / 10,
            ),
            (
                "more resident KiB at the end",
                growth(|sample| sample.resident_kib),
                growth(|sample| sample.resident_kib) < MEMORY_LIMIT_KIB,
            ),
        ];
        for (name, value, is_good) in results {
            println!("{:<40} {value:>8}  {}", name, if is_good { "good" } else { "BAD" });
        }
        results.iter().all(|(_, _, is_good)| *is_good)
    }
}

impl Counters {
    fn ends(&self) -> std::sync::MutexGuard<'_, HashMap<String, SystemTime>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of a certificate, which is the current one if it is new.
    fn end_of(&self, thumbprint: &str, identity: &ManagedIdentity) -> Option<SystemTime> {
        let mut ends = self.ends();
        if !ends.contains_key(thumbprint) {
            let binding = identity.binding()?;
            let current = binding.identity();
            ends.insert(current.thumbprint().to_string(), current.not_after());
        }
        ends.get(thumbprint).copied()
    }
}

async fn call(client: Client, identity: ManagedIdentity, url: String, counters: Arc<Counters>) {
    while !counters.is_over.load(Ordering::Relaxed) {
        let began = SystemTime::now();
        match call_once(&client, &url).await {
            Ok(thumbprint) => {
                let end = counters.end_of(&thumbprint, &identity);
                if end.is_none_or(|end| end <= began) {
                    counters.late.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => {
                if counters.failed.fetch_add(1, Ordering::Relaxed) < 10 {
                    eprintln!("a call failed: {error:?}");
                }
            }
        }
        counters.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls once, and returns the thumbprint of the certificate.
async fn call_once(client: &Client, url: &str) -> Result<String, BoxError> {
    let response = client.get(url).send().await?.error_for_status()?;
    let seen: serde_json::Value = response.json().await?;
    Ok(seen["x5t#S256"].as_str().ok_or("the token is not bound")?.to_owned())
}

/// Returns the number of open file descriptors; 0 where it is not known.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}

/// Returns the resident memory of this process in KiB; 0 where it is not known.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
