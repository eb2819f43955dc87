//! The keys that options select.

use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use symbolon::PersistedKeys;
#[cfg(any(feature = "pkcs11", all(feature = "tpm", unix)))]
use symbolon::Secret;
use symbolon::parts::binding::SharedKeyProvider;
#[cfg(unix)]
use symbolon::parts::types::pki_types::SubjectPublicKeyInfoDer;
use symbolon::{Env, Error, SoftwareKeys};

use crate::args::key::{DeviceOptions, KeyChoice, KeyOptions, KeyType};
use crate::failure;

/// The variable with the folder of persisted bindings.
#[cfg(unix)]
const STATE_DIR: &str = "SYMBOLON_STATE_DIR";

/// The keys of a device.
pub(crate) struct DeviceKeys {
    pub(crate) provider: SharedKeyProvider,
    #[cfg(all(feature = "tpm", unix))]
    tpm: Option<symbolon_tpm::TpmKeys>,
}

#[cfg(unix)]
impl DeviceKeys {
    /// Returns true if the device wraps its keys, so that they can be in files.
    pub(crate) fn wraps_keys(&self) -> bool {
        #[cfg(feature = "tpm")]
        return self.tpm.is_some();
        #[cfg(not(feature = "tpm"))]
        false
    }

    /// Returns a wrapped key as `TSS2 PRIVATE KEY` in PEM; `None` if the device has another key or
    /// does not wrap keys.
    #[cfg_attr(
        not(feature = "tpm"),
        expect(clippy::unused_async, unused_variables, reason = "only a TPM wraps keys")
    )]
    pub(crate) async fn wrapped_pem(
        &self,
        public_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Result<Option<String>, Error> {
        #[cfg(feature = "tpm")]
        if let Some(keys) = &self.tpm {
            return keys.wrapped_pem(public_key).await;
        }
        Ok(None)
    }
}

/// Returns the key provider of the options. Keys in software are kept in the folder, if there is
/// one, and otherwise in memory.
#[cfg_attr(not(unix), expect(unused_variables, reason = "only Unix keeps keys in a folder"))]
pub(crate) fn provider(
    options: &KeyOptions,
    env: &Env,
    folder: Option<&Path>,
) -> Result<SharedKeyProvider, Error> {
    let key_type = match &options.key {
        KeyChoice::Device(uri) => return device(uri, &options.device, env).map(|keys| keys.provider),
        KeyChoice::Software(key_type) => *key_type,
    };
    refuse_device_options(&options.device)?;
    if options.device.key_type.is_some() {
        let message = "--key-type is for a key in a device; --key selects the type of other keys";
        return Err(failure::request("invalid_usage", message));
    }
    #[cfg(unix)]
    if let Some(folder) = folder {
        return Ok(SharedKeyProvider::new(persisted(key_type, folder)));
    }
    Ok(SharedKeyProvider::new(match key_type {
        KeyType::Rsa2048 => SoftwareKeys::rsa_2048(),
        KeyType::P256 => SoftwareKeys::p256(),
    }))
}

/// Refuses options of a device for a key in software.
pub(crate) fn refuse_device_options(options: &DeviceOptions) -> Result<(), Error> {
    let Some(option) = options.device_option() else { return Ok(()) };
    let message = format!("{option} is for a key in a device; add --key pkcs11:… or tpm:");
    Err(failure::request("invalid_usage", message))
}

/// Returns the provider of keys in a folder.
#[cfg(unix)]
pub(crate) fn persisted(key_type: KeyType, folder: &Path) -> PersistedKeys {
    match key_type {
        KeyType::Rsa2048 => PersistedKeys::rsa_2048(folder),
        KeyType::P256 => PersistedKeys::p256(folder),
    }
}

/// Returns the provider of the key that a URI identifies.
pub(crate) fn device(uri: &str, options: &DeviceOptions, env: &Env) -> Result<DeviceKeys, Error> {
    let scheme = uri.split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("pkcs11") {
        return pkcs11_keys(uri, options, env);
    }
    if scheme.eq_ignore_ascii_case("tpm") {
        return tpm_keys(uri, options, env);
    }
    // The text is not shown: it may contain a PIN.
    Err(failure::request("invalid_usage", "--key is not a known URI; it begins with pkcs11: or tpm:"))
}

