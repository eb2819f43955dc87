//! Refusals, mints and expiries in any order, compared with a model.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join_all, maybe_done};
use proptest::prelude::*;
use symbolon_binding::{Binding, Error, REMINT_COOLDOWN};
use symbolon_types::{CorrelationId, SteadyTime, Thumbprint};

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
    /// The clock is set back, which no deadline depends on.
    Back(u64),
    /// The metadata service refuses the next mint.
    Break,
}

/// Lifetime of a certificate: half of it is longer than several of the longest pauses.
const LIFE: u64 = 2400;

#[derive(Default)]
struct Model {
    current: Option<(Thumbprint, SteadyTime)>,
    wanted: bool,
    last_remint: Option<SteadyTime>,
    /// Number of mints that followed a refusal, less one for each five minutes of success.
    count: u32,
    /// All mints that followed a refusal.
    remints: Vec<SteadyTime>,
}

impl Model {
    fn live(&self, now: SteadyTime) -> Option<Thumbprint> {
        self.current.filter(|(_, until)| now < *until).map(|(thumbprint, _)| thumbprint)
    }

    fn refuse(&mut self, refused: Thumbprint, now: SteadyTime) -> bool {
        if self.live(now) != Some(refused) {
            return true;
        }
        if let Some(at) = self.last_remint {
            let since = now.since(at).as_secs();
            if since < [1, 2, 4, 8, 16, 32, 64, 128, 256].get(self.count as usize - 1).copied().unwrap_or(300)
            {
                return false;
            }
            self.count = self.count.saturating_sub((since / 300) as u32);
        }
        self.count += 1;
        self.current = None;
        self.wanted = true;
        true
    }

    fn check_pauses(&self) {
        for pair in self.remints.windows(2) {
            assert!(pair[1].since(pair[0]) >= Duration::from_secs(1));
        }
        for many in self.remints.windows(11) {
            assert!(many[10].since(many[0]) >= REMINT_COOLDOWN);
        }
    }

    fn minted(&mut self, thumbprint: Thumbprint, now: SteadyTime) {
        self.current = Some((thumbprint, now.plus(Duration::from_secs(LIFE))));
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
        2 => (1u64..20).prop_map(Step::Wait),
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
        let now = env.steady_now();
        match step {
            Step::Wait(seconds) => env.clock.advance(Duration::from_secs(seconds)),
            Step::Back(seconds) => env.clock.set(env.now() - Duration::from_secs(seconds)),
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
                let live = model.live(now);
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
