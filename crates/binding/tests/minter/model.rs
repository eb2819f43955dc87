//! Refusals, mints and expiries in any order, compared with a model.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{join_all, maybe_done};
use proptest::prelude::*;
use symbolon_binding::{Binding, Error, REMINT_COOLDOWN};
use symbolon_types::{CorrelationId, Thumbprint};

use crate::issuer::{Plan, TestEnv, answer, drive};

#[derive(Clone, Debug)]
enum Step {
    /// Several callers request the binding at once, and the first of them give up.
    Ask {
        together: usize,
        give_up: usize,
    },
    /// The certificate issued this many before the last one is refused.
    Refuse(usize),
    Wait(u64),
    /// The clock is set back.
    Back(u64),
    /// The metadata service refuses the next mint.
    Break,
}

/// Lifetime of a certificate: half of it is longer than several cooldowns.
const LIFE: u64 = 2400;

#[derive(Default)]
struct Model {
    current: Option<(Thumbprint, SystemTime)>,
    /// A caller has found the certificate expired.
    seen_over: bool,
    wanted: bool,
    last_remint: Option<SystemTime>,
    /// Mints that followed a refusal, since the clock was last set back.
    remints: Vec<SystemTime>,
}

impl Model {
    fn live(&self, now: SystemTime) -> Option<Thumbprint> {
        self.current.filter(|(_, until)| now < *until).map(|(thumbprint, _)| thumbprint)
    }

    /// Like [`live`](Self::live), and records an expired certificate.
    fn seen(&mut self, now: SystemTime) -> Option<Thumbprint> {
        let live = self.live(now);
        self.seen_over |= live.is_none();
        live
    }

    /// Limits how far the clock is set back: a certificate that was found expired stays expired,
    /// because its state depends on the progress of its replacement.
    fn back_to(&self, earlier: SystemTime) -> SystemTime {
        let over = self.current.filter(|_| self.seen_over);
        over.map_or(earlier, |(_, until)| earlier.max(until))
    }

    fn refuse(&mut self, refused: Thumbprint, now: SystemTime) -> bool {
        if self.seen(now) != Some(refused) {
            return true;
        }
        let is_pausing = |at| now.duration_since(at).is_ok_and(|since| since < REMINT_COOLDOWN);
        if self.last_remint.is_some_and(is_pausing) {
            return false;
        }
        self.current = None;
        self.wanted = true;
        true
    }

    fn check_pauses(&self) {
        for pair in self.remints.windows(2) {
            assert!(pair[1].duration_since(pair[0]).unwrap() >= REMINT_COOLDOWN);
        }
    }

    fn minted(&mut self, thumbprint: Thumbprint, now: SystemTime) {
        self.current = Some((thumbprint, now + Duration::from_secs(LIFE)));
        self.seen_over = false;
        if std::mem::take(&mut self.wanted) {
            self.last_remint = Some(now);
            self.remints.push(now);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1usize..6, 0usize..6).prop_map(|(together, give_up)| Step::Ask { together, give_up }),
        4 => (0usize..3).prop_map(Step::Refuse),
        3 => (1u64..900).prop_map(Step::Wait),
        1 => (1u64..600).prop_map(Step::Back),
        1 => Just(Step::Break),
    ];
    proptest::collection::vec(step, 1..60)
}

async fn holds_to_the_model(steps: Vec<Step>) {
    let env = TestEnv::new().await;
    env.issuer.plan(Plan { valid: (0, LIFE.cast_signed()), ..Plan::default() });
    let mut model = Model::default();
    let mut known = 0;
    for step in steps {
        let now = env.now();
        match step {
            Step::Wait(seconds) => env.clock.advance(Duration::from_secs(seconds)),
            Step::Back(seconds) => {
                env.clock.set(model.back_to(now - Duration::from_secs(seconds)));
                model.check_pauses();
                model.remints.clear();
            }
            Step::Break => env.issuer.fail([Ok(answer(403, Some("IMDS/1"), ""))]),
            Step::Refuse(before) => {
                let issued = env.issuer.issued();
                let Some(refused) = issued.iter().rev().nth(before).copied() else { continue };
                assert_eq!(env.minter.report_refusal(&env.id, refused), model.refuse(refused, now));
                let current = model.live(now);
                let kept = env.minter.current(&env.id).map(|binding| binding.identity().thumbprint());
                assert!(kept.is_none() || kept == current);
            }
            Step::Ask { together, give_up } => {
                let live = model.seen(now);
                let answers = ask(&env, together, give_up).await;
                for answer in &answers {
                    if let Some(live) = live {
                        assert_eq!(answer.as_ref().unwrap().identity().thumbprint(), live);
                    }
                }
                // A renewal may be running.
                env.settle().await;
                let issued = env.issuer.issued();
                assert!(issued.len() <= known + 1);
                if issued.len() > known {
                    known = issued.len();
                    model.minted(issued[known - 1], now);
                }
                for minted in answers.into_iter().flatten().filter(|_| live.is_none()) {
                    assert_eq!(minted.identity().thumbprint(), issued[known - 1]);
                }
            }
        }
    }
    model.check_pauses();
}

/// Returns the results of the callers that do not give up.
async fn ask(env: &TestEnv, together: usize, give_up: usize) -> Vec<Result<Binding, Error>> {
    env.issuer.hold(true);
    let ask = |_| Box::pin(maybe_done(env.minter.binding(&env.id, CorrelationId::random())));
    let mut asked: Vec<_> = (0..together).map(ask).collect();
    for one in &mut asked {
        one.now_or_never();
    }
    asked.drain(..give_up.min(together));
    env.issuer.hold(false);
    drive(&env.clock, join_all(&mut asked)).await;
    asked.iter_mut().map(|one| one.as_mut().take_output().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn minter_matches_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(holds_to_the_model(steps));
    }
}
