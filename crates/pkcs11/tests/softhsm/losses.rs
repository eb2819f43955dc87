//! Sessions, log-ins and keys that get lost.

use cryptoki::object::{Attribute, ObjectClass};
use symbolon_binding::probe_key;
use symbolon_test_programs::SoftHsm;
use symbolon_types::{SigningError, SigningKey};

use crate::{KINDS, Neighbour, builder, key, try_key};

/// What a neighbour does to the session of a key.
type Loss = fn(&Neighbour);

const LOSSES: [(&str, Loss); 3] = [
    ("all sessions are closed, as when a token is pulled out and put in again", |neighbour| {
        neighbour.module.clone().finalize().unwrap();
        Neighbour::new();
    }),
    ("the user is logged out", |neighbour| neighbour.session().logout().unwrap()),
    ("the module is finalized", |neighbour| neighbour.module.clone().finalize().unwrap()),
];

#[test]
fn a_session_that_was_lost_is_opened_again_within_the_signature() {
    SoftHsm::run("losses::a_session_that_was_lost_is_opened_again_within_the_signature", |_| {
        for kind in KINDS {
            let keys = kind(builder()).build();
            let signs = key(&keys);
            for (what, lose) in LOSSES {
                for _ in 0..2 {
                    lose(&Neighbour::new());
                    probe_key(&signs).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                }
                lose(&Neighbour::new());
                assert_eq!(key(&keys).public_key(), signs.public_key(), "{what}");
            }
        }
    });
}

#[test]
fn a_key_that_was_deleted_is_gone_and_another_is_made() {
    SoftHsm::run("losses::a_key_that_was_deleted_is_gone_and_another_is_made", |_| {
        for kind in KINDS {
            let keys = kind(builder()).build();
            let orphan = key(&keys);
            let session = Neighbour::new().session();
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
            // The old one does not come to life by it.
            assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
        }
    });
}

#[test]
fn another_key_under_the_same_id_is_not_taken_for_the_first() {
    SoftHsm::run("losses::another_key_under_the_same_id_is_not_taken_for_the_first", |_| {
        let keys = || builder().p256().key_id([5]).build();
        let orphan = key(&keys());
        let session = Neighbour::new().session();
        for object in session.find_objects(&[Attribute::Id(vec![5])]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        let another = key(&keys());
        assert_ne!(another.public_key(), orphan.public_key());
        assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
    });
}

#[test]
fn a_token_that_went_away_is_no_key_that_is_gone() {
    SoftHsm::run("losses::a_token_that_went_away_is_no_key_that_is_gone", |token| {
        let keys = builder().p256().build();
        let waits = key(&keys);
        let [here, away] = ["tokens", "pulled-out"].map(|name| token.folder().join(name));
        // SoftHSM looks for its tokens when it is initialized.
        std::fs::rename(&here, &away).unwrap();
        std::fs::create_dir(&here).unwrap();
        Neighbour::module().finalize().unwrap();
        let refused = waits.sign(waits.schemes()[0], b"");
        assert!(matches!(refused, Err(SigningError::Failed(_))), "{refused:?}");
        assert_eq!(try_key(&keys).unwrap_err().code(), "token_not_found");
        std::fs::remove_dir(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        Neighbour::module().finalize().unwrap();
        probe_key(&waits).unwrap();
        assert_eq!(key(&keys).public_key(), waits.public_key());
    });
}
