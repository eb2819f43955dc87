//! The measurements: both clients in turns. The ratio is the median of the ratios of the rounds,
//! because a machine can become slower between two rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::BoxError;
use crate::caller::Caller;

/// The numbers of calls and bytes.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    rounds: usize,
    streaming_rounds: usize,
    /// Calls of a round, one after another.
    latency_calls: usize,
    /// Calls of a round, many at once.
    throughput_calls: usize,
    streamed: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        rounds: 41,
        streaming_rounds: 11,
        latency_calls: 300,
        throughput_calls: 4096,
        streamed: 1 << 30,
    };
    pub(crate) const QUICK: Self =
        Self { rounds: 2, streaming_rounds: 2, latency_calls: 20, throughput_calls: 512, streamed: 4 << 20 };
}

/// The memory by which the process may grow while it streams.
const MEMORY_LIMIT_KIB: u64 = 8 * 1024;

/// Prints a row for each measurement, which begins with the name. A ratio above 1 means that ours
/// is better; `limit` is its least value.
///
/// Each round of a measurement on one connection opens another: the cores on which its two ends run
/// decide half of its time, and stay the same as long as it lives.
pub(crate) async fn measure<O: Caller, T: Caller>(
    name: &str,
    new_ours: impl AsyncFn() -> Result<O, BoxError>,
    new_theirs: impl AsyncFn() -> Result<T, BoxError>,
    sizes: Sizes,
    only: Option<&str>,
    limit: f64,
) -> Result<(), BoxError> {
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);
    if is_wanted("latency") {
        let calls = sizes.latency_calls;
        let mut rounds = Rounds::default();
        for _ in 0..sizes.rounds {
            let (ours, theirs) = (opened(&new_ours).await?, opened(&new_theirs).await?);
            rounds.push(one_after_another(&ours, calls).await?, one_after_another(&theirs, calls).await?);
        }
        let micros = |seconds: f64| format!("{:.0} µs", seconds * 1e6 / calls as f64);
        rounds.print(&format!("{name}, one after another"), micros, limit);
    }
    for count in [64, 256].into_iter().filter(|_| is_wanted("throughput")) {
        let calls = sizes.throughput_calls;
        let (ours, theirs) = (new_ours().await?, new_theirs().await?);
        at_once(&ours, count, count).await?;
        at_once(&theirs, count, count).await?;
        let mut rounds = Rounds::default();
        for _ in 0..sizes.rounds {
            rounds.push(at_once(&ours, count, calls).await?, at_once(&theirs, count, calls).await?);
        }
        let rate = |seconds: f64| format!("{:.0} /s", calls as f64 / seconds);
        rounds.print(&format!("{name}, {count} at once"), rate, limit);
    }
    if is_wanted("streaming") {
        let size = sizes.streamed;
        let rate = |seconds: f64| format!("{:.0} MiB/s", size as f64 / 1_048_576.0 / seconds);
        for direction in ["down", "up"] {
            let mut rounds = Rounds::default();
            let mut growth = 0;
            for _ in 0..sizes.streaming_rounds {
                let (ours, theirs) = (opened(&new_ours).await?, opened(&new_theirs).await?);
                let (time, grown) = with_memory(stream(&ours, direction, size)).await?;
                growth = growth.max(grown);
                rounds.push(time, stream(&theirs, direction, size).await?);
            }
            rounds.print(&format!("{name}, {} MiB {direction}", size >> 20), rate, limit.min(0.95));
            let is_met = growth < MEMORY_LIMIT_KIB;
            println!(
                "| {name}, memory growth, {direction} | {growth} KiB | | | {MEMORY_LIMIT_KIB} KiB | {} |",
                verdict(is_met)
            );
        }
    }
    Ok(())
}

/// Returns a new client with an open connection.
async fn opened<C: Caller>(new: impl AsyncFn() -> Result<C, BoxError>) -> Result<C, BoxError> {
    let caller = new().await?;
    one_after_another(&caller, 8).await?;
    Ok(caller)
}

/// The durations of the rounds, in seconds.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Rounds {
    fn push(&mut self, ours: Duration, theirs: Duration) {
        self.ours.push(ours.as_secs_f64());
        self.theirs.push(theirs.as_secs_f64());
    }

    fn print(&mut self, name: &str, shown: impl Fn(f64) -> String, limit: f64) {
        let mut ratios: Vec<f64> =
            self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs / ours).collect();
        let ratio = median(&mut ratios);
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        println!(
            "| {name} | {} | {} | {ratio:.2} × | {limit:.2} × | {} |",
            shown(ours),
            shown(theirs),
            verdict(ratio >= limit)
        );
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn one_after_another(caller: &impl Caller, calls: usize) -> Result<Duration, BoxError> {
    // In a task, so that both run on a worker of the runtime.
    let caller = caller.clone();
    tokio::spawn(async move {
        let start = Instant::now();
        for _ in 0..calls {
            caller.get().await?;
        }
        Ok(start.elapsed())
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

async fn stream(caller: &impl Caller, direction: &str, size: usize) -> Result<Duration, BoxError> {
    let start = Instant::now();
    let caller = caller.clone();
    let is_down = direction == "down";
    let streamed =
        tokio::spawn(
            async move { if is_down { caller.download(size).await } else { caller.upload(size).await } },
        );
    let streamed = streamed.await??;
    if streamed != size {
        return Err(format!("{streamed} bytes arrived, not {size}").into());
    }
    Ok(start.elapsed())
}

/// Returns the output, and the growth of the resident memory meanwhile, in KiB.
async fn with_memory<T>(work: impl Future<Output = Result<T, BoxError>>) -> Result<(T, u64), BoxError> {
    let before = resident();
    let most = Arc::new(AtomicU64::new(before));
    let is_done = Arc::new(AtomicBool::new(false));
    let sampler = std::thread::spawn({
        let (most, is_done) = (Arc::clone(&most), Arc::clone(&is_done));
        move || {
            while !is_done.load(Ordering::Relaxed) {
                most.fetch_max(resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let output = work.await;
    is_done.store(true, Ordering::Relaxed);
    let _ended = sampler.join();
    Ok((output?, most.load(Ordering::Relaxed) - before))
}

/// Returns the resident memory of this process in KiB; 0 where it is not known.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