#[cfg(feature = "pkcs11")]
fn pkcs11_keys(uri: &str, options: &DeviceOptions, env: &Env) -> Result<DeviceKeys, Error> {
    let mut keys = symbolon_pkcs11::Pkcs11Keys::from_uri(uri)
        .map_err(|error| error.with_context("--key"))?
        .in_hardware(options.hardware_token);
    if let Some(KeyType::P256) = options.key_type {
        keys = keys.p256();
    }
    if let Some(pin) = pin(options, env)? {
        keys = keys.pin(pin);
    }
    Ok(DeviceKeys {
        provider: SharedKeyProvider::new(keys.build()),
        #[cfg(all(feature = "tpm", unix))]
        tpm: None,
    })
}

#[cfg(not(feature = "pkcs11"))]
fn pkcs11_keys(_uri: &str, _options: &DeviceOptions, _env: &Env) -> Result<DeviceKeys, Error> {
    Err(missing_feature("pkcs11"))
}

#[cfg(all(feature = "tpm", unix))]
fn tpm_keys(uri: &str, options: &DeviceOptions, env: &Env) -> Result<DeviceKeys, Error> {
    if options.hardware_token {
        let message = "--hardware-token is for a PKCS#11 token; the device of a TPM counts as hardware";
        return Err(failure::request("invalid_usage", message));
    }
    let keys = symbolon_tpm::TpmKeys::from_uri(uri, state_folder(env)?);
    let mut keys = keys.map_err(|error| error.with_context("--key"))?;
    if let Some(KeyType::P256) = options.key_type {
        keys = keys.p256();
    }
    if let Some(pin) = pin(options, env)? {
        keys = keys.owner_authorization(pin);
    }
    let keys = keys.build()?;
    Ok(DeviceKeys { provider: SharedKeyProvider::new(keys.clone()), tpm: Some(keys) })
}

#[cfg(not(all(feature = "tpm", unix)))]
fn tpm_keys(_uri: &str, _options: &DeviceOptions, _env: &Env) -> Result<DeviceKeys, Error> {
    Err(missing_feature("tpm"))
}

#[cfg(not(all(feature = "pkcs11", feature = "tpm", unix)))]
fn missing_feature(name: &str) -> Error {
    let message = format!("--key {name}: is not part of this build of the command");
    failure::request("key_device_unsupported", message)
        .with_advice(format!("build symbolon-cli with the feature `{name}`; `tpm` is for Unix only"))
}

/// Reads the PIN. A final line break in a file is not part of it.
#[cfg(any(feature = "pkcs11", all(feature = "tpm", unix)))]
fn pin(options: &DeviceOptions, env: &Env) -> Result<Option<Secret>, Error> {
    if let Some(name) = &options.pin_env {
        // The option may have the PIN itself by mistake, so the error does not show its value.
        let value = env.var(name).filter(|value| !value.is_empty());
        let missing = "--pin-env does not name a variable with a value; pass the name of a variable";
        return value
            .map(|pin| Some(Secret::new(pin)))
            .ok_or_else(|| failure::request("invalid_usage", missing));
    }
    let Some(path) = &options.pin_file else { return Ok(None) };
    let unusable = |what: &dyn std::fmt::Display| {
        failure::request("invalid_usage", format!("--pin-file {}: {what}", path.display()))
    };
    let content = crate::input_file::read(path).map_err(|error| unusable(&error))?;
    let text = str::from_utf8(&content).map_err(|_| unusable(&"it is not text"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() || text.contains('\n') {
        return Err(unusable(&"it is not one line of text"));
    }
    Ok(Some(Secret::new(text)))
}

/// Returns the folder of persisted bindings (XDG Base Directory Specification, `$XDG_STATE_HOME`).
#[cfg(unix)]
pub(crate) fn state_folder(env: &Env) -> Result<PathBuf, Error> {
    let absolute = |name| env.var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = env.var(STATE_DIR) {
        return Ok(PathBuf::from(folder));
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("symbolon")).ok_or_else(|| {
        failure::request(
            "invalid_usage",
            format!("HOME is not set, so there is no state folder: set {STATE_DIR} to one"),
        )
    })
}
