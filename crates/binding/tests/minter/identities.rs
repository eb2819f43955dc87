//! Ids of one identity, and of several.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use symbolon_binding::{Error, KeyProvider, ManagedIdentityId, SoftwareKeys};
use symbolon_types::{CorrelationId, SharedSigningKey, Thumbprint};
use tokio::sync::Semaphore;

use crate::issuer::{CLIENT, DAY, Plan, TestEnv, drive};

/// Three ids of one identity.
fn names() -> [ManagedIdentityId; 3] {
    [
        ManagedIdentityId::client_id(CLIENT).unwrap(),
        ManagedIdentityId::object_id("object").unwrap(),
        ManagedIdentityId::resource_id("/subscriptions/s/identity").unwrap(),
    ]
}

async fn under(env: &TestEnv, name: &ManagedIdentityId) -> Thumbprint {
    let binding = env.minter.binding(name, CorrelationId::random());
    drive(&env.clock, binding).await.0.unwrap().identity().thumbprint()
}

#[tokio::test]
async fn ids_of_an_identity_share_one_binding() {
    let env = TestEnv::new().await;
    let [client, object, resource] = names();
    let minted = under(&env, &client).await;
    assert_eq!([under(&env, &object).await, under(&env, &resource).await], [minted; 2]);
    assert_eq!((env.mints(), env.issuer.requests().len()), (1, 4));
    // Each id is resolved once.
    under(&env, &object).await;
    assert_eq!(env.issuer.requests().len(), 4);
}

#[tokio::test]
async fn concurrent_ids_lead_to_one_mint() {
    let env = TestEnv::new().await;
    let names = names();
    let asked = names.iter().map(|name| env.minter.binding(name, CorrelationId::random()));
    let (bindings, _) = drive(&env.clock, join_all(asked)).await;
    let minted = env.issuer.issued();
    assert_eq!(minted.len(), 1);
    assert!(bindings.iter().all(|binding| binding.as_ref().unwrap().identity().thumbprint() == minted[0]));
}

/// Key provider that waits for permits.
#[derive(Debug)]
struct SlowKeys(SharedSigningKey, Arc<Semaphore>);

impl KeyProvider for SlowKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.1.acquire().await.unwrap().forget();
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn slow_key_finds_the_binding_of_another_id() {
    let key = SoftwareKeys::p256().key().await.unwrap();
    let turns = Arc::new(Semaphore::new(0));
    let env = TestEnv::with(|builder| builder.key_provider(SlowKeys(key, Arc::clone(&turns)))).await;
    let [client, object, _] = names();
    let mut first = Box::pin(env.minter.binding(&client, CorrelationId::random()));
    let mut second = Box::pin(env.minter.binding(&object, CorrelationId::random()));
    // Both have resolved their identity, and wait for their keys.
    for waiting in [&mut first, &mut second] {
        for _ in 0..50 {
            assert!(waiting.now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    turns.add_permits(1);
    let first = first.await.unwrap();
    turns.add_permits(1);
    let second = second.await.unwrap();
    assert_eq!((first.identity(), env.mints()), (second.identity(), 1));
}

#[tokio::test]
async fn renewal_is_shared_by_all_ids() {
    let env = TestEnv::new().await;
    let names = names();
    for name in &names {
        under(&env, name).await;
    }
    env.clock.advance(8 * DAY);
    for name in &names {
        under(&env, name).await;
        env.settle().await;
    }
    assert_eq!(env.mints(), 2);
    for name in &names {
        assert_eq!(under(&env, name).await, env.issuer.issued()[1]);
    }
}

#[tokio::test]
async fn replacement_is_shared_by_all_ids() {
    let env = TestEnv::new().await;
    let [client, object, _] = names();
    let old = under(&env, &client).await;
    under(&env, &object).await;
    assert!(env.minter.report_refusal(&client, old));
    let new = under(&env, &client).await;
    assert_ne!(new, old);
    // The other id still has the old binding, until it is refused there as well.
    assert_eq!(under(&env, &object).await, old);
    assert!(env.minter.report_refusal(&object, old));
    assert_eq!((under(&env, &object).await, env.mints()), (new, 2));
    // The mint starts the pause of both ids.
    assert!(!env.minter.report_refusal(&object, new) && !env.minter.report_refusal(&client, new));
    assert_eq!(env.mints(), 2);
}

#[tokio::test]
async fn other_machines_have_other_bindings() {
    let env = TestEnv::new().await;
    let [client, object, resource] = names();
    let minted = under(&env, &client).await;
    let other = ManagedIdentityId::client_id("other").unwrap();
    assert_ne!(under(&env, &other).await, minted);
    env.issuer.plan(Plan { machine: "a clone of the machine", ..Plan::default() });
    let cloned = under(&env, &object).await;
    assert_ne!(cloned, minted);
    assert_eq!(under(&env, &resource).await, cloned);
    assert_eq!(env.mints(), 3);
}
