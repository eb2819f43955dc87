//! Builder of a key provider.

use std::path::PathBuf;

use symbolon_types::{Context, Error, ErrorKind, Secret, SharedClock};

use crate::TpmKeys;
use crate::key::Tpm;
use crate::public::TpmAlgorithm;
use crate::tcti::Tcti;

/// Builder of a [`TpmKeys`]; see [`TpmKeys::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TpmKeysBuilder {
    tcti: Tcti,
    folder: PathBuf,
    algorithm: TpmAlgorithm,
    parent: Option<u32>,
    owner: Option<Secret>,
    clock: SharedClock,
}

impl TpmKeys {
    /// Returns a builder. `tcti` is the address of the TPM in the notation of the TCG's tools
    /// (`device:/dev/tpmrm0`, `swtpm:host=localhost,port=2321`, `swtpm:path=/run/swtpm.sock`);
    /// `folder` is the folder of the wrapped key.
    ///
    /// Use the device with the resource manager (`tpmrm`). On the other device, keys stay loaded
    /// when a process is killed.
    ///
    /// # Errors
    /// `invalid_configuration` when `tcti` is not the address of a TPM.
    pub fn builder(tcti: &str, folder: impl Into<PathBuf>) -> Result<TpmKeysBuilder, Error> {
        Ok(TpmKeysBuilder {
            tcti: tcti.parse()?,
            folder: folder.into(),
            algorithm: TpmAlgorithm::Rsa2048,
            parent: None,
            owner: None,
            clock: SharedClock::system(),
        })
    }

    /// Returns a builder for a key in the TPM of a URI: `tpm:` and its address in the notation of
    /// [`builder`](Self::builder), by default `device:/dev/tpmrm0`; then `?parent=` and the handle
    /// of a storage key, if there is one. For example `tpm:`, `tpm:swtpm:path=/run/swtpm.sock` or
    /// `tpm:device:/dev/tpmrm0?parent=0x81000001`.
    ///
    /// # Errors
    /// `invalid_configuration` when the URI has another form.
    pub fn from_uri(uri: &str, folder: impl Into<PathBuf>) -> Result<TpmKeysBuilder, Error> {
        let (_, rest) = uri
            .split_once(':')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("tpm"))
            .ok_or_else(|| invalid("does not begin with `tpm:`"))?;
        let (tcti, query) = rest.split_once('?').unwrap_or((rest, ""));
        let builder = Self::builder(if tcti.is_empty() { "device" } else { tcti }, folder)?;
        if query.is_empty() {
            return Ok(builder);
        }
        let handle = query.strip_prefix("parent=0x").filter(|hex| hex.len() == 8);
        let handle = handle.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let handle = handle.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        Ok(builder.parent(handle.ok_or_else(|| invalid("has another part after the `?` than `parent=0x…`"))?))
    }
}

fn invalid(problem: &str) -> Error {
    let summary = format!("the URI of the TPM {problem}");
    Error::new(ErrorKind::Request, "invalid_configuration", summary)
        .with_advice("use `tpm:`, `tpm:device:/dev/tpmrm0` or `tpm:swtpm:path=/run/swtpm.sock`")
}

impl TpmKeysBuilder {
    /// Uses an RSA key of 2048 bits, the kind that `IMDSv2` certifies. This is the default.
    pub fn rsa_2048(mut self) -> Self {
        self.algorithm = TpmAlgorithm::Rsa2048;
        self
    }

    /// Uses an ECDSA key on P-256. No released client of `IMDSv2` is known to use such a key.
    pub fn p256(mut self) -> Self {
        self.algorithm = TpmAlgorithm::P256;
        self
    }

    /// Sets the persistent handle of the storage key (for example `0x8100_0001`), which must not
    /// require an authorization value. Default: the storage key of the owner hierarchy by the TCG's
    /// template for P-256, which the TPM derives each time.
    pub fn parent(mut self, handle: u32) -> Self {
        self.parent = Some(handle);
        self
    }

    /// Sets the authorization value of the owner. Required to derive the storage key if the owner
    /// has one.
    pub fn owner_authorization(mut self, value: Secret) -> Self {
        self.owner = Some(value);
        self
    }

    /// Sets the clock that measures the wait for another process that creates the key. Default: the
    /// process's own.
    pub fn context(mut self, context: Context) -> Self {
        self.clock = context.clock().clone();
        self
    }

    /// Builds the provider. The TPM is opened when the first key is requested.
    ///
    /// # Errors
    /// `invalid_configuration` when the parent is not a persistent handle.
    pub fn build(self) -> Result<TpmKeys, Error> {
        if self.parent.is_some_and(|handle| handle >> 24 != 0x81) {
            let summary = "the parent of the key in the TPM is not a persistent handle";
            return Err(Error::new(ErrorKind::Request, "invalid_configuration", summary).with_advice(
                "persistent handles begin with 0x81; `tpm2_getcap handles-persistent` lists them",
            ));
        }
        let tpm = Tpm { tcti: self.tcti, parent: self.parent, owner: self.owner };
        Ok(TpmKeys::new(tpm, self.algorithm, self.folder, self.clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read() {
        for (uri, expected) in [
            ("tpm:", Some("device:/dev/tpmrm0 None")),
            ("TPM:", Some("device:/dev/tpmrm0 None")),
            ("tpm:device:/dev/tpm0", Some("device:/dev/tpm0 None")),
            ("tpm:?parent=0x81000001", Some("device:/dev/tpmrm0 Some(2164260865)")),
            ("tpm:swtpm:port=39?parent=0x8100000f", Some("swtpm:host=localhost,port=39 Some(2164260879)")),
            ("tpm:swtpm:path=/run/x", Some("swtpm:path=/run/x None")),
            ("tpm", None),
            ("device:/dev/tpm0", None),
            ("pkcs11:", None),
            ("", None),
            ("tpm:tabrmd", None),
            ("tpm:/dev/tpm0", None),
            ("tpm:?parent=81000001", None),
            ("tpm:?parent=0x8100", None),
            ("tpm:?parent=0x+1000001", None),
            ("tpm:?owner=1", None),
            ("tpm:?parent=0x81000001&parent=0x81000001", None),
        ] {
            let read = TpmKeys::from_uri(uri, "/folder").ok();
            let shown = read.map(|builder| format!("{} {:?}", builder.tcti, builder.parent));
            assert_eq!(shown.as_deref(), expected, "{uri}");
        }
        // A handle of another kind is refused when the provider is built.
        assert!(TpmKeys::from_uri("tpm:?parent=0x40000001", "/folder").unwrap().build().is_err());
    }
}
