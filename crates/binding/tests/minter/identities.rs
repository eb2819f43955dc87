//! Names of identities, and the identities they mean.

use futures_util::future::join_all;
use symbolon_binding::ManagedIdentityId;
use symbolon_types::{CorrelationId, Thumbprint};

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
    assert!(house.minter.refused(&client, old));
    let new = under(&house, &client).await;
    assert_ne!(new, old);
    // The other name still has it, until it is refused there too.
    assert_eq!(under(&house, &object).await, old);
    assert!(house.minter.refused(&object, old));
    assert_eq!((under(&house, &object).await, house.mints()), (new, 2));
    // That counts as the mint that followed the refusal, for both.
    assert!(!house.minter.refused(&object, new) && !house.minter.refused(&client, new));
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
