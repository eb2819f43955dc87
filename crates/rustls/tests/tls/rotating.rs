//! The stream of configurations.

use std::sync::Arc;

use symbolon_rustls::RotatingConfig;
use symbolon_types::{ClientIdentity, IdentityCell, IdentityWatch};
use tokio::sync::watch;

use crate::authority::Authority;
use crate::keys::{ALGORITHMS, Algorithm};
use crate::server::{ClientCertificates, Handshake, Server, ServerOptions, VERSIONS};
use crate::{connect, request, trusting};

/// Sends a request with the present configuration.
async fn send(rotating: &RotatingConfig, server: &Server) {
    request(&mut connect(&rotating.current().unwrap(), server.address()).await).await.unwrap();
}

#[tokio::test]
async fn rotation_changes_certificate_and_sessions() {
    let authority = Authority::new();
    for version in VERSIONS {
        for (old, new) in [ALGORITHMS, [Algorithm::P256; 2]].map(|[old, new]| (old, new)) {
            let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
            let (old, new) = (authority.identity(old), authority.identity(new));
            let cell = IdentityCell::new(old.clone());
            let configs = trusting(&authority).build().unwrap();
            let mut rotating = configs.rotating(cell.watch()).await.unwrap();
            let before = rotating.current().unwrap();
            let mut open = connect(&before, server.address()).await;
            request(&mut open).await.unwrap();
            send(&rotating, &server).await;

            cell.replace(new.clone());
            let after = rotating.changed().await.unwrap();
            assert!(Arc::ptr_eq(&after, &rotating.current().unwrap()));
            send(&rotating, &server).await;
            send(&rotating, &server).await;
            // A request under way ends on the connection of the old certificate.
            request(&mut open).await.unwrap();

            let shown = |identity: &ClientIdentity, is_resumed| Handshake {
                certificate: Some(identity.thumbprint()),
                is_resumed,
            };
            let expected = [shown(&old, false), shown(&old, true), shown(&new, false), shown(&new, true)];
            assert_eq!(server.journal().handshakes, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn current_follows_without_changed() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Required).start(&authority);
    let cell = IdentityCell::new(authority.identity(Algorithm::P256));
    let rotating = trusting(&authority).build().unwrap().rotating(cell.watch()).await.unwrap();
    let copy = rotating.clone();
    for _ in 0..3 {
        let next = authority.identity(Algorithm::P256);
        cell.replace(next.clone());
        send(&copy, &server).await;
        let expected = Handshake { certificate: Some(next.thumbprint()), is_resumed: false };
        assert_eq!(server.journal().handshakes.last(), Some(&expected));
    }
}

#[tokio::test]
async fn replaced_configuration_is_dropped() {
    let authority = Authority::new();
    let cell = IdentityCell::new(authority.identity(Algorithm::P256));
    let mut rotating = trusting(&authority).build().unwrap().rotating(cell.watch()).await.unwrap();
    let old = Arc::downgrade(&rotating.current().unwrap());
    cell.replace(authority.identity(Algorithm::P256));
    rotating.changed().await.unwrap();
    assert!(old.upgrade().is_none());
}

/// A watch of a managed identity has no identity before the first mint and after a refusal.
#[derive(Clone, Debug)]
struct Binding(watch::Receiver<Option<ClientIdentity>>);

impl IdentityWatch for Binding {
    fn current_identity(&self) -> Option<ClientIdentity> {
        self.0.borrow().clone()
    }

    async fn identity_changed(&mut self) -> Option<ClientIdentity> {
        self.0.changed().await.unwrap();
        self.current_identity()
    }
}

#[tokio::test]
async fn no_identity_is_no_configuration() {
    let authority = Authority::new();
    let (sender, receiver) = watch::channel(None);
    let mut rotating = trusting(&authority).build().unwrap().rotating(Binding(receiver)).await.unwrap();
    assert!(rotating.current().is_none());
    sender.send_replace(Some(authority.identity(Algorithm::P256)));
    assert!(rotating.changed().await.is_some());
    sender.send_replace(None);
    assert!(rotating.changed().await.is_none());
    assert!(rotating.current().is_none());
}
