//! Stored bindings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::join_all;
use serde_json::Value;
use symbolon_binding::store::PrivateDir;
use symbolon_binding::{
    Attestation, AttestationRequest, Attester, Binding, Error, KeyProvider, ManagedIdentityId, MinterBuilder,
    SoftwareKeys,
};
use symbolon_test_logs::CapturedLogs;
use symbolon_types::{CorrelationId, Secret, SharedSigningKey, Thumbprint};
use tempfile::TempDir;

use crate::issuer::{CLIENT, DAY, OTHER_CLIENT, OneKey, Plan, TENANT, TestEnv, VM, answer};
use crate::keys::LostKey;

/// Returns a folder and a process that stores its bindings there.
async fn first() -> (TempDir, PathBuf, TestEnv) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let env = TestEnv::with(|builder| builder.store(&folder)).await;
    (parent, folder, env)
}

fn next(env: &TestEnv, folder: &Path) -> TestEnv {
    env.another(|builder| builder.store(folder))
}

/// Requests the binding without moving the clock, because files are read on other threads.
async fn binding(env: &TestEnv) -> Result<Binding, Error> {
    env.minter.binding(&env.id, CorrelationId::random()).await
}

async fn thumbprint(env: &TestEnv) -> Thumbprint {
    binding(env).await.unwrap().identity().thumbprint()
}

/// Returns the path of the stored binding.
fn file(folder: &Path) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
}

#[tokio::test]
async fn next_process_uses_the_stored_binding() {
    let (_parent, folder, env) = first().await;
    let minted = binding(&env).await.unwrap();
    let taken = binding(&next(&env, &folder)).await.unwrap();
    assert_eq!(taken.identity(), minted.identity());
    assert_eq!((taken.token_endpoint(), taken.minted_at()), (minted.token_endpoint(), minted.minted_at()));
    assert_eq!((taken.client_id(), taken.tenant_id()), (CLIENT, TENANT));
    // The second process requested the platform metadata only.
    assert_eq!((env.mints(), env.issuer.requests().len()), (1, 3));
}

#[tokio::test]
async fn concurrent_processes_mint_once() {
    let (_parent, folder, env) = first().await;
    let processes: Vec<TestEnv> = (0..20).map(|_| next(&env, &folder)).collect();
    let bindings = tokio::spawn(async move {
        // Waiting for a lock uses this clock.
        let clock = processes[0].clock.clone();
        let all = join_all(processes.iter().map(thumbprint));
        tokio::select! {
            all = all => all,
            () = async { loop { clock.advance_to_next(); tokio::task::yield_now().await; } } => Vec::new(),
        }
    });
    let bindings = bindings.await.unwrap();
    assert_eq!((env.mints(), bindings.len()), (1, 20));
    assert!(bindings.iter().all(|thumbprint| *thumbprint == env.issuer.issued()[0]));
}

#[tokio::test]
async fn folder_is_private_and_has_no_key() {
    let (_parent, folder, env) = first().await;
    binding(&env).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file(&folder))), (0o700, 0o600));
    let text = fs::read_to_string(file(&folder)).unwrap();
    assert!(text.contains(CLIENT) && !text.contains("PRIVATE"), "{text}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let error = binding(&next(&env, &folder)).await.unwrap_err();
    assert_eq!(error.code(), "store_unusable");
    assert_eq!(env.mints(), 1);
}

#[tokio::test]
async fn unusable_entry_is_set_aside() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 7] = [
        ("is damaged", |path| fs::write(path, b"").unwrap()),
        ("is damaged", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("is damaged", |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.replacen("eastus", "westus", 1)).unwrap();
        }),
        ("is damaged", |path| fs::write(path, vec![b'x'; 1000]).unwrap()),
        ("is too long", |path| fs::write(path, vec![b'x'; 140_000]).unwrap()),
        ("is open to other users", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("is not a regular file", |path| {
            let elsewhere = path.with_extension("elsewhere");
            fs::rename(path, &elsewhere).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
    ];
    for (flaw, spoil) in spoils {
        let logs = CapturedLogs::begin();
        let (_parent, folder, env) = first().await;
        let old = thumbprint(&env).await;
        spoil(&file(&folder));
        let new = thumbprint(&next(&env, &folder)).await;
        assert!(new != old && env.mints() == 2, "{flaw}");
        let aside = file(&folder).with_extension("json.set-aside");
        assert!(fs::symlink_metadata(aside).is_ok(), "{flaw}");
        let log = logs.text();
        assert!(log.contains("a stored binding cannot be used") && log.contains(flaw), "{flaw}: {log}");
        // The next process uses the new entry.
        assert_eq!(thumbprint(&next(&env, &folder)).await, new, "{flaw}");
        assert_eq!(env.mints(), 2, "{flaw}");
    }
}

#[tokio::test]
async fn entry_of_another_identity_is_refused() {
    let (_parent, folder, env) = first().await;
    binding(&env).await.unwrap();
    let mine = fs::read(file(&folder)).unwrap();
    env.issuer.plan(Plan { machine: "a clone of the machine", ..Plan::default() });
    let clone = next(&env, &folder);
    assert_ne!(thumbprint(&clone).await, env.issuer.issued()[0]);
    assert_eq!(env.mints(), 2);
    // Both files now have the content of the first one.
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            fs::write(path, &mine).unwrap();
        }
    }
    assert_ne!(thumbprint(&next(&env, &folder)).await, env.issuer.issued()[0]);
    assert_eq!(env.mints(), 3);
}

