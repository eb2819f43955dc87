//! Many processes that share tokens through one Redis: cold starts, a lost Redis, reads, chaos.
//!
//! Each process is a real one: this program, started again. The token service is a socket of the
//! first process, which counts exchanges and takes a fixed time for each.

mod chaos;
mod cold;
mod process;
mod read;
mod service;

use std::process::ExitCode;
use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
Usage: cargo xtask bench store [-- [cold] [lost] [read] [chaos] [OPTIONS]]

  cold    processes without a token start at once: at most 2 exchanges, each process is served
          within 1.2 times the duration of an exchange and 50 ms
  lost    the same while Redis is killed: no process fails
  read    a read through the store against a bare GET: at most 1.3 times the duration
  chaos   mixed traffic while Redis is killed, paused and failed over: no request fails

  --processes N     processes of `cold` and `lost` (200)
  --exchange-ms N   duration of an exchange (300)
  --rounds N        repetitions of `cold` and `lost` (3)
  --seconds N       duration of `chaos` (600)
  --callers N       processes of `chaos` (20)
";

/// The options of a run.
#[derive(Clone, Copy)]
struct StoreOptions {
    processes: usize,
    exchange: Duration,
    rounds: usize,
    chaos: Duration,
    callers: usize,
}

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
    if let [role, service, store] = &arguments[..]
        && role == process::ROLE
    {
        process::run(service, store)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = StoreOptions {
        processes: number("--processes", 200)?.try_into()?,
        exchange: Duration::from_millis(number("--exchange-ms", 300)?),
        rounds: number("--rounds", 3)?.try_into()?,
        chaos: Duration::from_secs(number("--seconds", 600)?),
        callers: number("--callers", 20)?.try_into()?,
    };
    let has_any = ["cold", "lost", "read", "chaos"].iter().any(|name| has(name));
    let is_chosen = |name: &str| !has_any || has(name);
    let mut is_good = true;
    if is_chosen("cold") {
        is_good &= cold::run(options, false)?;
    }
    if is_chosen("lost") {
        is_good &= cold::run(options, true)?;
    }
    if is_chosen("read") {
        is_good &= read::run()?;
    }
    if is_chosen("chaos") {
        is_good &= chaos::run(options)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
