//! OPS: the certificate and its key for another program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use symbolon::{KeyProvider, ManagedIdentity, PersistedKeys, SoftwareKeys};
use symbolon_binding::{SharedKeyProvider, stored_bindings};
use symbolon_emulator::{EmulatorBuilder, Fault, Step};
use symbolon_pkcs11::Pkcs11Keys;
use symbolon_test_programs::{SoftHsm, Swtpm, find_program, missing};
use symbolon_tpm::TpmKeys;
use symbolon_types::SigningKey;

use crate::test_env::{Counts, TestEnv};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn ops_20_certificate_without_a_token() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    assert!(identity.binding().is_none());
    let first = identity.renewed_binding().await.unwrap();
    assert_eq!(first.identity().thumbprint(), test_env.last_certificate());
    assert_eq!(identity.renewed_binding().await.unwrap().identity(), first.identity());
    assert_eq!(test_env.counts(), Counts::of(1, 1, 0));
    // A bound token uses it.
    let token = test_env.bound_token(&identity).await;
    assert_eq!(token.bound_to(), Some(first.identity()));
    let due = first.time_until_renewal(test_env.clock().steady_now());
    assert!(due > DAY && due < 7 * DAY, "{due:?}");
    test_env.manual_clock.advance(due);
    assert!(first.time_until_renewal(test_env.clock().steady_now()).is_zero());
    test_env.emulator.inject(Fault::status(Step::IssueCredential, 400));
    let error = identity.renewed_binding().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    assert_eq!(identity.binding().unwrap().identity(), first.identity(), "the old one stays");
    // Unlike a request for a token, it returns the new one.
    let second = identity.renewed_binding().await.unwrap();
    assert_ne!(second.identity(), first.identity());
    assert_eq!(second.identity().thumbprint(), test_env.last_certificate());
    assert_eq!(test_env.counts().issuances, 3);
}

#[tokio::test]
async fn ops_20_host_without_bound_tokens() {
    let v1_only = TestEnv::with(EmulatorBuilder::v1_only).await;
    let error = v1_only.identity().renewed_binding().await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_not_supported_in_imds_v1");
    let test_env = TestEnv::new().await;
    let variables = test_env.emulator.environment_of(symbolon::Source::AppService);
    let context = test_env.context().with_env(variables.into_iter().collect());
    let identity = test_env.builder().context(context).build().unwrap();
    let error = identity.renewed_binding().await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
    assert_eq!(test_env.counts(), Counts::of(0, 0, 0));
}

#[tokio::test]
async fn ops_21_replacement_before_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let test_env = TestEnv::new().await;
    let stored = |builder: symbolon::ManagedIdentityBuilder| {
        builder
            .persist_bindings(folder.path().join("state"))
            .key_provider(keys(folder.path()))
            .build()
            .unwrap()
    };
    for identity in [test_env.identity(), stored(test_env.builder())] {
        let first = identity.renewed_binding().await.unwrap();
        test_env.emulator.inject(Fault::status(Step::IssueCredential, 400));
        let error = identity.replaced_binding().await.unwrap_err();
        assert_eq!(error.code(), "managed_identity_request_failed");
        assert_eq!(identity.binding().unwrap().identity(), first.identity());
        // The pause after a replacement is over.
        test_env.manual_clock.advance(Duration::from_secs(60));
        let second = identity.replaced_binding().await.unwrap();
        assert_ne!(second.identity(), first.identity());
        let token = test_env.bound_token(&identity).await;
        assert_eq!(token.bound_to(), Some(second.identity()));
        assert_eq!(test_env.call(&identity, &token).await.status(), 200);
        // Replacements in quick succession do not request certificates without end.
        let issued = test_env.emulator.issued().len();
        for _ in 0..10 {
            identity.replaced_binding().await.unwrap();
        }
        assert!(test_env.emulator.issued().len() <= issued + 1);
    }
}

fn keys(folder: &Path) -> PersistedKeys {
    PersistedKeys::p256(folder.join("state"))
}