#[tokio::test]
async fn inconsistent_entry_is_refused() {
    for (member, value) in [
        ("tenant_id", "another-tenant".into()),
        ("client_id", OTHER_CLIENT.into()),
        ("id", "".into()),
        ("version", Value::from(2)),
        ("mtls_authentication_endpoint", "http://eastus.mtlsauth.microsoft.com".into()),
        ("mtls_authentication_endpoint", "https://mtlsauth.example.com".into()),
        ("certificate", "MAA=".into()),
    ] {
        let (_parent, folder, env) = first().await;
        binding(&env).await.unwrap();
        let text = fs::read_to_string(file(&folder)).unwrap();
        let mut entry: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        entry[member] = value;
        let json = format!("{entry}\n");
        let digest = digest(&SHA256, json.as_bytes());
        let sum: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(file(&folder), format!("{sum}\n{json}")).unwrap();
        assert_ne!(thumbprint(&next(&env, &folder)).await, env.issuer.issued()[0], "{member}");
        assert_eq!(env.mints(), 2, "{member}");
        assert!(file(&folder).with_extension("json.set-aside").exists(), "{member}");
    }
}

#[tokio::test]
async fn binding_of_another_key_is_not_used() {
    let (_parent, folder, env) = first().await;
    let old = thumbprint(&env).await;
    let key = SoftwareKeys::p256().key().await.unwrap();
    let other = env.another(|builder| builder.store(&folder).key_provider(OneKey(key)));
    assert_ne!(thumbprint(&other).await, old);
    // Each key has its own entry.
    assert_eq!(thumbprint(&next(&env, &folder)).await, old);
    assert_eq!(env.mints(), 2);
}

/// Key provider of a lost key, then of another one.
#[derive(Debug)]
struct LostThenNewKey(Mutex<Option<SharedSigningKey>>);

impl KeyProvider for LostThenNewKey {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let gone = self.0.lock().unwrap().take();
        match gone {
            Some(key) => Ok(SharedSigningKey::new(LostKey(key))),
            None => SoftwareKeys::p256().key().await,
        }
    }
}

#[tokio::test]
async fn binding_of_a_lost_key_is_reminted() {
    let (_parent, folder, env) = first().await;
    let old = thumbprint(&env).await;
    let keys = LostThenNewKey(Mutex::new(Some(env.key.clone())));
    let orphan = env.another(|builder| builder.store(&folder).key_provider(keys));
    assert_ne!(thumbprint(&orphan).await, old);
    assert_eq!(env.mints(), 2);
    // The entry stays for processes that have its key.
    assert_eq!((thumbprint(&next(&env, &folder)).await, env.mints()), (old, 2));
}

#[tokio::test]
async fn refused_binding_is_replaced_for_all() {
    let (_parent, folder, env) = first().await;
    let (one, other) = (next(&env, &folder), next(&env, &folder));
    let old = thumbprint(&one).await;
    assert_eq!(thumbprint(&other).await, old);
    assert!(one.minter.report_refusal(&one.id, old));
    let new = thumbprint(&one).await;
    assert_ne!(new, old);
    // The other process uses the old binding until it is refused there as well.
    assert_eq!(thumbprint(&other).await, old);
    assert!(other.minter.report_refusal(&other.id, old));
    assert_eq!((thumbprint(&other).await, env.mints()), (new, 2));
}

#[tokio::test]
async fn refused_binding_is_not_used_again() {
    let (_parent, _folder, env) = first().await;
    let old = thumbprint(&env).await;
    assert!(env.minter.report_refusal(&env.id, old));
    // The metadata request succeeds, the certificate request fails.
    env.issuer.fail([Ok(crate::issuer::metadata()), Ok(answer(403, Some("IMDS/1"), ""))]);
    assert_eq!(binding(&env).await.unwrap_err().code(), "managed_identity_request_failed");
    assert_ne!(thumbprint(&env).await, old);
}

#[tokio::test]
async fn stored_binding_is_renewed_by_one() {
    let (_parent, folder, env) = first().await;
    let old = thumbprint(&env).await;
    env.clock.advance(8 * DAY);
    env.issuer.fail([Ok(crate::issuer::metadata()), Ok(answer(403, Some("IMDS/1"), ""))]);
    let one = next(&env, &folder);
    assert_eq!(thumbprint(&one).await, old);
    let renewed = thumbprint(&next(&env, &folder)).await;
    assert_ne!(renewed, old);
    assert_eq!((thumbprint(&next(&env, &folder)).await, env.mints()), (renewed, 2));
    env.clock.advance(15 * DAY);
    assert_ne!(thumbprint(&next(&env, &folder)).await, renewed);
}

