//! Files that settings name.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a file that a setting names: a regular file, or a link to one, of at most `limit` bytes.
///
/// A pipe or a device is refused: it can block the thread forever, each time it is read. The
/// content is overwritten in memory when it is dropped.
///
/// # Errors
/// Those of the file system, and [`io::ErrorKind::InvalidData`].
pub fn read_file(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    // Opening a pipe waits for a writer.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(invalid("it is not a regular file".to_owned()));
    }
    // Allocated in full: growing would leave copies of a key behind.
    let capacity = usize::try_from(found.len().min(limit)).unwrap_or_default() + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(invalid(format!("the file is larger than {limit} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_a_file_is_limited() {
        let path = std::env::temp_dir().join(format!("symbolon-read-file-{}", std::process::id()));
        fs::write(&path, b"12345").unwrap();
        assert_eq!(**read_file(&path, 5).unwrap(), b"12345"[..]);
        assert!(read_file(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        fs::remove_file(&path).unwrap();
        assert_eq!(read_file(&path, 5).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(read_file(&std::env::temp_dir(), 5).unwrap_err().to_string().contains("not a regular file"));
    }

    #[cfg(unix)]
    #[test]
    fn device_is_refused() {
        assert!(read_file(Path::new("/dev/zero"), 5).unwrap_err().to_string().contains("not a regular file"));
    }
}
