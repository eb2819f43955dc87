//! Progress on a terminal.

use symbolon_emulator::{Fault, Step};

use crate::run::{RunResult, TestEnv, at_terminal, symbolon};

const REQUEST: &[&str] = &["token", "--resource", "https://vault.azure.net"];
const PROGRESS: &str = "response: HTTP 503; attempt 2 in 1 s …";

fn busy() -> TestEnv {
    TestEnv::with(|emulator| emulator.fault(Fault::status(Step::ImdsToken, 503).once()))
}

#[test]
fn terminal_shows_retries() {
    let env = busy();
    let Some(ran) = at_terminal(symbolon().args(REQUEST).envs(env.emulator.environment())) else { return };
    assert!(ran.code == 0 && ran.stdout.contains(PROGRESS) && ran.stdout.contains("token type"), "{ran:?}");
}

#[test]
fn pipe_shows_no_progress() {
    let env = busy();
    let ran = RunResult::of(env.symbolon().env("SYMBOLON_RETRY_SCALE", "1").args(REQUEST).output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 2);
}
