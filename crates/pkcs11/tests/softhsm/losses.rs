//! Loss of sessions, logins and keys.

use cryptoki::object::{Attribute, ObjectClass};
use symbolon_binding::probe_key;
use symbolon_test_programs::SoftHsm;
use symbolon_types::{SigningError, SigningKey};

use crate::{KINDS, OtherClient, builder, key, try_key};

/// Action of another client that ends the session of a key.
type Loss = fn(&OtherClient);

const LOSSES: [(&str, Loss); 3] = [
    ("all sessions are closed, as when a token is pulled out and put in again", |other| {
        other.module.clone().finalize().unwrap();
        OtherClient::new();
    }),
    ("the user is logged out", |other| other.session().logout().unwrap()),
    ("the module is finalized", |other| other.module.clone().finalize().unwrap()),
];

#[test]
fn lost_session_is_reopened() {
    SoftHsm::run("losses::lost_session_is_reopened", |_| {
        for kind in KINDS {
            let keys = kind(builder()).build();
            let signs = key(&keys);
            for (what, lose) in LOSSES {
                for _ in 0..2 {
                    lose(&OtherClient::new());
                    probe_key(&signs).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                }
                lose(&OtherClient::new());
                assert_eq!(key(&keys).public_key(), signs.public_key(), "{what}");
            }
        }
    });
}

#[test]
fn deleted_key_is_replaced() {
    SoftHsm::run("losses::deleted_key_is_replaced", |_| {
        for kind in KINDS {
            let keys = kind(builder()).build();
            let orphan = key(&keys);
            let session = OtherClient::new().session();
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for object in session.find_objects(&[Attribute::Class(class)]).unwrap() {
                    session.destroy_object(object).unwrap();
                }
            }
            let refused = orphan.sign(orphan.schemes()[0], b"");
            assert!(matches!(refused, Err(SigningError::Gone(_))), "{refused:?}");
            assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
            let another = key(&keys);
            assert_ne!(another.public_key(), orphan.public_key());
            probe_key(&another).unwrap();
            // The old key is still gone.
            assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
        }
    });
}

#[test]
fn other_key_with_the_same_id_is_not_used() {
    SoftHsm::run("losses::other_key_with_the_same_id_is_not_used", |_| {
        let keys = || builder().p256().key_id([5]).build();
        let orphan = key(&keys());
        let session = OtherClient::new().session();
        for object in session.find_objects(&[Attribute::Id(vec![5])]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        let another = key(&keys());
        assert_ne!(another.public_key(), orphan.public_key());
        assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
    });
}

#[test]
fn removed_token_is_not_a_lost_key() {
    SoftHsm::run("losses::removed_token_is_not_a_lost_key", |token| {
        let keys = builder().p256().build();
        let waits = key(&keys);
        let [here, away] = ["tokens", "pulled-out"].map(|name| token.folder().join(name));
        // SoftHSM reads its tokens when it is initialized.
        std::fs::rename(&here, &away).unwrap();
        std::fs::create_dir(&here).unwrap();
        OtherClient::module().finalize().unwrap();
        let refused = waits.sign(waits.schemes()[0], b"");
        assert!(matches!(refused, Err(SigningError::Failed(_))), "{refused:?}");
        assert_eq!(try_key(&keys).unwrap_err().code(), "token_not_found");
        std::fs::remove_dir(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        OtherClient::module().finalize().unwrap();
        probe_key(&waits).unwrap();
        assert_eq!(key(&keys).public_key(), waits.public_key());
    });
}
