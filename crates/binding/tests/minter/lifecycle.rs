//! Lifetime of bindings.

use std::sync::OnceLock;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures_util::FutureExt;
use futures_util::future::join_all;
use symbolon_binding::{KeyProvider, ManagedIdentityId, REMINT_COOLDOWN, SoftwareKeys};
use symbolon_types::{CorrelationId, Thumbprint};

use crate::issuer::{DAY, HOUR, OneKey, Plan, TestEnv, answer, der_time, drive};

fn down() -> impl Iterator<Item = Result<symbolon_transport::Response, symbolon_transport::TransportError>> {
    (0..100).map(|_| Ok(answer(403, Some("IMDS/1"), "")))
}

async fn thumbprint(env: &TestEnv) -> Thumbprint {
    env.binding().await.unwrap().identity().thumbprint()
}

#[tokio::test]
async fn no_binding_before_the_first_mint() {
    let env = TestEnv::new().await;
    assert!(env.minter.current(&env.id).is_none());
    let minted = thumbprint(&env).await;
    assert_eq!(env.minter.current(&env.id).map(|binding| binding.identity().thumbprint()), Some(minted));
    assert_eq!((thumbprint(&env).await, env.mints()), (minted, 1));
}

#[tokio::test]
async fn cached_binding_allocates_nothing() {
    let env = TestEnv::new().await;
    let minted = env.binding().await.unwrap();
    let correlation_id = CorrelationId::random();
    let mut served = (None, None);
    let counted = allocation_counter::measure(|| {
        let waited = env.minter.binding(&env.id, correlation_id).now_or_never().and_then(Result::ok);
        served = (env.minter.current(&env.id), waited);
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    for binding in [served.0, served.1] {
        assert_eq!(binding.unwrap().identity(), minted.identity());
    }
}

#[tokio::test]
async fn concurrent_callers_share_one_mint() {
    let env = TestEnv::new().await;
    let callers = (0..100).map(|_| env.minter.binding(&env.id, CorrelationId::random()));
    let (bindings, _) = drive(&env.clock, join_all(callers)).await;
    let first = bindings[0].as_ref().unwrap().identity().clone();
    assert!(bindings.iter().all(|binding| *binding.as_ref().unwrap().identity() == first));
    assert_eq!((env.mints(), env.issuer.requests().len()), (1, 2));
}

#[tokio::test]
async fn identities_have_separate_bindings() {
    let mut env = TestEnv::new().await;
    let one = thumbprint(&env).await;
    env.id = ManagedIdentityId::client_id("other").unwrap();
    assert!(env.minter.current(&env.id).is_none());
    assert_ne!(thumbprint(&env).await, one);
    assert_eq!(env.mints(), 2);
}

#[tokio::test]
async fn old_binding_is_served_during_renewal() {
    let env = TestEnv::new().await;
    let old = thumbprint(&env).await;
    env.clock.advance(7 * DAY - Duration::from_secs(1));
    assert!(env.minter.current(&env.id).is_some());
    env.clock.advance(Duration::from_secs(1));
    assert!(env.minter.current(&env.id).is_none());
    env.issuer.hold(true);
    for _ in 0..50 {
        assert_eq!(thumbprint(&env).await, old);
    }
    env.issuer.hold(false);
    env.settle().await;
    assert_eq!(env.mints(), 2);
    assert_eq!(thumbprint(&env).await, env.issuer.issued()[1]);
}

#[tokio::test]
async fn failed_renewal_keeps_the_old_binding() {
    let env = TestEnv::new().await;
    let old = thumbprint(&env).await;
    env.clock.advance(8 * DAY);
    env.issuer.fail(down());
    for _ in 0..50 {
        assert_eq!(thumbprint(&env).await, old);
        env.settle().await;
    }
    assert_eq!(env.issuer.requests().len(), 3, "one renewal was tried");
    // It is served until it expires, whatever the metadata service does.
    env.clock.advance(6 * DAY - Duration::from_secs(1));
    assert_eq!(thumbprint(&env).await, old);
    env.settle().await;
    env.clock.advance(Duration::from_secs(1));
    assert_eq!(env.binding().await.unwrap_err().code(), "managed_identity_request_failed");
    env.issuer.forget_faults();
    assert_ne!(thumbprint(&env).await, old);
}

#[tokio::test]
async fn binding_is_not_served_after_it_expires() {
    for capped in [false, true] {
        let env = TestEnv::new().await;
        let end = env.now() + 2 * HOUR;
        let plan = match capped {
            true => Plan { token_not_after: Some(der_time(end)), ..Plan::default() },
            false => Plan { valid: (0, 7200), ..Plan::default() },
        };
        env.issuer.plan(plan);
        let old = thumbprint(&env).await;
        // Half of the two hours, because the earlier end counts.
        env.clock.advance(HOUR);
        assert!(env.minter.current(&env.id).is_none());
        env.clock.advance(HOUR);
        env.issuer.plan(Plan::default());
        assert_ne!(thumbprint(&env).await, old, "{capped}");
    }
}

#[tokio::test]
async fn late_certificate_is_not_due_at_once() {
    let env = TestEnv::new().await;
    env.issuer.plan(Plan { valid: (-10 * 24 * 3600, 2 * 24 * 3600), ..Plan::default() });
    env.binding().await.unwrap();
    assert!(env.minter.current(&env.id).is_some());
    env.clock.advance(DAY + HOUR);
    assert!(env.minter.current(&env.id).is_none());
}

#[tokio::test]
async fn short_lived_certificate_is_cached() {
    const MINUTE: i64 = 60;
    for minutes in [10, 60, 23 * 60, 24 * 60, 24 * 60 + 1, 48 * 60, 14 * 24 * 60] {
        let env = TestEnv::new().await;
        env.issuer.plan(Plan { valid: (0, minutes * MINUTE), ..Plan::default() });
        let minted = env.binding().await.unwrap();
        let until = env.now() + Duration::from_secs((minutes * MINUTE).unsigned_abs());
        assert_eq!(minted.identity().usable_until(), until, "{minutes}");
        assert_eq!(thumbprint(&env).await, minted.identity().thumbprint(), "{minutes}");
        env.clock.set(minted.renew_at() - Duration::from_secs(1));
        assert!(env.minter.current(&env.id).is_some(), "{minutes}");
        // Without a successor, it is used to its last second.
        env.clock.set(until - Duration::from_secs(1));
        env.issuer.fail(down());
        assert_eq!(thumbprint(&env).await, minted.identity().thumbprint(), "{minutes}");
        env.settle().await;
        env.clock.set(until);
        assert!(env.binding().await.is_err(), "{minutes}");
        assert_eq!(env.mints(), 1, "{minutes}");
    }
}

#[tokio::test]
async fn dropped_caller_does_not_cancel_others() {
    let env = TestEnv::new().await;
    env.issuer.hold(true);
    let mut leader = Box::pin(env.minter.binding(&env.id, CorrelationId::random()));
    let mut follower = Box::pin(env.minter.binding(&env.id, CorrelationId::random()));
    for caller in [&mut leader, &mut follower] {
        assert!(caller.now_or_never().is_none());
    }
    drop(leader);
    env.issuer.hold(false);
    drive(&env.clock, follower).await.0.unwrap();
    assert_eq!((env.mints(), env.issuer.requests().len()), (1, 2));
}

#[tokio::test]
async fn mint_without_callers_is_cancelled() {
    let env = TestEnv::new().await;
    env.issuer.hold(true);
    let mut caller = Box::pin(env.minter.binding(&env.id, CorrelationId::random()));
    assert!((&mut caller).now_or_never().is_none());
    drop(caller);
    env.issuer.hold(false);
    env.settle().await;
    assert!(env.minter.current(&env.id).is_none());
    assert_eq!((env.mints(), env.clock.sleepers()), (0, 0));
    assert!(env.binding().await.is_ok());
}

#[tokio::test]
async fn clock_jumps_keep_the_binding() {
    let env = TestEnv::new().await;
    let start = env.now();
    let minted = thumbprint(&env).await;
    for at in [start - HOUR, start, start + HOUR, start - HOUR] {
        env.clock.set(at);
        for _ in 0..10 {
            assert_eq!(thumbprint(&env).await, minted);
        }
        env.settle().await;
    }
    assert_eq!(env.mints(), 1);
    // A pause that started one hour in the future takes no hour.
    env.clock.set(start + HOUR);
    assert!(env.minter.report_refusal(&env.id, minted));
    let second = thumbprint(&env).await;
    env.clock.set(start);
    env.clock.advance(Duration::from_secs(1));
    assert!(env.minter.report_refusal(&env.id, second));
    let third = thumbprint(&env).await;
    assert!(!env.minter.report_refusal(&env.id, third));
    assert_eq!(env.mints(), 3);
}

#[tokio::test]
async fn lifetime_does_not_follow_the_clock() {
    // The clock is set back by a day after the mint; it was right before, or is right after.
    for ahead in [0, 24 * 3600] {
        let env = TestEnv::new().await;
        let days = 14 * 24 * 3600;
        env.issuer.plan(Plan {
            valid: (-ahead, days - ahead),
            clock_offset: Some(-ahead),
            ..Plan::default()
        });
        let first = env.binding().await.unwrap();
        env.clock.set(env.now() - DAY);
        env.clock.advance(7 * DAY - Duration::from_secs(1));
        assert!(env.minter.current(&env.id).is_some(), "{ahead}");
        env.clock.advance(Duration::from_secs(1));
        assert!(env.minter.current(&env.id).is_none(), "{ahead}");
        env.issuer.fail(down());
        assert_eq!(thumbprint(&env).await, first.identity().thumbprint(), "{ahead}");
        env.settle().await;
        env.clock.advance(7 * DAY - Duration::from_secs(1));
        assert!(env.minter.held(&env.id).is_some(), "{ahead}");
        env.clock.advance(Duration::from_secs(1));
        assert!(env.minter.held(&env.id).is_none(), "{ahead}");
    }
}

#[tokio::test]
async fn lost_connection_keeps_the_certificate() {
    let env = TestEnv::new().await;
    let first = thumbprint(&env).await;
    env.issuer.fail(down());
    assert!(env.minter.report_loss(&env.id, first));
    let kept = env.binding().await.unwrap();
    assert_eq!(kept.identity().thumbprint(), first, "the metadata service is down");
    let tried = env.issuer.requests().len();
    for _ in 0..100 {
        assert!(env.minter.report_loss(&env.id, first));
        assert_eq!(thumbprint(&env).await, first);
    }
    assert_eq!(env.issuer.requests().len(), tried, "another mint waits for the pause");
    assert!(env.minter.current(&env.id).is_some());
    env.issuer.forget_faults();
    env.clock.advance(Duration::from_secs(1));
    let second = thumbprint(&env).await;
    assert_ne!(second, first);
    assert_eq!(env.mints(), 2);
    // One mint for all losses, and none of an earlier certificate counts.
    assert!(env.minter.report_loss(&env.id, first));
    assert!(!env.minter.report_loss(&env.id, second));
    assert_eq!((thumbprint(&env).await, env.mints()), (second, 2));
    // A refusal forgets at once.
    env.clock.advance(Duration::from_secs(1));
    assert!(env.minter.report_refusal(&env.id, second));
    assert!(env.minter.current(&env.id).is_none());
}

#[tokio::test]
async fn refused_certificate_is_replaced_once() {
    let env = TestEnv::new().await;
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    assert!(env.minter.current(&env.id).is_none());
    // Another caller reports the same refusal before the next mint.
    assert!(env.minter.report_refusal(&env.id, first));
    let second = thumbprint(&env).await;
    assert_ne!(first, second);
    // A late refusal does not undo the mint.
    assert!(env.minter.report_refusal(&env.id, first));
    assert_eq!(thumbprint(&env).await, second);
    // The next ones are refused too: each is kept until the pause ends, which grows to five
    // minutes.
    let mut kept = second;
    for (mints, pause) in (2..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        for _ in 0..10 {
            assert!(!env.minter.report_refusal(&env.id, kept), "{pause}");
            assert_eq!(thumbprint(&env).await, kept);
            env.clock.advance(Duration::from_millis(pause * 100) - Duration::from_millis(1));
        }
        assert!(!env.minter.report_refusal(&env.id, kept), "{pause}");
        assert_eq!(env.mints(), mints);
        env.clock.advance(Duration::from_millis(10));
        assert!(env.minter.report_refusal(&env.id, kept), "{pause}");
        let next = thumbprint(&env).await;
        assert_ne!(next, kept);
        kept = next;
    }
    // Certificates that work shorten it again.
    for _ in 0..11 {
        env.clock.advance(3 * REMINT_COOLDOWN);
        assert!(env.minter.report_refusal(&env.id, kept));
        kept = thumbprint(&env).await;
    }
    env.clock.advance(Duration::from_secs(1));
    assert!(env.minter.report_refusal(&env.id, kept));
}

#[tokio::test]
async fn same_certificate_again_is_not_reminted() {
    static FIRST: OnceLock<String> = OnceLock::new();
    let env = TestEnv::new().await;
    let mangle = |der: Vec<u8>| FIRST.get_or_init(|| Base64::encode_string(&der)).clone();
    env.issuer.plan(Plan { mangle, ..Plan::default() });
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    assert_eq!(thumbprint(&env).await, first);
    for _ in 0..10 {
        assert!(!env.minter.report_refusal(&env.id, first));
        assert_eq!((thumbprint(&env).await, env.mints()), (first, 2));
    }
    env.clock.advance(REMINT_COOLDOWN);
    assert!(env.minter.report_refusal(&env.id, first));
}

#[tokio::test]
async fn pause_starts_with_the_mint() {
    let env = TestEnv::new().await;
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    env.clock.advance(REMINT_COOLDOWN);
    let second = thumbprint(&env).await;
    assert!(!env.minter.report_refusal(&env.id, second));
}

#[tokio::test]
async fn refusals_are_per_identity() {
    let env = TestEnv::new().await;
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    let second = thumbprint(&env).await;
    assert!(!env.minter.report_refusal(&env.id, second));
    let other = ManagedIdentityId::object_id("other").unwrap();
    let (binding, _) = drive(&env.clock, env.minter.binding(&other, CorrelationId::random())).await;
    assert!(env.minter.report_refusal(&other, binding.unwrap().identity().thumbprint()));
}

#[tokio::test]
async fn concurrent_refusals_lead_to_one_mint() {
    let env = TestEnv::new().await;
    let refused = thumbprint(&env).await;
    let callers = (0..100).map(|_| async {
        tokio::task::yield_now().await;
        assert!(env.minter.report_refusal(&env.id, refused));
        tokio::task::yield_now().await;
        env.minter.binding(&env.id, CorrelationId::random()).await.unwrap()
    });
    let (bindings, _) = drive(&env.clock, join_all(callers)).await;
    let second = env.issuer.issued()[1];
    assert!(bindings.iter().all(|binding| binding.identity().thumbprint() == second));
    assert_eq!(env.mints(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refusals_on_threads_lead_to_one_mint() {
    let env = TestEnv::new().await;
    let refused = thumbprint(&env).await;
    let tasks = (0..100).map(|_| {
        let (minter, id) = (env.minter.clone(), env.id.clone());
        tokio::spawn(async move {
            assert!(minter.report_refusal(&id, refused));
            minter.binding(&id, CorrelationId::random()).await.unwrap().identity().thumbprint()
        })
    });
    let second = join_all(tasks).await;
    assert_eq!(env.mints(), 2);
    assert!(second.into_iter().all(|thumbprint| thumbprint.unwrap() == env.issuer.issued()[1]));
}

#[tokio::test]
async fn refusal_joins_a_running_renewal() {
    let env = TestEnv::new().await;
    let old = thumbprint(&env).await;
    env.clock.advance(8 * DAY);
    env.issuer.hold(true);
    assert_eq!(thumbprint(&env).await, old);
    assert!(env.minter.report_refusal(&env.id, old));
    env.issuer.hold(false);
    assert_ne!(thumbprint(&env).await, old);
    env.settle().await;
    assert_eq!(env.mints(), 2);
}

#[tokio::test]
async fn failed_mint_starts_no_pause() {
    let env = TestEnv::new().await;
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    env.issuer.fail([Ok(answer(403, Some("IMDS/1"), ""))]);
    assert!(env.binding().await.is_err());
    assert!(env.minter.report_refusal(&env.id, first));
    let second = thumbprint(&env).await;
    assert!(!env.minter.report_refusal(&env.id, second));
}

#[tokio::test]
async fn each_mint_has_a_new_software_key() {
    for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
        let env = TestEnv::with(|builder| builder.key_provider(keys)).await;
        let mint = || async {
            let binding = env.minter.binding(&env.id, CorrelationId::random()).await.unwrap();
            let _forgotten = env.minter.report_refusal(&env.id, binding.identity().thumbprint());
            symbolon_types::SigningKey::public_key(binding.identity().key()).to_vec()
        };
        assert_ne!(mint().await, mint().await, "{keys:?}");
    }
}

#[tokio::test]
async fn persistent_key_gets_a_new_certificate() {
    let key = SoftwareKeys::rsa_2048().key().await.unwrap();
    let env = TestEnv::with(|builder| builder.key_provider(OneKey(key))).await;
    let first = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, first));
    assert_ne!(thumbprint(&env).await, first);
}

#[tokio::test]
async fn remint_bypasses_the_issuer_cache() {
    for told in [false, true] {
        let env = TestEnv::with(|builder| builder.bypass_cache_on_remint(told)).await;
        let first = thumbprint(&env).await;
        assert!(env.minter.report_refusal(&env.id, first));
        thumbprint(&env).await;
        env.clock.advance(8 * DAY);
        thumbprint(&env).await;
        env.settle().await;
        let requests = env.issuer.requests();
        let issuances = requests.iter().filter(|request| !request.body().is_empty());
        let bypass = issuances.map(|request| request.url().query().unwrap().contains("&bypass_cache=true"));
        assert_eq!(bypass.collect::<Vec<_>>(), [false, told, false]);
    }
}
