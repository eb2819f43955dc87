//! Bindings that outlive the process, and are minted once on a machine.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use symbolon_types::{Error, SharedClock, SharedSigningKey, SigningKey, Thumbprint};

use crate::binding_id::BindingId;
use crate::blocking::spawn_blocking;
use crate::certificate::{Flaw, Issued};
use crate::credential::Credential;
use crate::mint::{Mint, Order};
use crate::store::{FileLock, PrivateDir, StoredFile};
use crate::{Binding, probe_key};

/// A mint takes seconds; with a metadata service that is being updated, up to 70. Who has waited
/// that long mints alone.
const PATIENCE: Duration = Duration::from_secs(90);
/// How an entry is laid out.
const VERSION: u32 = 1;

/// A folder with bindings, one file for each identity and key.
///
/// A file is replaced, never deleted: what is in it may be in use by another process. It holds what
/// the metadata service issued, which is checked again each time it is read, as if it had just
/// come; the key is not in it.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    clock: SharedClock,
}

/// What is wanted from the shelf.
pub(super) struct Wanted<'a> {
    pub(super) order: &'a Order,
    pub(super) mint: &'a Mint,
    /// Certificates that this process saw refused.
    pub(super) is_refused: &'a (dyn Fn(Thumbprint) -> bool + Sync),
}

/// What is on the shelf.
enum Seen {
    Binding(Binding),
    /// Nothing that is of use; to be replaced.
    Nothing,
    /// Something that should not be there; to be set aside.
    Unusable(String),
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    /// The identity in full, so that nothing rests on the name of the file.
    id: String,
    client_id: String,
    tenant_id: String,
    certificate: String,
    mtls_authentication_endpoint: String,
    /// Unix seconds.
    minted_at: u64,
}

impl Shelf {
    pub(super) fn new(folder: PathBuf, clock: SharedClock) -> Self {
        Self { folder, clock }
    }

    /// The binding that is there, or a new one that is then there. Of processes that want it at the
    /// same time, one makes it.
    ///
    /// A binding that is due for renewal counts as none, but is better than an error: where nothing
    /// better can be made, it is handed out if `or_due` says so.
    pub(super) async fn take_or_make<M>(
        &self,
        wanted: &Wanted<'_>,
        or_due: bool,
        make: M,
    ) -> Result<Binding, Error>
    where
        M: Future<Output = Result<(Credential, Binding), Error>>,
    {
        let folder = self.folder.clone();
        let dir = spawn_blocking(move || PrivateDir::open(folder)).await??;
        let name = name(&wanted.order.id, &wanted.order.key);
        let first = self.look(&dir, &name, wanted).await?;
        if let Some(binding) = self.current(&first) {
            return Ok(binding);
        }
        let lock = match dir.lock(&format!("{name}.lock"), &self.clock, PATIENCE).await {
            Ok(lock) => lock,
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the store stays locked; this process mints for itself");
                return make.await.map(|(_, binding)| binding);
            }
            Err(error) => return Err(error),
        };
        // Somebody may have made one while we waited for the lock.
        let second = self.look(&dir, &name, wanted).await?;
        if let Some(binding) = self.current(&second) {
            return Ok(binding);
        }
        match (make.await, second) {
            (Ok((credential, binding)), second) => {
                let flaw = if let Seen::Unusable(flaw) = second { Some(flaw) } else { None };
                self.put(dir, &credential, &binding, flaw, lock).await;
                Ok(binding)
            }
            (Err(error), Seen::Binding(due)) if or_due => {
                tracing::warn!(code = error.code(), %error, "could not renew the stored binding; it still serves");
                Ok(due)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn current(&self, seen: &Seen) -> Option<Binding> {
        match seen {
            Seen::Binding(binding) if self.clock.now() < binding.renew_at() => {
                tracing::info!(strength = %binding.identity().strength(), "took a stored binding");
                Some(binding.clone())
            }
            _ => None,
        }
    }

    async fn look(&self, dir: &PrivateDir, name: &str, wanted: &Wanted<'_>) -> Result<Seen, Error> {
        let (dir, file) = (dir.clone(), format!("{name}.json"));
        let found = spawn_blocking(move || dir.read(&file)).await??;
        let entry = match found {
            StoredFile::Absent => return Ok(Seen::Nothing),
            StoredFile::Unusable(flaw) => return Ok(Seen::Unusable(flaw.to_string())),
            StoredFile::Content(bytes) => match Entry::read(&bytes) {
                Some(entry) => entry,
                None => return Ok(Seen::Unusable("is damaged, or of another version".into())),
            },
        };
        let seen = self.accept(entry, wanted);
        if let Seen::Binding(_) = &seen {
            let key = wanted.order.key.clone();
            if let Err(error) = spawn_blocking(move || probe_key(&key)).await? {
                tracing::warn!(code = error.code(), "a stored binding is there, but its key does not sign");
                return Ok(Seen::Nothing);
            }
        }
        Ok(seen)
    }

    /// What an entry is worth now: what it would be worth if the metadata service had just sent it.
    fn accept(&self, entry: Entry, wanted: &Wanted<'_>) -> Seen {
        let Wanted { order, mint, is_refused } = wanted;
        if entry.id != order.id.text() {
            return Seen::Unusable("is for another identity or machine".into());
        }
        let now = self.clock.now();
        let minted_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(entry.minted_at));
        let Entry { client_id, tenant_id, certificate, mtls_authentication_endpoint, .. } = entry;
        let credential = Credential { client_id, tenant_id, certificate, mtls_authentication_endpoint };
        if credential.is_for(&order.metadata).is_err() {
            return Seen::Unusable("is for another client".into());
        }
        let Credential { certificate: base64, client_id, .. } = &credential;
        let identity =
            match (Issued { base64, key: &order.key, client_id, now, issuer_date: None }).identity() {
                Ok(identity) => identity,
                Err(Flaw::Expired) => return Seen::Nothing,
                Err(flaw) => return Seen::Unusable(format!("holds a certificate that {flaw}")),
            };
        if is_refused(identity.thumbprint()) {
            return Seen::Nothing;
        }
        let minted_at = minted_at.filter(|at| *at <= now).unwrap_or(now);
        match mint.binding(&order.id, &credential, identity, minted_at) {
            Ok(binding) => Seen::Binding(binding),
            Err(error) => Seen::Unusable(format!("cannot be used: {error}")),
        }
    }

    /// Puts a binding on the shelf. It is good also if that fails.
    async fn put(
        &self,
        dir: PrivateDir,
        credential: &Credential,
        binding: &Binding,
        flaw: Option<String>,
        lock: FileLock,
    ) {
        // The key may have been replaced meanwhile.
        let file = format!("{}.json", name(binding.id(), binding.identity().key()));
        let bytes = Entry::of(credential, binding).to_bytes();
        if let Some(flaw) = &flaw {
            let path = dir.path().join(&file);
            tracing::warn!(file = %path.display(), flaw, "a stored binding cannot be used; set aside");
        }
        let put = move || {
            if flaw.is_some() {
                dir.set_aside(&file, &lock)?;
            }
            dir.replace(&file, &bytes, &lock)
        };
        match spawn_blocking(put).await.and_then(|put| put) {
            Ok(()) => tracing::debug!("stored the binding"),
            Err(error) => {
                tracing::warn!(%error, "could not store the binding; other processes will mint their own");
            }
        }
    }
}

/// The name of the file, less what comes after the dot: it says nothing about the identity.
fn name(id: &BindingId, key: &SharedSigningKey) -> String {
    let mut context = Context::new(&SHA256);
    context.update(id.text().as_bytes());
    context.update(key.public_key());
    let short = &context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("binding-{short}")
}

impl Entry {
    fn of(credential: &Credential, binding: &Binding) -> Self {
        let minted_at = binding.minted_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: VERSION,
            id: binding.id().text(),
            client_id: credential.client_id.clone(),
            tenant_id: credential.tenant_id.clone(),
            certificate: credential.certificate.clone(),
            mtls_authentication_endpoint: credential.mtls_authentication_endpoint.clone(),
            minted_at: minted_at.as_secs(),
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, if it is whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let split = bytes.iter().position(|byte| *byte == b'\n')?;
        let (sum, rest) = bytes.split_at(split);
        let json = rest.strip_prefix(b"\n")?;
        if sum != checksum(json).as_bytes() {
            return None;
        }
        let entry: Self = serde_json::from_slice(json).ok()?;
        (entry.version == VERSION).then_some(entry)
    }

