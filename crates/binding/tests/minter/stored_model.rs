//! Two processes with one store, compared with a model.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use symbolon_binding::REMINT_COOLDOWN;
use symbolon_types::{CorrelationId, Thumbprint};

use crate::issuer::{Plan, TestEnv, answer};

#[derive(Clone, Debug)]
enum Step {
    /// A process requests the binding.
    Ask(usize),
    /// A process reports a refusal of the certificate issued this many before the last one.
    Refuse(usize, usize),
    /// A process ends, and another one starts.
    Restart(usize),
    Wait(u64),
    /// The metadata service refuses the next request.
    Break,
}

/// Lifetime of a certificate in seconds.
const LIFE: u64 = 2400;

#[derive(Clone, Copy)]
struct Certificate {
    thumbprint: Thumbprint,
    minted_at: SystemTime,
}

impl Certificate {
    fn lives(self, now: SystemTime) -> bool {
        now < self.minted_at + Duration::from_secs(LIFE)
    }

    fn is_due(self, now: SystemTime) -> bool {
        now >= self.minted_at + Duration::from_secs(LIFE / 2)
    }
}

/// State of one process.
#[derive(Default)]
struct Process {
    current: Option<Certificate>,
    refused: Vec<Thumbprint>,
    wanted: bool,
    last_remint: Option<SystemTime>,
    /// Number of mints that followed a refusal, less one for each five minutes of success.
    count: usize,
}

impl Process {
    fn live(&self, now: SystemTime) -> Option<Certificate> {
        self.current.filter(|certificate| certificate.lives(now))
    }

    fn refuse(&mut self, refused: Thumbprint, now: SystemTime) -> bool {
        if self.live(now).map(|certificate| certificate.thumbprint) != Some(refused) {
            return true;
        }
        if let Some(at) = self.last_remint {
            let since = now.duration_since(at).unwrap();
            if since < REMINT_COOLDOWN.min(Duration::from_secs(1 << (self.count - 1))) {
                return false;
            }
            self.count = self.count.saturating_sub((since.as_secs() / REMINT_COOLDOWN.as_secs()) as usize);
        }
        self.count += 1;
        self.current = None;
        self.refused.push(refused);
        self.wanted = true;
        true
    }

    fn got(&mut self, certificate: Certificate, now: SystemTime) {
        self.current = Some(certificate);
        if std::mem::take(&mut self.wanted) {
            self.last_remint = Some(now);
        }
    }

    /// Returns the stored certificate if this process uses it.
    fn usable(&self, stored: Option<Certificate>, now: SystemTime) -> Option<Certificate> {
        stored.filter(|found| !found.is_due(now) && !self.refused.contains(&found.thumbprint))
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..2).prop_map(Step::Ask),
        3 => (0usize..2, 0usize..3).prop_map(|(process, before)| Step::Refuse(process, before)),
        1 => (0usize..2).prop_map(Step::Restart),
        3 => (1u64..900).prop_map(Step::Wait),
        1 => Just(Step::Break),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn hold_to_the_model(steps: Vec<Step>) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let first = TestEnv::with(|builder| builder.store(&folder)).await;
    first.issuer.plan(Plan { valid: (0, LIFE.cast_signed()), ..Plan::default() });
    let start = || first.another(|builder| builder.store(&folder));
    let mut envs = [start(), start()];
    let mut processes = [Process::default(), Process::default()];
    let (mut stored, mut is_broken, mut mints) = (None::<Certificate>, false, 0);
    for step in steps {
        let now = first.now();
        match step {
            Step::Wait(seconds) => first.clock.advance(Duration::from_secs(seconds)),
            Step::Break => is_broken = true,
            Step::Restart(at) => {
                envs[at] = start();
                processes[at] = Process::default();
            }
            Step::Refuse(at, before) => {
                let Some(refused) = first.issuer.issued().iter().rev().nth(before).copied() else { continue };
                let (env, process) = (&envs[at], &mut processes[at]);
                assert_eq!(env.minter.report_refusal(&env.id, refused), process.refuse(refused, now));
            }
            Step::Ask(at) => {
                let (env, process) = (&envs[at], &mut processes[at]);
                let live = process.live(now);
                let needs_nothing = live.is_some_and(|certificate| !certificate.is_due(now));
                // Failing renewals are covered by the model of one process.
                let fails = live.is_none() && std::mem::take(&mut is_broken);
                if fails {
                    first.issuer.fail([Ok(answer(403, Some("IMDS/1"), ""))]);
                }
                let asked = env.minter.binding(&env.id, CorrelationId::random()).await;
                let answered = asked.as_ref().ok().map(|binding| binding.identity().thumbprint());
                let is_current = |old: Certificate| {
                    let current = env.minter.current(&env.id);
                    current.is_some_and(|binding| binding.identity().thumbprint() == old.thumbprint)
                };
                // A renewal runs in the background.
                while !needs_nothing && live.is_some_and(is_current) {
                    tokio::task::yield_now().await;
                }
                let found = if needs_nothing { live } else { process.usable(stored, now) };
                mints += usize::from(found.is_none() && !fails);
                let issued = first.issuer.issued();
                assert_eq!(issued.len(), mints, "a certificate is issued where none can be taken");
                if fails {
                    assert_eq!(answered, None);
                    continue;
                }
                let got =
                    found.unwrap_or_else(|| Certificate { thumbprint: issued[mints - 1], minted_at: now });
                let current = env.minter.current(&env.id).unwrap().identity().thumbprint();
                assert_eq!((answered, current), (Some(live.unwrap_or(got).thumbprint), got.thumbprint));
                if found.is_none() {
                    stored = Some(got);
                }
                process.got(got, now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_processes_match_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(hold_to_the_model(steps));
    }
}
