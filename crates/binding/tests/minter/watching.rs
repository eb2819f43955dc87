//! Learning that a binding changed.

use futures_util::FutureExt;
use symbolon_types::CorrelationId;

use crate::issuer::{DAY, House, drive};

#[tokio::test]
async fn a_watch_tells_of_the_first_binding_of_its_renewal_and_of_its_refusal() {
    let house = House::new().await;
    let mut watch = house.minter.watch(&house.id);
    assert!(watch.current().is_none() && watch.changed().now_or_never().is_none());

    let first = house.binding().await.unwrap().identity().thumbprint();
    let told = watch.changed().now_or_never().unwrap().unwrap();
    assert_eq!(told.identity().thumbprint(), first);
    assert!(watch.changed().now_or_never().is_none());

    house.clock.advance(8 * DAY);
    house.binding().await.unwrap();
    house.settle().await;
    let renewed = watch.changed().now_or_never().unwrap().unwrap().identity().thumbprint();
    assert_eq!(renewed, house.issuer.issued()[1]);

    assert!(house.minter.report_refusal(&house.id, renewed));
    assert!(watch.changed().now_or_never().unwrap().is_none() && watch.current().is_none());
}

#[tokio::test]
async fn a_watch_that_comes_late_knows_what_there_is_and_others_hear_nothing() {
    let mut house = House::new().await;
    let first = house.binding().await.unwrap();
    let late = house.minter.watch(&house.id);
    assert_eq!(late.current().unwrap().identity(), first.identity());

    let id = house.id.clone();
    house.id = symbolon_binding::ManagedIdentityId::client_id("other").unwrap();
    let mut other = house.minter.watch(&house.id);
    drive(&house.clock, house.minter.binding(&id, CorrelationId::random())).await.0.unwrap();
    assert!(other.current().is_none() && other.changed().now_or_never().is_none());
}

#[tokio::test]
async fn what_is_held_is_known_also_when_it_is_due_and_nobody_is_asked() {
    let house = House::new().await;
    assert!(house.minter.held(&house.id).is_none());
    let binding = house.binding().await.unwrap();
    house.clock.advance(8 * DAY);
    let held = house.minter.held(&house.id).unwrap();
    assert!(house.minter.current(&house.id).is_none() && held.renew_at() < house.now());
    assert_eq!(held.renew_at(), binding.minted_at() + 7 * DAY);
    assert_eq!(house.issuer.requests().len(), 2);
    house.clock.advance(7 * DAY);
    assert!(house.minter.held(&house.id).is_none());
}
