//! Mixed traffic of many processes while Redis is killed, paused and failed over.

use std::time::{Duration, Instant};

use symbolon_test_programs::Redis;

use crate::process::TokenProcess;
use crate::service::TokenService;
use crate::{BoxError, StoreOptions};

const EXCHANGE: Duration = Duration::from_millis(50);
/// Short, so that tokens are renewed and expire during the run.
const LIFETIME: Duration = Duration::from_secs(360);
/// The time of quiet between two events.
const QUIET: Duration = Duration::from_secs(3);

/// Returns true if no request failed.
pub fn run(options: StoreOptions) -> Result<bool, BoxError> {
    let missing = "Redis is missing";
    let service = TokenService::start(EXCHANGE, LIFETIME)?;
    let first = Redis::start(&[]).ok_or(missing)?;
    let second = Redis::start(&["--replicaof", "127.0.0.1", &first.port().to_string()]).ok_or(missing)?;
    let sentinel = Redis::start_sentinel(first.port()).ok_or(missing)?;
    let mut servers = [first, second];
    let replica = servers[1].port().to_string();
    sentinel.wait_for(&["SENTINEL", "REPLICAS", "main"], |list| list.contains(&replica));
    let store = format!("sentinel:{}", sentinel.url());
    let start = || TokenProcess::start(service.address(), &store);
    let mut processes = (0..options.callers).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    for process in &mut processes {
        process.send("traffic")?;
    }
    let began = Instant::now();
    let mut events = 0;
    while began.elapsed() < options.chaos {
        std::thread::sleep(QUIET);
        let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        let is_primary = |redis: &Redis| address.ends_with(&redis.port().to_string());
        let primary = servers.iter().position(is_primary).unwrap_or(0);
        match events % 4 {
            // Long enough for a failover.
            0 => {
                servers[primary].pause();
                std::thread::sleep(QUIET);
                servers[primary].resume();
            }
            1 => {
                servers[primary].pause();
                std::thread::sleep(QUIET / 10);
                servers[primary].resume();
            }
            2 => {
                sentinel.command(&["SENTINEL", "FAILOVER", "main"]);
            }
            _ => {
                servers[primary].stop();
                std::thread::sleep(QUIET);
                servers[primary].run();
            }
        }
        events += 1;
    }
    let (mut requests, mut failures, mut slowest) = (0, 0, 0);
    for process in &mut processes {
        process.end_input();
        let line = process.line()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [sent, failed, slow] = numbers[..] else {
            return Err(format!("a process printed {line}").into());
        };
        requests += sent;
        failures += failed;
        slowest = slowest.max(slow);
    }
    let exchanges = service.take_exchanges();
    println!(
        "chaos: {} processes, {events} events, {requests} requests, {failures} failed, {exchanges} exchanges, \
         slowest request {slowest} ms",
        options.callers
    );
    Ok(failures == 0 && requests > 0)
}
