//! The file with the authority's certificate, for clients that read it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

const NAME: &str = "emulator-ca.pem";

/// A file with the authority's certificate in PEM.
#[derive(Debug)]
pub(super) struct CaFile {
    path: PathBuf,
    /// Removed with its contents on drop.
    _own_folder: Option<TempDir>,
}

impl CaFile {
    /// Writes the file into this folder, or into a temporary one of this user alone.
    pub(super) fn write(pem: &str, folder: Option<&Path>) -> Result<Self, Error> {
        let (folder, own_folder) = match folder {
            Some(folder) => (folder.to_owned(), None),
            None => {
                let mut builder = tempfile::Builder::new();
                builder.prefix("symbolon-emulator-");
                #[cfg(unix)]
                builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
                let own = builder.tempdir();
                let own = own.map_err(|source| Error::File { path: std::env::temp_dir(), source })?;
                (own.path().to_owned(), Some(own))
            }
        };
        let path = folder.join(NAME);
        match fs::write(&path, pem) {
            Ok(()) => Ok(Self { path, _own_folder: own_folder }),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
