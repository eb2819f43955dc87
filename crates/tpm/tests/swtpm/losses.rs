//! Loss of keys, and unusable files.

use std::fs;

use symbolon_binding::probe_key;
use symbolon_test_programs::Swtpm;
use symbolon_types::{SigningError, SigningKey};

use crate::{KINDS, builder, key, try_key};

#[test]
fn lost_key_is_loaded_again() {
    for (kind, _) in KINDS {
        let Some(mut tpm) = Swtpm::start() else { return };
        let keys = kind(builder(&tpm)).build().unwrap();
        let signs = key(&keys);
        tpm.reset();
        probe_key(&signs).unwrap();
        tpm.reset();
        assert_eq!(key(&keys).public_key(), signs.public_key());
    }
}

#[test]
fn unreachable_tpm_is_not_a_lost_key() {
    let Some(mut tpm) = Swtpm::start() else { return };
    let keys = builder(&tpm).p256().build().unwrap();
    let signs = key(&keys);
    tpm.power_off();
    let refused = signs.sign(signs.schemes()[0], b"");
    assert!(matches!(refused, Err(SigningError::Failed(_))), "{refused:?}");
    assert_eq!(try_key(&keys).unwrap_err().code(), "tpm_unreachable");
    tpm.reset();
    probe_key(&signs).unwrap();
}

#[test]
fn key_of_a_cleared_tpm_is_replaced() {
    for (kind, file) in KINDS {
        let Some(mut tpm) = Swtpm::start() else { return };
        let keys = kind(builder(&tpm)).build().unwrap();
        let orphan = key(&keys);
        tpm.replace();
        let refused = orphan.sign(orphan.schemes()[0], b"");
        assert!(matches!(refused, Err(SigningError::Gone(_))), "{refused:?}");
        assert_eq!(probe_key(&orphan).unwrap_err().code(), "key_gone");
        let another = key(&keys);
        assert_ne!(another.public_key(), orphan.public_key());
        probe_key(&another).unwrap();
        assert!(tpm.folder().join("store").join(format!("{file}.set-aside")).exists());
    }
}

#[test]
fn modified_file_is_set_aside() {
    let Some(tpm) = Swtpm::start() else { return };
    for (kind, file) in KINDS {
        let path = tpm.folder().join("store").join(file);
        let fresh = || key(&kind(builder(&tpm)).build().unwrap()).public_key().clone();
        let mut before = fresh();
        let length = fs::read(&path).unwrap().len();
        // In the attributes, the public key, the encrypted part, and at the end.
        for at in [9, 60, length - 60, length - 1] {
            let mut blob = fs::read(&path).unwrap();
            blob[at] ^= 1;
            fs::write(&path, blob).unwrap();
            let made = fresh();
            assert_ne!(made, before, "{file} at {at}");
            assert_eq!(fresh(), made);
            before = made;
        }
    }
}
