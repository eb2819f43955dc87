//! Options of the key and certificate behind bound tokens and mTLS.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};
use symbolon::Strength;

#[derive(Debug, Args)]
pub(crate) struct KeyOptions {
    /// Keep key, certificate and bound tokens for the next run, in SYMBOLON_STATE_DIR or the
    /// user's state folder
    #[arg(long)]
    pub(crate) persist_binding: bool,
    /// Type of the key; or a key in a device, by a URI: pkcs11:… (RFC 7512), or tpm: with the
    /// address of the TPM, if it is not /dev/tpmrm0
    #[arg(long, value_name = "KEY", value_parser = KeyParser, default_value = "rsa-2048")]
    pub(crate) key: KeyChoice,
    /// Minimum protection of the key; fail if it is weaker
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = StrengthFloor::None)]
    pub(crate) min_strength: StrengthFloor,
    #[command(flatten)]
    pub(crate) device: DeviceOptions,
}

/// Options of keys in devices.
#[derive(Debug, Args)]
pub(crate) struct DeviceOptions {
    /// Type of the key where --key does not select it [default: rsa-2048]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) key_type: Option<KeyType>,
    /// File with the PIN of the PKCS#11 token's user, or with the authorization of the TPM's owner
    #[arg(long, value_name = "FILE", conflicts_with = "pin_env")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Environment variable with the PIN
    #[arg(long, value_name = "VAR")]
    pub(crate) pin_env: Option<String>,
    /// Declare the PKCS#11 token as hardware, which it cannot prove, for --min-strength
    #[arg(long)]
    pub(crate) hardware_token: bool,
}

impl DeviceOptions {
    /// Returns the name of an option that is set and needs a device.
    pub(crate) fn device_option(&self) -> Option<&'static str> {
        let options = [
            (self.pin_file.is_some(), "--pin-file"),
            (self.pin_env.is_some(), "--pin-env"),
            (self.hardware_token, "--hardware-token"),
        ];
        options.into_iter().find_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// A key in software, or in a device.
#[derive(Clone)]
pub(crate) enum KeyChoice {
    Software(KeyType),
    /// A URI that was not parsed yet.
    Device(String),
}

impl fmt::Debug for KeyChoice {
    /// Hides the URI, which may contain a PIN by mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Software(key_type) => key_type.fmt(f),
            Self::Device(_) => f.write_str("Device"),
        }
    }
}

/// Parser of `--key`. URIs are parsed later, because clap would print them with its error.
#[derive(Clone)]
struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = KeyChoice;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<KeyChoice, clap::Error> {
        if let Some(uri) = value.to_str().filter(|text| text.contains(':')) {
            return Ok(KeyChoice::Device(uri.to_owned()));
        }
        EnumValueParser::<KeyType>::new().parse_ref(command, argument, value).map(KeyChoice::Software)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let devices = ["pkcs11:URI", "tpm:"].map(PossibleValue::new);
        let types = KeyType::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        Some(Box::new(types.chain(devices)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrengthFloor {
    None,
    Software,
    Hardware,
    Keyguard,
}

impl StrengthFloor {
    pub(crate) fn strength(self) -> Option<Strength> {
        match self {
            Self::None => None,
            Self::Software => Some(Strength::Software),
            Self::Hardware => Some(Strength::Hardware),
            Self::Keyguard => Some(Strength::KeyGuard),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "p-256")]
    P256,
}
