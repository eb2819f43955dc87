//! The sources and pages of the repository.

use std::fs;
use std::path::Path;

/// Directories with nothing that was written here.
const SKIPPED: [&str; 3] = [".git", "node_modules", "target"];

/// A text file, by its path from the root with `/` between the parts.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// Reads every `.rs` and `.md` file below the current directory, in the order of paths.
    pub(crate) fn all() -> Result<Vec<Self>, String> {
        let mut files = Vec::new();
        collect(Path::new(""), &mut files).map_err(|error| format!("cannot read the sources: {error}"))?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

fn collect(directory: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    for entry in fs::read_dir(Path::new(".").join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            let text = fs::read_to_string(entry.path())?;
            files.push(SourceFile { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
    Ok(())
}
