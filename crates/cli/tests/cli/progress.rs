//! What is told while one waits.

use symbolon_emulator::{Fault, Step};

use crate::run::{Ran, World, at_terminal, symbolon};

const ASK: &[&str] = &["token", "--resource", "https://vault.azure.net"];
const TOLD: &str = "the answer was HTTP 503; attempt 2 in 1 s …";

fn busy() -> World {
    World::with(|emulator| emulator.fault(Fault::status(Step::ImdsToken, 503).once()))
}

#[test]
fn who_sits_at_a_terminal_is_told_of_retries() {
    let world = busy();
    let Some(ran) = at_terminal(symbolon().args(ASK).envs(world.emulator.environment())) else { return };
    assert!(ran.code == 0 && ran.stdout.contains(TOLD) && ran.stdout.contains("token type"), "{ran:?}");
}

#[test]
fn a_program_is_told_nothing_but_the_result() {
    let world = busy();
    let ran = Ran::of(world.symbolon().env("SYMBOLON_RETRY_SCALE", "1").args(ASK).output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(world.emulator.journal().count(Step::ImdsToken), 2);
}