#[tokio::test]
async fn partial_file_is_ignored() {
    let (_parent, folder, env) = first().await;
    let old = thumbprint(&env).await;
    let path = file(&folder);
    fs::write(path.with_extension("json.new"), b"half of a bind").unwrap();
    assert_eq!(thumbprint(&next(&env, &folder)).await, old);
    fs::remove_file(&path).unwrap();
    let new = thumbprint(&next(&env, &folder)).await;
    assert_eq!((thumbprint(&next(&env, &folder)).await, env.mints()), (new, 2));
}

#[tokio::test]
async fn short_lived_certificate_is_stored() {
    for hours in [1, 23, 24, 25, 48] {
        let (_parent, folder, env) = first().await;
        env.issuer.plan(Plan { valid: (0, hours * 3600), ..Plan::default() });
        let minted = thumbprint(&env).await;
        assert_eq!(thumbprint(&next(&env, &folder)).await, minted, "{hours}");
        assert_eq!(env.mints(), 1, "{hours}");
    }
}

#[tokio::test]
async fn entries_are_kept_apart() {
    let (_parent, folder, mut env) = first().await;
    let expires_at = env.now() + DAY;
    let attested = |builder: MinterBuilder| builder.store(&folder).attester(AlwaysAttested(expires_at));
    let mut seen = vec![thumbprint(&env).await];
    env.id = ManagedIdentityId::client_id("other").unwrap();
    seen.push(thumbprint(&env).await);
    env.id = ManagedIdentityId::system_assigned();
    seen.push(thumbprint(&env.another(attested)).await);
    env.issuer.plan(Plan { machine: "a clone of the machine", ..Plan::default() });
    seen.push(thumbprint(&next(&env, &folder)).await);
    assert_eq!((seen.as_slice(), env.mints()), (&*env.issuer.issued(), 4));
    // Each process finds its own entry.
    env.issuer.plan(Plan::default());
    let again = [thumbprint(&next(&env, &folder)).await, thumbprint(&env.another(attested)).await];
    assert_eq!((again, env.mints()), ([seen[0], seen[2]], 4));
}

/// Attester of every key.
#[derive(Debug)]
struct AlwaysAttested(SystemTime);

impl Attester for AlwaysAttested {
    async fn attest(&self, _: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        Ok(Attestation::new(Secret::new("header.statement.signature"), self.0))
    }
}

#[tokio::test]
async fn locked_store_does_not_block_minting() {
    let logs = CapturedLogs::begin();
    let (_parent, folder, env) = first().await;
    let old = thumbprint(&env).await;
    let path = file(&folder);
    fs::remove_file(&path).unwrap();
    let dir = PrivateDir::open(&folder).unwrap();
    let lock = path.with_extension("lock").file_name().unwrap().to_str().unwrap().to_owned();
    let held = dir.try_lock(&lock).unwrap();
    assert!(held.is_some());
    let began = env.now();
    let other = next(&env, &folder);
    let minted = tokio::select! {
        minted = thumbprint(&other) => minted,
        () = async { loop { env.clock.advance_to_next(); tokio::task::yield_now().await; } } => old,
    };
    assert!(minted != old && env.mints() == 2);
    // It waits for a mint that is running, but leaves time for its own.
    let waited = env.now().duration_since(began).unwrap();
    assert!((Duration::from_secs(10)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
    assert!(!path.exists(), "what another process may be writing is left alone");
    assert!(logs.text().contains("minting without it"));
    drop(held);
    thumbprint(&next(&env, &folder)).await;
    assert!(path.exists() && env.mints() == 3);
}

#[tokio::test]
async fn unstorable_binding_is_used() {
    let logs = CapturedLogs::begin();
    let (_parent, folder, env) = first().await;
    thumbprint(&env).await;
    let path = file(&folder);
    fs::remove_file(&path).unwrap();
    // Folders at the path of the temporary file, and where it would be set aside.
    fs::create_dir(path.with_extension("json.new")).unwrap();
    for number in 1..=9 {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let aside = path.with_extension(format!("json.new.set-aside{number}"));
        fs::create_dir_all(aside.join("content")).unwrap();
    }
    let other = next(&env, &folder);
    let minted = thumbprint(&other).await;
    assert_eq!((thumbprint(&other).await, env.mints()), (minted, 2));
    assert!(logs.text().contains("could not store the binding"));
}

#[tokio::test]
async fn store_logs_contain_no_secrets() {
    let logs = CapturedLogs::begin();
    let (_parent, folder, env) = first().await;
    binding(&env).await.unwrap();
    binding(&next(&env, &folder)).await.unwrap();
    fs::write(file(&folder), b"").unwrap();
    binding(&next(&env, &folder)).await.unwrap();
    let text = logs.text();
    assert!(text.contains("stored the binding") && text.contains("using a stored binding"), "{text}");
    for hidden in [CLIENT, TENANT, VM] {
        assert!(!text.contains(hidden), "{text}");
    }
}
