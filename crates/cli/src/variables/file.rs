//! The file with variables.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use symbolon::{Error, Secret};
use zeroize::Zeroizing;

use crate::failure;

/// Mode of the file, before the umask: the group may read it.
const MODE: u32 = 0o640;
/// Size limit of a file that is read.
const MAX_SIZE: u64 = 64 << 10;
/// Length of a secret: 256 bits in base64url.
const SECRET_LENGTH: usize = 43;

/// Returns the secret that an earlier run of this user left in the file, so that clients with this
/// secret continue after a restart. `None` if there is no file or no secret in it.
///
/// # Errors
/// `invalid_usage` for a file that another user can have written.
pub(super) fn read_secret(path: &Path, name: &str) -> Result<Option<Secret>, Error> {
    let failed = |error| failed(path, error);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    let reason = if !found.is_file() {
        "it is not a file"
    } else if found.uid() != geteuid().as_raw() {
        "it belongs to another user"
    } else if found.mode() & 0o022 != 0 {
        "other users can write to it"
    } else {
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_SIZE).read_to_string(&mut text).map_err(failed)?;
        let secret = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        return Ok(secret.filter(|secret| is_secret(secret)).map(Secret::new));
    };
    let message = format!("the secret in --env-file {} cannot be used: {reason}", path.display());
    Err(failure::request("invalid_usage", message).with_advice("remove it, or name another file"))
}

/// Replaces the file in one step.
///
/// # Errors
/// `invalid_usage` if the folder is missing or cannot be written to.
pub(super) fn write(
    path: &Path,
    variables: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<(), Error> {
    let lines = variables.into_iter().map(|(name, value)| format!("{name}={}\n", quoted(&value)));
    let text = Zeroizing::new(lines.collect::<String>());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let replace = || {
        let mut builder = tempfile::Builder::new();
        let mut file = builder
            .prefix(".symbolon-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    };
    replace().map(drop).map_err(|error| failed(path, error))
}

/// Returns a value as systemd, sh and `docker --env-file` read it. Only unusual paths need quotes,
/// which Docker does not remove.
fn quoted(value: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/:.,_-+=@%".contains(letter);
    match value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

fn is_secret(text: &str) -> bool {
    let is_of_base64url = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
    text.len() == SECRET_LENGTH && text.bytes().all(is_of_base64url)
}

fn failed(path: &Path, error: io::Error) -> Error {
    let message = format!("cannot use --env-file {}: {error}", path.display());
    failure::request("invalid_usage", message)
}
