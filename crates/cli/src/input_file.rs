//! Files that options name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Size limit of a file. A device or a pipe may have no end.
const MAX_SIZE: u64 = 64 << 20;

/// Reads a file, which may contain a private key.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let size = file.metadata().map_or(0, |found| found.len()).min(MAX_SIZE);
    // In full size: growing would leave copies of a key in memory.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_SIZE {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 64 MiB")),
        false => Ok(content),
    }
}
