//! Every published crate, compiled from the archive that would be uploaded.
//!
//! `cargo package --workspace` could verify them too, but it takes the crates that are already packaged from a
//! registry of its own, and what comes from a registry never changes for cargo: the second run on a
//! machine compiles the archives of the first. So the archives are unpacked into a workspace in which they
//! are each other's patches.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::{Metadata, Package};

pub(crate) fn run(metadata: &Metadata) -> Result<(), Failure> {
    Invocation::cargo(["package", "--workspace", "--allow-dirty", "--no-verify"]).run()?;

    let published: Vec<&Package> = metadata.published().collect();
    let archives = metadata.target_directory().join("package");
    let unpacked = archives.join("unpacked");
    unpack(&published, &archives, &unpacked)?;
    for package in &published {
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            if !unpacked.join(folder_of(package)).join(file).is_file() {
                return Err(Failure::new(format!("the archive of {} has no {file}", package.name)));
            }
        }
    }
    let manifest = unpacked.join("Cargo.toml");
    write(&manifest, &workspace_of(&published, &read(Path::new("Cargo.toml"))?))?;
    // The same versions of everything else.
    write(&unpacked.join("Cargo.lock"), &read(Path::new("Cargo.lock"))?)?;

    // One by one: each must compile with the features it asks for itself.
    let (manifest, target) = (manifest.to_string_lossy(), metadata.target_directory().to_string_lossy());
    published.iter().try_for_each(|package| {
        Invocation::cargo(["check", "--manifest-path", &*manifest, "--target-dir", &*target])
            .args(["-p", package.name.as_str()])
            .run()
    })
}

fn unpack(published: &[&Package], archives: &Path, unpacked: &Path) -> Result<(), Failure> {
    if unpacked.exists() {
        fs::remove_dir_all(unpacked).map_err(|error| failure("remove", unpacked, &error))?;
    }
    fs::create_dir_all(unpacked).map_err(|error| failure("create", unpacked, &error))?;
    published.iter().try_for_each(|package| {
        let archive = archives.join(format!("{}.crate", folder_of(package)));
        // `-m`: files in an archive carry a fixed date, by which cargo would take any change for none.
        Invocation::new("tar", ["-xzmf", &*archive.to_string_lossy(), "-C", &*unpacked.to_string_lossy()])
            .run()
    })
}

/// A workspace of the unpacked crates, with the profiles of the root, so that dependencies which are built
/// already are not built again.
fn workspace_of(published: &[&Package], root: &str) -> String {
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"*-*\"]\n\n[patch.crates-io]\n".to_owned();
    for package in published {
        // Writing to a `String` cannot fail.
        let _ = writeln!(manifest, "{} = {{ path = \"{}\" }}", package.name, folder_of(package));
    }
    manifest.push_str(&profiles(root));
    manifest
}

/// The `[profile…]` tables of a manifest.
fn profiles(manifest: &str) -> String {
    let mut inside = false;
    let mut tables = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[profile");
        }
        if inside {
            tables.push('\n');
            tables.push_str(line);
        }
    }
    tables
}

/// `name-version`, as archives and their only folder are called.
fn folder_of(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| failure("read", path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| failure("write", path, &error))
}

fn failure(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_a_manifest_are_taken_and_nothing_else() {
        let manifest = "[workspace]\nresolver = \"3\"\n\n[profile.release]\nlto = \"thin\"\n\n\
                        [workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n[profile.dev.package]\np256 = { opt-level = 3 }\n";
        let expected =
            "\n[profile.release]\nlto = \"thin\"\n\n[profile.dev.package]\np256 = { opt-level = 3 }";
        assert_eq!(profiles(manifest), expected);
    }
}
