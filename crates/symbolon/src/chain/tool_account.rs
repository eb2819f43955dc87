//! The account that is logged in to a developer tool.

use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use symbolon_token::Partition;
use symbolon_types::Env;

use super::tool_spec::ToolSettings;
use crate::partition::digest;

/// The variables that select the folder of a tool's logins, and the cloud.
const VARIABLES: [&str; 5] =
    ["AZURE_CONFIG_DIR", "AZD_CONFIG_DIR", "HOME", "USERPROFILE", "AZURE_CLOUD_NAME"];
/// The files that name the account in use: of the Azure CLI, and of the Azure Developer CLI. A
/// request for a token does not write them, as it does the tools' own token caches.
const ACCOUNT_FILES: [&str; 4] = ["azureProfile.json", "config", "auth.json", "config.json"];

/// The account of a tool, as its files show it.
#[derive(Debug, Default)]
pub(super) struct ToolAccount {
    /// The versions of the files that were read last, and the partition that follows from them.
    last: Mutex<Option<(String, Partition)>>,
}

/// The account that a tool uses now.
pub(super) struct CurrentAccount {
    pub(super) partition: Partition,
    /// True if a file shows the account.
    pub(super) is_known: bool,
}

impl ToolAccount {
    /// Returns the current account. The files are read only if one of them has changed.
    pub(super) fn current(&self, settings: &ToolSettings, env: &Env) -> CurrentAccount {
        let files = account_files(env);
        let (versions, is_known) = versions(&files);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = match &*last {
            Some((of, partition)) if *of == versions => partition.clone(),
            _ => partition(settings, env, &versions, &files),
        };
        *last = Some((versions, partition.clone()));
        CurrentAccount { partition, is_known }
    }
}

fn account_files(env: &Env) -> Vec<PathBuf> {
    let variable = |name| env.var(name).unwrap_or_default();
    let folders = [
        PathBuf::from(variable("AZURE_CONFIG_DIR")),
        PathBuf::from(variable("AZD_CONFIG_DIR")),
        Path::new(&variable("HOME")).join(".azure"),
        Path::new(&variable("HOME")).join(".azd"),
        Path::new(&variable("USERPROFILE")).join(".azure"),
        Path::new(&variable("USERPROFILE")).join(".azd"),
    ];
    let folders = folders.iter().filter(|folder| folder.is_absolute());
    folders.flat_map(|folder| ACCOUNT_FILES.map(|name| folder.join(name))).collect()
}

/// Returns the partition of the login. Users who share the cache or its store have other folders,
/// and a login changes a file there.
///
/// The versions belong to it, so that no later login returns to the partition: a login during a run
/// of the tool leaves a token of the new account under the partition of the old one.
fn partition(settings: &ToolSettings, env: &Env, versions: &str, files: &[PathBuf]) -> Partition {
    let (option, value) = settings.selection.as_ref().map_or(("", ""), |(option, value)| (*option, value));
    let contents = files.iter().map(|file| match file.is_file() {
        true => fs::read(file).unwrap_or_default(),
        false => Vec::new(),
    });
    let variables = VARIABLES.map(|name| env.var(name).unwrap_or_default().into_bytes());
    let known = variables.into_iter().chain([versions.as_bytes().to_vec()]).chain(contents);
    let digest = digest(known);
    let (name, value) = (settings.tool.link.as_str(), value.to_ascii_lowercase());
    Partition::machine_bound(format!("tool\0{name}\0{option}\0{value}\0{digest}"))
}

/// Returns a text that changes with each write to a file, and whether there is a file.
fn versions(files: &[PathBuf]) -> (String, bool) {
    let mut versions = String::new();
    let mut is_known = false;
    for file in files {
        let properties = file.metadata().ok().filter(Metadata::is_file);
        is_known |= properties.is_some();
        let version = properties.map(|properties| version(&properties)).unwrap_or_default();
        // Writing to a text cannot fail.
        let _written = write!(versions, "{}\0{version}\0", file.display());
    }
    (versions, is_known)
}

/// Returns the version of a file: its inode and its change time differ after every replacement and
/// every write, even if another program restores the time of modification.
#[cfg(unix)]
fn version(properties: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;

    let (device, inode) = (properties.dev(), properties.ino());
    let changed = (properties.ctime(), properties.ctime_nsec());
    format!("{device}.{inode}.{}.{changed:?}.{:?}", properties.len(), modified(properties))
}

#[cfg(not(unix))]
fn version(properties: &Metadata) -> String {
    format!("{}.{:?}", properties.len(), modified(properties))
}

fn modified(properties: &Metadata) -> Option<u128> {
    let modified = properties.modified().ok()?;
    Some(modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos())
}
