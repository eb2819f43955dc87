//! Names of identities, and the identities they mean.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use symbolon_binding::{Error, KeyProvider, ManagedIdentityId, SoftwareKeys};
use symbolon_types::{CorrelationId, SharedSigningKey, Thumbprint};
use tokio::sync::Semaphore;

use crate::issuer::{CLIENT, DAY, House, Plan, drive};

/// Three names of one identity.
fn names() -> [ManagedIdentityId; 3] {
    [
        ManagedIdentityId::client_id(CLIENT).unwrap(),
        ManagedIdentityId::object_id("object").unwrap(),
        ManagedIdentityId::resource_id("/subscriptions/s/identity").unwrap(),
    ]
}

async fn under(house: &House, name: &ManagedIdentityId) -> Thumbprint {
    let binding = house.minter.binding(name, CorrelationId::random());
    drive(&house.clock, binding).await.0.unwrap().identity().thumbprint()
}

#[tokio::test]
async fn an_identity_has_one_binding_under_all_its_names() {
    let house = House::new().await;
    let [client, object, resource] = names();
    let minted = under(&house, &client).await;
    assert_eq!([under(&house, &object).await, under(&house, &resource).await], [minted; 2]);
    assert_eq!((house.mints(), house.issuer.requests().len()), (1, 4));
    // Each name is looked up once.
    under(&house, &object).await;
    assert_eq!(house.issuer.requests().len(), 4);
}

#[tokio::test]
async fn names_that_are_asked_for_at_once_lead_to_one_mint() {
    let house = House::new().await;
    let names = names();
    let asked = names.iter().map(|name| house.minter.binding(name, CorrelationId::random()));
    let (bindings, _) = drive(&house.clock, join_all(asked)).await;
    let minted = house.issuer.issued();
    assert_eq!(minted.len(), 1);
    assert!(bindings.iter().all(|binding| binding.as_ref().unwrap().identity().thumbprint() == minted[0]));
}

/// Keys that take as long as a test wants.
#[derive(Debug)]
struct SlowKeys(SharedSigningKey, Arc<Semaphore>);

impl KeyProvider for SlowKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.1.acquire().await.unwrap().forget();
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_name_whose_key_is_late_finds_what_another_name_got_meanwhile() {
    let key = SoftwareKeys::p256().key().await.unwrap();
    let turns = Arc::new(Semaphore::new(0));
    let house = House::with(|builder| builder.key_provider(SlowKeys(key, Arc::clone(&turns)))).await;
    let [client, object, _] = names();
    let mut first = Box::pin(house.minter.binding(&client, CorrelationId::random()));
    let mut second = Box::pin(house.minter.binding(&object, CorrelationId::random()));
    // Both know who they are, and wait for their keys.
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
    assert_eq!((first.identity(), house.mints()), (second.identity(), 1));
}

#[tokio::test]
async fn a_renewal_under_one_name_is_found_under_the_others() {
    let house = House::new().await;
    let names = names();
    for name in &names {
        under(&house, name).await;
    }
    house.clock.advance(8 * DAY);
    for name in &names {
        under(&house, name).await;
        house.settle().await;
    }
    assert_eq!(house.mints(), 2);
    for name in &names {
        assert_eq!(under(&house, name).await, house.issuer.issued()[1]);
    }
}

#[tokio::test]
async fn a_refusal_under_one_name_is_made_good_under_all() {
    let house = House::new().await;
    let [client, object, _] = names();
    let old = under(&house, &client).await;
    under(&house, &object).await;
    assert!(house.minter.report_refusal(&client, old));
    let new = under(&house, &client).await;
    assert_ne!(new, old);
    // The other name still has it, until it is refused there too.
    assert_eq!(under(&house, &object).await, old);
    assert!(house.minter.report_refusal(&object, old));
    assert_eq!((under(&house, &object).await, house.mints()), (new, 2));
    // That counts as the mint that followed the refusal, for both.
    assert!(!house.minter.report_refusal(&object, new) && !house.minter.report_refusal(&client, new));
    assert_eq!(house.mints(), 2);
}

#[tokio::test]
async fn another_identity_and_another_machine_have_another_binding() {
    let house = House::new().await;
    let [client, object, resource] = names();
    let minted = under(&house, &client).await;
    let other = ManagedIdentityId::client_id("other").unwrap();
    assert_ne!(under(&house, &other).await, minted);
    house.issuer.plan(Plan { machine: "a clone of the machine", ..Plan::default() });
    let cloned = under(&house, &object).await;
    assert_ne!(cloned, minted);
    assert_eq!(under(&house, &resource).await, cloned);
    assert_eq!(house.mints(), 3);
}