#[tokio::test]
async fn ops_22_exported_key() {
    let Some(openssl) = find_program("openssl") else { return missing("openssl") };
    let folder = tempfile::tempdir().unwrap();
    let test_env = TestEnv::new().await;
    for provider in [PersistedKeys::p256, PersistedKeys::rsa_2048] {
        let keys = provider(folder.path().join("state"));
        let identity = test_env.builder().persist_bindings(folder.path().join("state"));
        let identity = identity.key_provider(keys.clone()).build().unwrap();
        let binding = identity.renewed_binding().await.unwrap();
        let exported = keys.export_pem(binding.identity().key().public_key()).await.unwrap().unwrap();
        test_env.watch(exported.expose().lines().nth(1).unwrap());
        fs::write(folder.path().join("key.pem"), exported.expose()).unwrap();
        fs::write(folder.path().join("cert.der"), &binding.identity().chain()[0]).unwrap();
        let public = |arguments: &[&str]| {
            let output = Command::new(&openssl).args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let of_key = public(&["pkey", "-in", "key.pem", "-pubout"]);
        assert_eq!(of_key, public(&["x509", "-inform", "DER", "-in", "cert.der", "-noout", "-pubkey"]));
        // The key of another provider, or of nobody.
        let other = SoftwareKeys::p256().key().await.unwrap();
        assert!(keys.export_pem(other.public_key()).await.unwrap().is_none());
    }
}

/// The identity with a stored certificate for this key.
fn with_stored(test_env: &TestEnv, folder: &Path, keys: SharedKeyProvider) -> ManagedIdentity {
    test_env.builder().persist_bindings(folder.join("state")).key_provider(keys).build().unwrap()
}

#[test]
fn ops_23_records_of_stored_bindings() {
    SoftHsm::run("handover::ops_23_records_of_stored_bindings", |token| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(records_of_stored_bindings(token));
    });
}

async fn records_of_stored_bindings(token: &SoftHsm) {
    let Some(mut tpm) = Swtpm::start() else { return };
    let folder = token.folder();
    let state = folder.join("state");
    assert!(stored_bindings(&state).unwrap().is_empty());
    assert!(!state.exists());
    let test_env = TestEnv::new().await;
    test_env.watch(SoftHsm::pin().expose());
    let on_token = Pkcs11Keys::builder(SoftHsm::module()).token_label(SoftHsm::TOKEN).pin(SoftHsm::pin());
    let in_tpm = TpmKeys::builder(&tpm.tcti(), &state).unwrap();
    let tcti = tpm.tcti();
    for (keys, key_type, location) in [
        (
            SharedKeyProvider::new(PersistedKeys::rsa_2048(&state)),
            "rsa-2048",
            state.join("rsa-2048.pkcs8").display().to_string(),
        ),
        (
            SharedKeyProvider::new(PersistedKeys::p256(&state)),
            "p-256",
            state.join("p-256.pkcs8").display().to_string(),
        ),
        (
            SharedKeyProvider::new(on_token.rsa_2048().build()),
            "rsa-2048",
            "pkcs11:token=symbolon%20test;".to_owned(),
        ),
        (SharedKeyProvider::new(in_tpm.p256().build().unwrap()), "p-256", format!("tpm:{tcti}?file=")),
    ] {
        test_env.manual_clock.advance(Duration::from_secs(60));
        let binding = with_stored(&test_env, folder, keys).renewed_binding().await.unwrap();
        let newest = stored_bindings(&state).unwrap().swap_remove(0).unwrap();
        for record in [newest, binding.record().unwrap()] {
            assert_eq!(record.thumbprint(), binding.identity().thumbprint());
            assert_eq!(
                (record.not_before(), record.not_after()),
                (binding.identity().not_before(), binding.identity().not_after())
            );
            assert_eq!(record.usable_until(), binding.identity().usable_until());
            assert_eq!((record.client_id(), record.tenant_id()), (binding.client_id(), binding.tenant_id()));
            assert!(
                record.subject().contains(&format!("CN={}", binding.client_id())),
                "{}",
                record.subject()
            );
            assert_eq!(record.key_type(), key_type);
            assert!(record.key_location().unwrap().starts_with(&location), "{:?}", record.key_location());
            assert!(!record.key_location().unwrap().contains(SoftHsm::pin().expose()));
        }
    }
    // Without the device, and without a request.
    tpm.power_off();
    let before = test_env.counts();
    assert_eq!(stored_bindings(&state).unwrap().into_iter().filter_map(Result::ok).count(), 4);
    let file = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    fs::write(&file, "damaged").unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = stored_bindings(&state).unwrap().into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (3, 1));
    let error = bad.into_iter().find_map(Result::err).unwrap();
    assert_eq!(error.code(), "store_unusable");
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    assert_eq!(test_env.counts(), before);
}
