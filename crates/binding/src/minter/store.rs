//! Stored bindings, shared by the processes of a user (docs/protocol/imdsv2.md#binding-store).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64ct::{Base64, Encoding};
use symbolon_files::{FileLock, PrivateDir, StoredFile, has_no_room, spawn_blocking};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::{Error, ErrorKind, SharedClock, SharedSigningKey, SigningKey, Thumbprint, printable};

use super::store_entry::StoreEntry;
use crate::binding_id::BindingId;
use crate::issuance::{CertificateError, IssuedCredential, UncheckedCertificate};
use crate::mint::{IssuanceClient, PreparedMint};
use crate::record::BindingRecord;
use crate::renewal::is_due;
use crate::{Binding, probe_key};

/// Prefix of the names of the files.
const FILE_PREFIX: &str = "binding-";
/// Maximum time to wait for another mint, which takes seconds. A process that is stopped, or a
/// runtime that is no longer driven, holds the lock for longer: it must not use up the time of the
/// callers.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Folder with one file for each identity and key.
///
/// A file is replaced and never deleted, because another process may use its binding. It contains
/// the credential as it was issued, without the key. A stored binding is validated exactly like a
/// newly issued one.
#[derive(Clone, Debug)]
pub(crate) struct BindingStore {
    folder: PathBuf,
    clock: SharedClock,
}

/// Query for a stored binding.
pub(super) struct StoreQuery<'a> {
    pub(super) request: &'a PreparedMint,
    pub(super) client: &'a IssuanceClient,
    /// Returns true for a certificate that was refused to this process.
    pub(super) is_refused: &'a (dyn Fn(Thumbprint) -> bool + Sync),
}

/// State of the file of a binding.
enum StoredBinding {
    Binding(Binding),
    /// No usable binding. The file, if there is one, can be replaced.
    Absent,
    /// A file that should not be there, to be set aside.
    Unusable(String),
}

impl BindingStore {
    pub(crate) fn new(folder: PathBuf, clock: SharedClock) -> Self {
        Self { folder, clock }
    }

