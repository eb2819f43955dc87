//! Processes without a token that start at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use symbolon_test_programs::Redis;

use crate::process::{NO_STORE, TokenProcess};
use crate::service::TokenService;
use crate::{BoxError, StoreOptions};

/// The time in which the processes receive their starting time.
const COUNTDOWN: Duration = Duration::from_millis(500);
const LIFETIME: Duration = Duration::from_secs(3600);

/// Returns true if the processes were served with few exchanges and in time; with a lost Redis, if
/// all were served.
pub fn run(options: StoreOptions, loses_redis: bool) -> Result<bool, BoxError> {
    let service = TokenService::start(options.exchange, LIFETIME)?;
    let mut is_good = true;
    for _ in 0..options.rounds {
        let mut redis = Redis::start(&[]).ok_or("Redis is missing")?;
        let alone = round(&service, 1, NO_STORE, || ())?;
        let one = alone.slowest;
        service.take_exchanges();
        let url = redis.url();
        let served = round(&service, options.processes, &url, || {
            if loses_redis {
                std::thread::sleep(options.exchange / 2);
                redis.stop();
            }
        })?;
        let exchanges = service.take_exchanges();
        let limit = one.mul_f64(1.2) + Duration::from_millis(50);
        let name = if loses_redis { "lost" } else { "cold" };
        println!(
            "{name}: {} processes, {} failed, {exchanges} exchanges; one exchange {one:?}, \
             median {:?}, slowest {:?}, limit {limit:?}",
            options.processes, served.failed, served.median, served.slowest
        );
        is_good &= served.failed == 0 && (loses_redis || exchanges <= 2 && served.slowest <= limit);
    }
    Ok(is_good)
}

struct RoundResult {
    failed: usize,
    median: Duration,
    slowest: Duration,
}

fn round(
    service: &TokenService,
    count: usize,
    store: &str,
    meanwhile: impl FnOnce(),
) -> Result<RoundResult, BoxError> {
    let start = || TokenProcess::start(service.address(), store);
    let mut processes = (0..count).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH)? + COUNTDOWN;
    for process in &mut processes {
        process.send(&format!("once {}", at.as_millis()))?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    std::thread::sleep(at.saturating_sub(now));
    meanwhile();
    let mut times = Vec::new();
    for process in &mut processes {
        let line = process.line()?;
        match line.split_once(' ').and_then(|(micros, _)| micros.parse().ok()) {
            Some(micros) => times.push(Duration::from_micros(micros)),
            None => println!("{line}"),
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(RoundResult {
        failed: count - times.len(),
        median,
        slowest: times.last().copied().unwrap_or_default(),
    })
}
