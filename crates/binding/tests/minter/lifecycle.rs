//! Bindings over time.

use std::sync::OnceLock;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures_util::FutureExt;
use futures_util::future::join_all;
use symbolon_binding::{KeyProvider, ManagedIdentityId, REMINT_COOLDOWN, SoftwareKeys};
use symbolon_types::{CorrelationId, Thumbprint};

use crate::issuer::{DAY, HOUR, House, OneKey, Plan, answer, der_time, drive};

fn down() -> impl Iterator<Item = Result<symbolon_transport::Response, symbolon_transport::TransportError>> {
    (0..100).map(|_| Ok(answer(403, Some("IMDS/1"), "")))
}

async fn thumbprint(house: &House) -> Thumbprint {
    house.binding().await.unwrap().identity().thumbprint()
}

#[tokio::test]
async fn there_is_no_current_binding_before_the_first_mint() {
    let house = House::new().await;
    assert!(house.minter.current(&house.id).is_none());
    let minted = thumbprint(&house).await;
    assert_eq!(house.minter.current(&house.id).map(|binding| binding.identity().thumbprint()), Some(minted));
    assert_eq!((thumbprint(&house).await, house.mints()), (minted, 1));
}

#[tokio::test]
async fn a_binding_that_is_there_is_served_at_once_and_without_allocating() {
    let house = House::new().await;
    let minted = house.binding().await.unwrap();
    let correlation_id = CorrelationId::random();
    let mut served = (None, None);
    let counted = allocation_counter::measure(|| {
        let waited = house.minter.binding(&house.id, correlation_id).now_or_never().and_then(Result::ok);
        served = (house.minter.current(&house.id), waited);
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    for binding in [served.0, served.1] {
        assert_eq!(binding.unwrap().identity(), minted.identity());
    }
}

#[tokio::test]
async fn a_hundred_callers_share_one_mint() {
    let house = House::new().await;
    let callers = (0..100).map(|_| house.minter.binding(&house.id, CorrelationId::random()));
    let (bindings, _) = drive(&house.clock, join_all(callers)).await;
    let first = bindings[0].as_ref().unwrap().identity().clone();
    assert!(bindings.iter().all(|binding| *binding.as_ref().unwrap().identity() == first));
    assert_eq!((house.mints(), house.issuer.requests().len()), (1, 2));
}

#[tokio::test]
async fn identities_are_kept_apart() {
    let mut house = House::new().await;
    let one = thumbprint(&house).await;
    house.id = ManagedIdentityId::client_id("other").unwrap();
    assert!(house.minter.current(&house.id).is_none());
    assert_ne!(thumbprint(&house).await, one);
    assert_eq!(house.mints(), 2);
}

#[tokio::test]
async fn past_its_half_life_the_old_binding_serves_while_one_renewal_runs() {
    let house = House::new().await;
    let old = thumbprint(&house).await;
    house.clock.advance(7 * DAY - Duration::from_secs(1));
    assert!(house.minter.current(&house.id).is_some());
    house.clock.advance(Duration::from_secs(1));
    assert!(house.minter.current(&house.id).is_none());
    house.issuer.hold(true);
    for _ in 0..50 {
        assert_eq!(thumbprint(&house).await, old);
    }
    house.issuer.hold(false);
    house.settle().await;
    assert_eq!(house.mints(), 2);
    assert_eq!(thumbprint(&house).await, house.issuer.issued()[1]);
}

#[tokio::test]
async fn a_renewal_that_fails_keeps_the_old_binding_and_is_not_repeated_at_once() {
    let house = House::new().await;
    let old = thumbprint(&house).await;
    house.clock.advance(8 * DAY);
    house.issuer.fail(down());
    for _ in 0..50 {
        assert_eq!(thumbprint(&house).await, old);
        house.settle().await;
    }
    assert_eq!(house.issuer.requests().len(), 3, "one renewal was tried");
    // Until the hard end, whatever IMDS does.
    house.clock.advance(6 * DAY - Duration::from_secs(1));
    assert_eq!(thumbprint(&house).await, old);
    house.settle().await;
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.binding().await.unwrap_err().code(), "managed_identity_request_failed");
    house.issuer.forget_faults();
    assert_ne!(thumbprint(&house).await, old);
}

#[tokio::test]
async fn a_binding_is_not_served_past_either_end_of_its_certificate() {
    for capped in [false, true] {
        let house = House::new().await;
        let end = house.now() + 2 * HOUR;
        let plan = match capped {
            true => Plan { token_not_after: Some(der_time(end)), ..Plan::default() },
            false => Plan { valid: (0, 7200), ..Plan::default() },
        };
        house.issuer.plan(plan);
        let old = thumbprint(&house).await;
        // Half of the two hours: the earlier end decides.
        house.clock.advance(HOUR);
        assert!(house.minter.current(&house.id).is_none());
        house.clock.advance(HOUR);
        house.issuer.plan(Plan::default());
        assert_ne!(thumbprint(&house).await, old, "{capped}");
    }
}

#[tokio::test]
async fn a_certificate_that_arrives_in_its_second_half_is_not_due_at_once() {
    let house = House::new().await;
    house.issuer.plan(Plan { valid: (-10 * 24 * 3600, 2 * 24 * 3600), ..Plan::default() });
    house.binding().await.unwrap();
    assert!(house.minter.current(&house.id).is_some());
    house.clock.advance(DAY + HOUR);
    assert!(house.minter.current(&house.id).is_none());
}

#[tokio::test]
async fn a_certificate_is_kept_for_the_useful_part_of_its_life_however_short_that_is() {
    const MINUTE: i64 = 60;
    for minutes in [10, 60, 23 * 60, 24 * 60, 24 * 60 + 1, 48 * 60, 14 * 24 * 60] {
        let house = House::new().await;
        house.issuer.plan(Plan { valid: (0, minutes * MINUTE), ..Plan::default() });
        let minted = house.binding().await.unwrap();
        let until = house.now() + Duration::from_secs((minutes * MINUTE).unsigned_abs());
        assert_eq!(minted.identity().usable_until(), until, "{minutes}");
        assert_eq!(thumbprint(&house).await, minted.identity().thumbprint(), "{minutes}");
        house.clock.set(minted.renew_at() - Duration::from_secs(1));
        assert!(house.minter.current(&house.id).is_some(), "{minutes}");
        // It is in use to its last second, if there is no other.
        house.clock.set(until - Duration::from_secs(1));
        house.issuer.fail(down());
        assert_eq!(thumbprint(&house).await, minted.identity().thumbprint(), "{minutes}");
        house.settle().await;
        house.clock.set(until);
        assert!(house.binding().await.is_err(), "{minutes}");
        assert_eq!(house.mints(), 1, "{minutes}");
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_takes_nothing_from_the_others() {
    let house = House::new().await;
    house.issuer.hold(true);
    let mut leader = Box::pin(house.minter.binding(&house.id, CorrelationId::random()));
    let mut follower = Box::pin(house.minter.binding(&house.id, CorrelationId::random()));
    for caller in [&mut leader, &mut follower] {
        assert!(caller.now_or_never().is_none());
    }
    drop(leader);
    house.issuer.hold(false);
    drive(&house.clock, follower).await.0.unwrap();
    assert_eq!((house.mints(), house.issuer.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_mint_that_nobody_waits_for_leaves_nothing_behind() {
    let house = House::new().await;
    house.issuer.hold(true);
    let mut caller = Box::pin(house.minter.binding(&house.id, CorrelationId::random()));
    assert!((&mut caller).now_or_never().is_none());
    drop(caller);
    house.issuer.hold(false);
    house.settle().await;
    assert!(house.minter.current(&house.id).is_none());
    assert_eq!((house.mints(), house.clock.sleepers()), (0, 0));
    assert!(house.binding().await.is_ok());
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_neither_loops_nor_loses_the_binding() {
    let house = House::new().await;
    let start = house.now();
    let minted = thumbprint(&house).await;
    for at in [start - HOUR, start, start + HOUR, start - HOUR] {
        house.clock.set(at);
        for _ in 0..10 {
            assert_eq!(thumbprint(&house).await, minted);
        }
        house.settle().await;
    }
    assert_eq!(house.mints(), 1);
    // A pause that began on a clock that was an hour ahead does not last an hour more.
    house.clock.set(start + HOUR);
    assert!(house.minter.report_refusal(&house.id, minted));
    let second = thumbprint(&house).await;
    house.clock.set(start);
    assert!(house.minter.report_refusal(&house.id, second));
    let third = thumbprint(&house).await;
    assert!(!house.minter.report_refusal(&house.id, third));
    assert_eq!(house.mints(), 3);
}

#[tokio::test]
async fn a_refused_certificate_is_forgotten_and_minted_anew_once_in_a_pause() {
    let house = House::new().await;
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    assert!(house.minter.current(&house.id).is_none());
    // Another caller's refusal of the same certificate, before anything was minted.
    assert!(house.minter.report_refusal(&house.id, first));
    let second = thumbprint(&house).await;
    assert_ne!(first, second);
    // A refusal that comes late never undoes the mint.
    assert!(house.minter.report_refusal(&house.id, first));
    assert_eq!(thumbprint(&house).await, second);
    // The second is refused as well: kept, and nothing is minted until the pause is over.
    for passed in [0, 60, 239] {
        house.clock.advance(Duration::from_secs(passed));
        assert!(!house.minter.report_refusal(&house.id, second), "{passed}");
        assert_eq!(thumbprint(&house).await, second);
    }
    assert_eq!(house.mints(), 2);
    house.clock.advance(Duration::from_secs(1));
    assert!(house.minter.report_refusal(&house.id, second));
    assert_ne!(thumbprint(&house).await, second);
    assert_eq!(house.mints(), 3);
}

#[tokio::test]
async fn the_same_certificate_again_after_a_refusal_is_refused_without_another_mint() {
    static FIRST: OnceLock<String> = OnceLock::new();
    let house = House::new().await;
    let mangle = |der: Vec<u8>| FIRST.get_or_init(|| Base64::encode_string(&der)).clone();
    house.issuer.plan(Plan { mangle, ..Plan::default() });
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    assert_eq!(thumbprint(&house).await, first);
    for _ in 0..10 {
        assert!(!house.minter.report_refusal(&house.id, first));
        assert_eq!((thumbprint(&house).await, house.mints()), (first, 2));
    }
    house.clock.advance(REMINT_COOLDOWN);
    assert!(house.minter.report_refusal(&house.id, first));
}

#[tokio::test]
async fn the_pause_counts_from_the_mint_and_not_from_the_refusal() {
    let house = House::new().await;
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    house.clock.advance(REMINT_COOLDOWN);
    let second = thumbprint(&house).await;
    assert!(!house.minter.report_refusal(&house.id, second));
}

#[tokio::test]
async fn a_refusal_of_one_identity_says_nothing_about_another() {
    let house = House::new().await;
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    let second = thumbprint(&house).await;
    assert!(!house.minter.report_refusal(&house.id, second));
    let other = ManagedIdentityId::object_id("other").unwrap();
    let (binding, _) = drive(&house.clock, house.minter.binding(&other, CorrelationId::random())).await;
    assert!(house.minter.report_refusal(&other, binding.unwrap().identity().thumbprint()));
}

#[tokio::test]
async fn a_hundred_refusals_at_once_lead_to_one_mint() {
    let house = House::new().await;
    let refused = thumbprint(&house).await;
    let callers = (0..100).map(|_| async {
        tokio::task::yield_now().await;
        assert!(house.minter.report_refusal(&house.id, refused));
        tokio::task::yield_now().await;
        house.minter.binding(&house.id, CorrelationId::random()).await.unwrap()
    });
    let (bindings, _) = drive(&house.clock, join_all(callers)).await;
    let second = house.issuer.issued()[1];
    assert!(bindings.iter().all(|binding| binding.identity().thumbprint() == second));
    assert_eq!(house.mints(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refusals_on_many_threads_lead_to_one_mint() {
    let house = House::new().await;
    let refused = thumbprint(&house).await;
    let tasks = (0..100).map(|_| {
        let (minter, id) = (house.minter.clone(), house.id.clone());
        tokio::spawn(async move {
            assert!(minter.report_refusal(&id, refused));
            minter.binding(&id, CorrelationId::random()).await.unwrap().identity().thumbprint()
        })
    });
    let second = join_all(tasks).await;
    assert_eq!(house.mints(), 2);
    assert!(second.into_iter().all(|thumbprint| thumbprint.unwrap() == house.issuer.issued()[1]));
}

#[tokio::test]
async fn a_refusal_while_a_renewal_runs_waits_for_that_renewal() {
    let house = House::new().await;
    let old = thumbprint(&house).await;
    house.clock.advance(8 * DAY);
    house.issuer.hold(true);
    assert_eq!(thumbprint(&house).await, old);
    assert!(house.minter.report_refusal(&house.id, old));
    house.issuer.hold(false);
    assert_ne!(thumbprint(&house).await, old);
    house.settle().await;
    assert_eq!(house.mints(), 2);
}

#[tokio::test]
async fn a_mint_that_fails_after_a_refusal_does_not_begin_the_pause() {
    let house = House::new().await;
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    house.issuer.fail([Ok(answer(403, Some("IMDS/1"), ""))]);
    assert!(house.binding().await.is_err());
    assert!(house.minter.report_refusal(&house.id, first));
    let second = thumbprint(&house).await;
    assert!(!house.minter.report_refusal(&house.id, second));
}

#[tokio::test]
async fn software_keys_are_new_with_each_mint() {
    for keys in [SoftwareKeys::rsa_2048(), SoftwareKeys::p256()] {
        let house = House::with(|builder| builder.key_provider(keys)).await;
        let mint = || async {
            let binding = house.minter.binding(&house.id, CorrelationId::random()).await.unwrap();
            let _forgotten = house.minter.report_refusal(&house.id, binding.identity().thumbprint());
            symbolon_types::SigningKey::public_key(binding.identity().key()).to_vec()
        };
        assert_ne!(mint().await, mint().await, "{keys:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_kept_gets_a_new_certificate() {
    let key = SoftwareKeys::rsa_2048().key().await.unwrap();
    let house = House::with(|builder| builder.key_provider(OneKey(key))).await;
    let first = thumbprint(&house).await;
    assert!(house.minter.report_refusal(&house.id, first));
    assert_ne!(thumbprint(&house).await, first);
}

#[tokio::test]
async fn only_a_mint_that_follows_a_refusal_bypasses_the_issuers_cache_and_only_if_told_to() {
    for told in [false, true] {
        let house = House::with(|builder| builder.bypass_cache_on_remint(told)).await;
        let first = thumbprint(&house).await;
        assert!(house.minter.report_refusal(&house.id, first));
        thumbprint(&house).await;
        house.clock.advance(8 * DAY);
        thumbprint(&house).await;
        house.settle().await;
        let requests = house.issuer.requests();
        let issuances = requests.iter().filter(|request| !request.body().is_empty());
        let bypass = issuances.map(|request| request.url().query().unwrap().contains("&bypass_cache=true"));
        assert_eq!(bypass.collect::<Vec<_>>(), [false, told, false]);
    }
}