    /// Returns the stored binding, or issues one and stores it. Of concurrent processes, one
    /// issues.
    ///
    /// A stored binding that is due for renewal is returned only if issuing fails and `or_due` is
    /// true.
    pub(super) async fn get_or_issue<F>(
        &self,
        query: &StoreQuery<'_>,
        or_due: bool,
        issue: F,
    ) -> Result<Binding, Error>
    where
        F: Future<Output = Result<(IssuedCredential, Binding), Error>>,
    {
        let folder = self.folder.clone();
        let dir = match spawn_blocking(move || PrivateDir::open(folder)).await? {
            Err(error) if has_no_room(&error) => {
                tracing::warn!(%error, "the store cannot be created; minting without it");
                return issue.await.map(|(_, binding)| binding);
            }
            opened => opened?,
        };
        let name = file_stem(&query.request.binding_id, &query.request.key);
        if let Some(binding) = self.current(&self.read(&dir, &name, query).await?) {
            return Ok(binding);
        }
        let lock = match dir.lock(&format!("{name}.lock"), &self.clock, LOCK_TIMEOUT).await {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(%error, "the store cannot be locked; minting without it");
                return issue.await.map(|(_, binding)| binding);
            }
        };
        // Another process may have stored a binding while this one waited for the lock.
        let stored = self.read(&dir, &name, query).await?;
        if let Some(binding) = self.current(&stored) {
            return Ok(binding);
        }
        match (issue.await, stored) {
            (Ok((credential, binding)), stored) => {
                let flaw = if let StoredBinding::Unusable(flaw) = stored { Some(flaw) } else { None };
                write(dir, &credential, &binding, flaw, lock).await;
                Ok(binding)
            }
            (Err(error), StoredBinding::Binding(due)) if or_due => {
                tracing::warn!(code = error.code(), %error, "could not renew the stored binding; using it until it expires");
                Ok(due)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Returns the stored binding if it is not due for renewal.
    fn current(&self, stored: &StoredBinding) -> Option<Binding> {
        match stored {
            StoredBinding::Binding(binding) if !is_due(binding, self.clock.steady_now()) => {
                tracing::info!(strength = %binding.identity().strength(), "using a stored binding");
                Some(binding.clone())
            }
            _ => None,
        }
    }

    async fn read(
        &self,
        dir: &PrivateDir,
        name: &str,
        query: &StoreQuery<'_>,
    ) -> Result<StoredBinding, Error> {
        let (dir, file) = (dir.clone(), format!("{name}.json"));
        let entry = match spawn_blocking(move || dir.read(&file)).await?? {
            StoredFile::Absent => return Ok(StoredBinding::Absent),
            StoredFile::Unusable(problem) => return Ok(StoredBinding::Unusable(problem.to_string())),
            StoredFile::Content(bytes) => match StoreEntry::read(&bytes) {
                Some(entry) => entry,
                None => return Ok(StoredBinding::Unusable("is damaged, or of another version".into())),
            },
        };
        let stored = self.validate(entry, query);
        if let StoredBinding::Binding(_) = &stored {
            let key = query.request.key.clone();
            if let Err(error) = spawn_blocking(move || probe_key(&key)).await? {
                tracing::warn!(code = error.code(), "the key of a stored binding does not sign");
                return Ok(StoredBinding::Absent);
            }
        }
        Ok(stored)
    }

    /// Validates an entry exactly like a newly issued credential.
    fn validate(&self, entry: StoreEntry, query: &StoreQuery<'_>) -> StoredBinding {
        let StoreQuery { request, client, is_refused } = query;
        if entry.id != request.binding_id.text() {
            return StoredBinding::Unusable("is for another identity or machine".into());
        }
        let now = self.clock.read();
        let minted_at = entry.minted_at().filter(|at| *at <= now.wall).unwrap_or(now.wall);
        let credential = entry.credential;
        if credential.check_subject(&request.metadata).is_err() {
            return StoredBinding::Unusable("is for another client".into());
        }
        let certificate = UncheckedCertificate {
            base64: &credential.certificate,
            key: &request.key,
            client_id: &credential.client_id,
            now: now.wall,
        };
        let identity = match certificate.validate() {
            Ok(identity) => identity,
            Err(CertificateError::Expired) => return StoredBinding::Absent,
            Err(error) => return StoredBinding::Unusable(format!("contains a certificate that {error}")),
        };
        if is_refused(identity.thumbprint()) {
            return StoredBinding::Absent;
        }
        match client.binding(&request.binding_id, &credential, identity, minted_at, now) {
            Ok(binding) => StoredBinding::Binding(binding),
            Err(error) => StoredBinding::Unusable(format!("cannot be used: {error}")),
        }
    }
}

/// Stores a binding. A failure is logged only, because this process can use the binding anyway.
async fn write(
    dir: PrivateDir,
    credential: &IssuedCredential,
    binding: &Binding,
    flaw: Option<String>,
    lock: FileLock,
) {
    // Named by the key of the binding: the key of the query may have been replaced.
    let file = format!("{}.json", file_stem(binding.id(), binding.identity().key()));
    let bytes = StoreEntry::new(credential, binding).to_bytes();
    if let Some(flaw) = &flaw {
        let path = dir.path().join(&file);
        tracing::warn!(file = %printable(path.display()), flaw, "a stored binding cannot be used; it is set aside");
    }
    let replace = move || {
        if flaw.is_some() {
            dir.set_aside(&file, &lock)?;
        }
        dir.replace(&file, &bytes, &lock)
    };
    match spawn_blocking(replace).await.and_then(|replaced| replaced) {
        Ok(()) => tracing::debug!("stored the binding"),
        Err(error) => {
            tracing::warn!(%error, "could not store the binding; other processes will mint their own");
        }
    }
}

/// Returns the file name without its extension: a digest, which reveals nothing about the identity.
fn file_stem(id: &BindingId, key: &SharedSigningKey) -> String {
    let mut context = Context::new(&SHA256);
    context.update(id.text().as_bytes());
    context.update(key.public_key());
    let digest = context.finish();
    let hex: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{FILE_PREFIX}{hex}")
}

/// Returns the bindings that are stored in a folder, the newest first, and an error for each
/// unusable file. Nothing is created, no key is used, and a certificate that has expired or was
/// refused is returned as well. Only on Unix.
///
/// # Errors
/// `store_unusable` when the folder cannot be read, or is not private. A missing folder has no
/// bindings.
pub fn stored_bindings(folder: &Path) -> Result<Vec<Result<BindingRecord, Error>>, Error> {
    // Opening would create it.
    if folder.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(Vec::new());
    }
    let dir = PrivateDir::open(folder)?;
    let mut records = Vec::new();
    for name in dir.names(FILE_PREFIX)?.into_iter().filter(|name| name.ends_with(".json")) {
        let unusable = |flaw: &str| {
            let path = dir.path().join(&name);
            let summary = format!("{} {flaw}", path.display());
            Error::new(ErrorKind::Environment, "store_unusable", summary)
                .with_advice("the next bound token replaces it")
        };
        let record = match dir.read(&name)? {
            StoredFile::Absent => continue,
            StoredFile::Unusable(problem) => Err(unusable(&problem.to_string())),
            StoredFile::Content(bytes) => StoreEntry::read(&bytes)
                .and_then(|entry| record(&entry))
                .ok_or_else(|| unusable("is damaged, or of another version")),
        };
        records.push(record);
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.as_ref().ok().map(BindingRecord::not_before)));
    Ok(records)
}

fn record(entry: &StoreEntry) -> Option<BindingRecord> {
    let IssuedCredential { client_id, tenant_id, certificate, .. } = &entry.credential;
    let chain = [CertificateDer::from(Base64::decode_vec(certificate).ok()?)];
    let record = BindingRecord::new(&chain, client_id, tenant_id).ok()?;
    Some(record.with_key_location(entry.key_location.as_deref()))
}