    /// A line with a checksum, and JSON.
    fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers: nothing of it cannot be written.
        let json = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        format!("{}\n{json}", checksum(json.as_bytes())).into_bytes()
    }
}

/// It tells a damaged file from a whole one, and no more: who can write here can use the key.
fn checksum(json: &[u8]) -> String {
    let digest = digest(&SHA256, json);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry {
            version: VERSION,
            id: text.into(),
            client_id: text.into(),
            tenant_id: text.into(),
            certificate: text.into(),
            mtls_authentication_endpoint: text.into(),
            minted_at: 1_795_500_000,
        }
    }

    #[test]
    fn an_entry_of_any_texts_comes_back_as_it_was() {
        for text in ["", "plain", "a|b=c", "\r\n\n", "\0", "\"\\", "häß 🔑 例え.テスト", &"x".repeat(2048)]
        {
            let read = Entry::read(&entry(text).to_bytes()).unwrap();
            let texts = [
                &read.id,
                &read.client_id,
                &read.tenant_id,
                &read.certificate,
                &read.mtls_authentication_endpoint,
            ];
            assert!(texts.iter().all(|read| *read == text), "{text:?}");
            assert_eq!(read.minted_at, 1_795_500_000);
        }
    }

    #[test]
    fn an_entry_with_any_changed_byte_is_not_read() {
        let whole = entry("text").to_bytes();
        assert!(Entry::read(&whole).is_some());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Entry::read(&changed).is_none(), "{at}");
            assert!(Entry::read(&whole[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over_and_what_is_missing_is_not() {
        let signed = |json: &str| Entry::read(format!("{}\n{json}", checksum(json.as_bytes())).as_bytes());
        let json = serde_json::to_string(&entry("text")).unwrap();
        assert!(signed(&json.replacen('{', r#"{"new":[1],"#, 1)).is_some());
        for member in ["version", "id", "client_id", "certificate", "minted_at"] {
            let without = json.replacen(&format!(r#""{member}":"#), r#""other":"#, 1);
            assert!(signed(&without).is_none(), "{member}");
        }
        assert!(signed("null").is_none() && signed("").is_none());
    }
}
