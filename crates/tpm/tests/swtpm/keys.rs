//! Keys that are made, found, and sign.

use std::fs;
use std::process::Command;

use symbolon_binding::probe;
use symbolon_test_programs::{Swtpm, find_program, missing, verify_every_scheme};
use symbolon_tpm::TpmKeys;
use symbolon_types::{ErrorKind, SignatureScheme, SigningError, SigningKey, Strength};

use crate::{KINDS, builder, key, try_key};

#[test]
fn a_key_is_made_once_and_signs_with_every_scheme() {
    let Some(tpm) = Swtpm::start() else { return };
    for ((kind, _), offered) in KINDS.into_iter().zip([6, 1]) {
        let made = key(&kind(builder(&tpm)).build().unwrap());
        assert_eq!((made.schemes().len(), made.strength()), (offered, Strength::Software));
        verify_every_scheme(&made, tpm.folder());
        probe(&made).unwrap();
        let public = made.public_key().clone();
        drop(made);
        // By a provider that knows nothing of the first.
        assert_eq!(*key(&kind(builder(&tpm)).build().unwrap()).public_key(), public);
    }
}

#[test]
fn the_tools_of_the_tcg_load_the_file_under_the_same_storage_key() {
    let Some(tpm) = Swtpm::start() else { return };
    if find_program("tpm2_load").is_none() {
        missing("tpm2-tools (`apt-get install tpm2-tools`)");
        return;
    }
    for (kind, file) in KINDS {
        let made = key(&kind(builder(&tpm)).build().unwrap());
        let public = made.public_key().clone();
        drop(made);
        let blob = fs::read(tpm.folder().join("store").join(file)).unwrap();
        let length = 2 + usize::from(u16::from_be_bytes([blob[0], blob[1]]));
        fs::write(tpm.folder().join("key.pub"), &blob[..length]).unwrap();
        fs::write(tpm.folder().join("key.priv"), &blob[length..]).unwrap();
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
        for command in [
            vec!["tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-a", attributes, "-c", "parent.ctx"],
            vec!["tpm2_flushcontext", "-t"],
            vec!["tpm2_load", "-C", "parent.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx"],
            vec!["tpm2_flushcontext", "-t"],
            vec!["tpm2_readpublic", "-c", "key.ctx", "-f", "der", "-o", "key.der"],
            vec!["tpm2_flushcontext", "-t"],
        ] {
            let mut tool = Command::new(command[0]);
            tool.args(&command[1..]).current_dir(tpm.folder()).env("TPM2TOOLS_TCTI", tpm.tcti());
            let output = tool.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
        }
        assert_eq!(fs::read(tpm.folder().join("key.der")).unwrap(), *public);
    }
}

#[test]
fn a_key_can_be_under_a_persistent_storage_key() {
    let Some(tpm) = Swtpm::start() else { return };
    if find_program("tpm2_evictcontrol").is_none() {
        missing("tpm2-tools (`apt-get install tpm2-tools`)");
        return;
    }
    for command in [
        vec!["tpm2_createprimary", "-Q", "-C", "o", "-G", "rsa", "-c", "parent.ctx"],
        vec!["tpm2_flushcontext", "-t"],
        vec!["tpm2_evictcontrol", "-Q", "-C", "o", "-c", "parent.ctx", "0x81000001"],
        vec!["tpm2_flushcontext", "-t"],
    ] {
        let mut tool = Command::new(command[0]);
        tool.args(&command[1..]).current_dir(tpm.folder()).env("TPM2TOOLS_TCTI", tpm.tcti());
        assert!(tool.output().unwrap().status.success(), "{command:?}");
    }
    let keys = |parent| builder(&tpm).p256().parent(parent).build();
    let made = key(&keys(0x8100_0001).unwrap());
    probe(&made).unwrap();
    drop(made);
    assert_eq!(try_key(&keys(0x8100_0002).unwrap()).unwrap_err().code(), "tpm_failed");
    let error = keys(0x8000_0001).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_configuration"));
}

#[test]
fn a_scheme_that_the_key_does_not_offer_is_refused() {
    let Some(tpm) = Swtpm::start() else { return };
    let foreign = [SignatureScheme::EcdsaP256Sha256, SignatureScheme::RsaPssSha256];
    for ((kind, _), foreign) in KINDS.into_iter().zip(foreign) {
        let refused = key(&kind(builder(&tpm)).build().unwrap()).sign(foreign, b"");
        assert!(matches!(refused, Err(SigningError::UnsupportedScheme(scheme)) if scheme == foreign));
    }
}

#[test]
fn many_threads_get_and_use_one_key() {
    let Some(tpm) = Swtpm::start() else { return };
    let keys = builder(&tpm).p256().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| probe(&key(&keys)).unwrap()));
        }
    });
}

#[test]
fn a_tpm_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for tcti in ["device:/nonexistent/tpm", "swtpm:path=/nonexistent/socket"] {
        let keys = TpmKeys::builder(tcti, folder.path().join("store")).unwrap().build().unwrap();
        let error = try_key(&keys).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "tpm_unreachable"), "{tcti}");
    }
}
