//! Watches of binding changes.

use futures_util::FutureExt;
use symbolon_types::CorrelationId;

use crate::issuer::{DAY, TestEnv, drive};

#[tokio::test]
async fn watch_reports_every_change() {
    let env = TestEnv::new().await;
    let mut watch = env.minter.watch(&env.id);
    assert!(watch.current().is_none() && watch.changed().now_or_never().is_none());

    let first = env.binding().await.unwrap().identity().thumbprint();
    let told = watch.changed().now_or_never().unwrap().unwrap();
    assert_eq!(told.identity().thumbprint(), first);
    assert!(watch.changed().now_or_never().is_none());

    env.clock.advance(8 * DAY);
    env.binding().await.unwrap();
    env.settle().await;
    let renewed = watch.changed().now_or_never().unwrap().unwrap().identity().thumbprint();
    assert_eq!(renewed, env.issuer.issued()[1]);

    assert!(env.minter.report_refusal(&env.id, renewed));
    assert!(watch.changed().now_or_never().unwrap().is_none() && watch.current().is_none());
}

#[tokio::test]
async fn new_watch_has_the_current_binding() {
    let mut env = TestEnv::new().await;
    let first = env.binding().await.unwrap();
    let late = env.minter.watch(&env.id);
    assert_eq!(late.current().unwrap().identity(), first.identity());

    let id = env.id.clone();
    env.id = symbolon_binding::ManagedIdentityId::client_id("other").unwrap();
    let mut other = env.minter.watch(&env.id);
    drive(&env.clock, env.minter.binding(&id, CorrelationId::random())).await.0.unwrap();
    assert!(other.current().is_none() && other.changed().now_or_never().is_none());
}

#[tokio::test]
async fn held_binding_may_be_due() {
    let env = TestEnv::new().await;
    assert!(env.minter.held(&env.id).is_none());
    let binding = env.binding().await.unwrap();
    env.clock.advance(8 * DAY);
    let held = env.minter.held(&env.id).unwrap();
    assert!(env.minter.current(&env.id).is_none() && held.renew_at() < env.now());
    assert_eq!(held.renew_at(), binding.minted_at() + 7 * DAY);
    assert_eq!(env.issuer.requests().len(), 2);
    env.clock.advance(7 * DAY);
    assert!(env.minter.held(&env.id).is_none());
}
