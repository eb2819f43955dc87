//! Creation and use of keys.

use std::fs;
use std::process::Command;

use symbolon_binding::probe_key;
use symbolon_test_programs::{Swtpm, find_program, missing, verify_every_scheme};
use symbolon_tpm::TpmKeys;
use symbolon_types::{ErrorKind, SignatureScheme, SigningError, SigningKey, Strength};

use crate::{KINDS, builder, key, try_key};

/// Attributes of the storage key.
const STORAGE: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";

fn tools_are_there() -> bool {
    let are_there = find_program("tpm2_load").is_some();
    if !are_there {
        missing("tpm2-tools (`apt-get install tpm2-tools`)");
    }
    are_there
}

/// Runs a program of tpm2-tools in the folder of the TPM.
fn tools(tpm: &Swtpm, command: &str) {
    let (tool, arguments) = command.split_once(' ').unwrap();
    // Without a resource manager, loaded keys stay loaded.
    for (tool, arguments) in [(tool, arguments), ("flushcontext", "-t")] {
        let mut program = Command::new(format!("tpm2_{tool}"));
        program.args(arguments.split(' ')).current_dir(tpm.folder()).env("TPM2TOOLS_TCTI", tpm.tcti());
        let output = program.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn key_is_created_once_and_signs() {
    let Some(tpm) = Swtpm::start() else { return };
    for ((kind, _), offered) in KINDS.into_iter().zip([6, 1]) {
        let made = key(&kind(builder(&tpm)).build().unwrap());
        assert_eq!((made.schemes().len(), made.strength()), (offered, Strength::Software));
        verify_every_scheme(&made, tpm.folder());
        probe_key(&made).unwrap();
        let folder = tpm.folder().join("store");
        let location = format!("tpm:{}?file={}/", tpm.tcti(), folder.display());
        assert!(made.location().unwrap().starts_with(&location), "{:?}", made.location());
        let public = made.public_key().clone();
        drop(made);
        // Another provider finds the same key.
        assert_eq!(*key(&kind(builder(&tpm)).build().unwrap()).public_key(), public);
    }
}

#[test]
fn tpm2_tools_load_the_file() {
    let Some(tpm) = Swtpm::start() else { return };
    if !tools_are_there() {
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
        tools(&tpm, &format!("createprimary -Q -C o -G ecc -a {STORAGE} -c parent.ctx"));
        tools(&tpm, "load -C parent.ctx -u key.pub -r key.priv -c key.ctx");
        tools(&tpm, "readpublic -c key.ctx -f der -o key.der");
        assert_eq!(fs::read(tpm.folder().join("key.der")).unwrap(), *public);
    }
}

#[test]
fn exportable_key_is_not_used() {
    let Some(tpm) = Swtpm::start() else { return };
    if !tools_are_there() {
        return;
    }
    let keys = || builder(&tpm).p256().build().unwrap();
    drop(key(&keys()));
    tools(&tpm, &format!("createprimary -Q -C o -G ecc -a {STORAGE} -c parent.ctx"));
    let attributes = "sensitivedataorigin|userwithauth|noda|sign";
    tools(
        &tpm,
        &format!("create -Q -C parent.ctx -G ecc:ecdsa-sha256 -a {attributes} -u key.pub -r key.priv"),
    );
    let [public, private] = ["key.pub", "key.priv"].map(|name| fs::read(tpm.folder().join(name)).unwrap());
    let stored = tpm.folder().join("store/p-256.tpm");
    fs::write(&stored, [public, private].concat()).unwrap();
    probe_key(&key(&keys())).unwrap();
    assert!(stored.with_file_name("p-256.tpm.set-aside").exists());
}

#[test]
fn persistent_parent_is_used() {
    let Some(tpm) = Swtpm::start() else { return };
    if !tools_are_there() {
        return;
    }
    tools(&tpm, "createprimary -Q -C o -G rsa -c parent.ctx");
    tools(&tpm, "evictcontrol -Q -C o -c parent.ctx 0x81000001");
    let keys = |parent| builder(&tpm).p256().parent(parent).build();
    let made = key(&keys(0x8100_0001).unwrap());
    probe_key(&made).unwrap();
    drop(made);
    assert_eq!(try_key(&keys(0x8100_0002).unwrap()).unwrap_err().code(), "tpm_failed");
    let error = keys(0x8000_0001).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_configuration"));
}

#[test]
fn other_schemes_are_refused() {
    let Some(tpm) = Swtpm::start() else { return };
    let foreign = [SignatureScheme::EcdsaP256Sha256, SignatureScheme::RsaPssSha256];
    for ((kind, _), foreign) in KINDS.into_iter().zip(foreign) {
        let refused = key(&kind(builder(&tpm)).build().unwrap()).sign(foreign, b"");
        assert!(matches!(refused, Err(SigningError::UnsupportedScheme(scheme)) if scheme == foreign));
    }
}

#[test]
fn threads_share_one_key() {
    let Some(tpm) = Swtpm::start() else { return };
    let keys = builder(&tpm).p256().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| probe_key(&key(&keys)).unwrap()));
        }
    });
}

#[test]
fn missing_tpm_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    for tcti in ["device:/nonexistent/tpm", "swtpm:path=/nonexistent/socket"] {
        let keys = TpmKeys::builder(tcti, folder.path().join("store")).unwrap().build().unwrap();
        let error = try_key(&keys).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "tpm_unreachable"), "{tcti}");
    }
}
