//! The certificate and key in files of another program.

use std::path::{Path, PathBuf};

use symbolon::parts::binding::store::publish_file;
use symbolon::parts::binding::{BindingRecord, SharedKeyProvider, spawn_blocking};
use symbolon::parts::types::SigningKey;
use symbolon::{Binding, Env, Error, ErrorKind, ManagedIdentity, ManagedIdentityId, PersistedKeys, Secret};

use crate::args::GlobalOptions;
use crate::args::binding::HandoverOptions;
use crate::args::key::KeyType;
use crate::keys::DeviceKeys;
use crate::server_log::ServerLog;
use crate::{acquire, failure, keys, output};

/// The schemes of `--key` that select a device. Everything else is the path of a file.
const DEVICES: [&str; 2] = ["pkcs11:", "tpm:"];

/// The managed identity whose certificate is handed over, and the files for it.
pub(super) struct Handover<'a> {
    options: &'a HandoverOptions,
    identity: ManagedIdentity,
    /// The file with the private key, if it is handed over.
    key_file: Option<&'a Path>,
    keys: HandoverKeys,
}

/// The keys of the certificate.
enum HandoverKeys {
    Exportable(PersistedKeys),
    Device(DeviceKeys),
}

/// The current certificate, after its files were written.
pub(super) struct HandoverUpdate {
    pub(super) binding: Binding,
    pub(super) record: BindingRecord,
    /// True if a file has another content or mode than before.
    pub(super) is_changed: bool,
}

impl<'a> Handover<'a> {
    pub(super) fn new(
        options: &'a HandoverOptions,
        global: &GlobalOptions,
        env: &Env,
        log: ServerLog,
    ) -> Result<Self, Error> {
        let device = options.key.as_deref().and_then(Path::to_str).filter(|key| is_device(key));
        let key_file = options.key.as_deref().filter(|_| device.is_none());
        let wrapped = options.wrapped_key.as_deref();
        check_paths([options.cert.as_deref(), key_file, options.combined.as_deref(), wrapped])?;
        let folder = keys::state_folder(env)?;
        let keys = match device {
            Some(_) if options.combined.is_some() => return Err(not_exportable()),
            Some(uri) => HandoverKeys::Device(keys::device(uri, &options.device, env)?),
            None => {
                keys::refuse_device_options(&options.device)?;
                let key_type = options.device.key_type.unwrap_or(KeyType::Rsa2048);
                HandoverKeys::Exportable(keys::persisted(key_type, &folder))
            }
        };
        let provider = match &keys {
            HandoverKeys::Exportable(keys) => SharedKeyProvider::new(keys.clone()),
            HandoverKeys::Device(keys) => keys.provider.clone(),
        };
        let is_wrapped = matches!(&keys, HandoverKeys::Device(keys) if keys.wraps_keys());
        if wrapped.is_some() && !is_wrapped {
            let error = failure::request("invalid_usage", "--wrapped-key is for a key in a TPM");
            return Err(error.with_advice("add --key tpm:, or remove the option"));
        }
        if options.identity.is_none() {
            acquire::note_ignored_client_id(log, env);
        }
        let identity = acquire::keyless_builder(
            options.min_strength,
            global.ca_file.as_deref(),
            env,
            &acquire::context(env)?,
        )?
        .identity(options.identity.clone().unwrap_or_else(ManagedIdentityId::system_assigned))
        .persist_bindings(folder)
        .key_provider(provider)
        .build()?;
        Ok(Self { options, identity, key_file, keys })
    }

    /// Returns the certificate. It is requested if there is none, it is due, or it is to be
    /// replaced.
    pub(super) async fn binding(&self, is_forced: bool) -> Result<Binding, Error> {
        match is_forced {
            true => self.identity.replaced_binding().await,
            false => self.identity.renewed_binding().await,
        }
    }

    /// Writes the files that differ.
    pub(super) async fn write(&self, binding: Binding) -> Result<HandoverUpdate, Error> {
        let record = binding.record()?;
        let is_changed = self.publish(&binding).await?;
        Ok(HandoverUpdate { binding, record, is_changed })
    }

    /// Writes the key first: a reader that reads the certificate and then the key never gets a new
    /// certificate with an old key. The key stays the same with each renewal, unless it is lost.
    async fn publish(&self, binding: &Binding) -> Result<bool, Error> {
        let HandoverOptions { cert, combined, cert_mode, key_mode, .. } = self.options;
        let certificate = output::pem_chain(binding.identity().chain());
        let mut files: Vec<(PathBuf, Secret, u32)> = Vec::new();
        if let (Some(path), HandoverKeys::Device(keys)) = (&self.options.wrapped_key, &self.keys) {
            let key = keys.wrapped_pem(binding.identity().key().public_key()).await?;
            files.push((path.clone(), Secret::new(key.ok_or_else(key_gone)?), *key_mode));
        }
        if self.key_file.is_some() || combined.is_some() {
            let key = self.key(binding).await?;
            if let Some(path) = combined {
                // Allocated in full size: growing would leave copies of the key in memory.
                let mut text = String::with_capacity(certificate.len() + key.expose().len());
                text.push_str(&certificate);
                text.push_str(key.expose());
                files.push((path.clone(), Secret::new(text), *key_mode));
            }
            if let Some(path) = self.key_file {
                files.insert(0, (path.to_owned(), key, *key_mode));
            }
        }
        if let Some(path) = cert {
            files.push((path.clone(), Secret::new(certificate), *cert_mode));
        }
        let publish = move || {
            files.iter().try_fold(false, |is_changed, (path, content, mode)| {
                Ok(publish_file(path, content.expose().as_bytes(), *mode)? || is_changed)
            })
        };
        spawn_blocking(publish).await?
    }

    async fn key(&self, binding: &Binding) -> Result<Secret, Error> {
        let HandoverKeys::Exportable(keys) = &self.keys else { return Err(not_exportable()) };
        let key = keys.export_pem(binding.identity().key().public_key()).await?;
        key.ok_or_else(key_gone)
    }
}

fn is_device(key: &str) -> bool {
    let begins_with =
        |scheme: &str| key.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    DEVICES.into_iter().any(begins_with)
}

/// Refuses the same file for two purposes: the second one would replace the first.
fn check_paths(paths: [Option<&Path>; 4]) -> Result<(), Error> {
    let resolved = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
        path.file_name().map_or_else(|| path.to_owned(), |name| parent.join(name))
    };
    let mut seen = Vec::new();
    for path in paths.into_iter().flatten().map(resolved) {
        if seen.contains(&path) {
            let message = format!(
                "{} is named twice; --combined alone writes certificate and key to one file",
                path.display()
            );
            return Err(failure::request("invalid_usage", message));
        }
        seen.push(path);
    }
    Ok(())
}

fn key_gone() -> Error {
    let message = "the key of the certificate is no longer in the state folder";
    Error::new(ErrorKind::Environment, "key_gone", message)
        .with_advice("run the command again: it requests a certificate for a new key")
}

fn not_exportable() -> Error {
    let message = "--combined needs the private key, but a key in a device cannot be exported";
    Error::new(ErrorKind::Environment, "key_not_exportable", message)
        .with_advice("use --cert alone, and configure the other program with the key in the device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_from_paths() {
        for device in ["pkcs11:", "PKCS11:token=x", "tpm:", "Tpm:device"] {
            assert!(is_device(device), "{device}");
        }
        for path in ["key.pem", "/etc/pkcs11:x", "./tpm:", "tpm", "", "é:", "pkcs1\u{e9}:"] {
            assert!(!is_device(path), "{path}");
        }
    }
}
