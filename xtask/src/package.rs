//! Every published crate, compiled from the archive that would be uploaded.
//!
//! `cargo package --workspace` verifies them too, but it takes the other crates from a registry of
//! its own, and cargo assumes that a version in a registry never changes: the second run on a
//! machine compiles the archives of the first. So the archives are unpacked into a workspace in
//! which they patch each other.

use std::fs;
use std::path::Path;

use crate::invocation::Invocation;
use crate::metadata::{Metadata, Package};

pub(crate) fn run(metadata: &Metadata) -> Result<(), String> {
    Invocation::cargo(["package", "--workspace", "--allow-dirty", "--no-verify"]).run()?;
    let published: Vec<&Package> = metadata.published().collect();
    let archives = metadata.target_directory().join("package");
    let unpacked = archives.join("unpacked");
    unpack(&published, &archives, &unpacked)?;
    write_workspace(&published, &unpacked)
        .map_err(|error| format!("cannot write {}: {error}", unpacked.display()))?;
    // One by one: each must compile with the features that it turns on itself.
    let manifest = unpacked.join("Cargo.toml");
    let (manifest, target) = (manifest.to_string_lossy(), metadata.target_directory().to_string_lossy());
    published.iter().try_for_each(|package| {
        Invocation::cargo(["check", "--manifest-path", &*manifest, "--target-dir", &*target])
            .args(["-p", package.name.as_str()])
            .run()
    })
}

fn unpack(published: &[&Package], archives: &Path, unpacked: &Path) -> Result<(), String> {
    // Missing on the first run.
    let _ = fs::remove_dir_all(unpacked);
    fs::create_dir_all(unpacked).map_err(|error| format!("cannot create {}: {error}", unpacked.display()))?;
    for package in published {
        let archive = archives.join(format!("{}.crate", folder_of(package)));
        // `-m`: files in an archive have a fixed date, so cargo would notice no change.
        Invocation::new("tar", ["-xzmf", &*archive.to_string_lossy(), "-C", &*unpacked.to_string_lossy()])
            .run()?;
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            if !unpacked.join(folder_of(package)).join(file).is_file() {
                return Err(format!("the archive of {} has no {file}", package.name));
            }
        }
    }
    Ok(())
}

/// Writes a workspace of the unpacked crates, with the profiles and the lock file of the root, so
/// that their dependencies are not built again.
fn write_workspace(published: &[&Package], unpacked: &Path) -> std::io::Result<()> {
    let patches = published
        .iter()
        .map(|package| format!("{} = {{ path = \"{}\" }}\n", package.name, folder_of(package)))
        .collect::<String>();
    let profiles = profiles(&fs::read_to_string("Cargo.toml")?);
    let head = "[workspace]\nresolver = \"3\"\nmembers = [\"*-*\"]\n\n[patch.crates-io]\n";
    fs::write(unpacked.join("Cargo.toml"), format!("{head}{patches}{profiles}"))?;
    fs::copy("Cargo.lock", unpacked.join("Cargo.lock")).map(drop)
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

/// `name-version`: the name of an archive and of its only folder.
fn folder_of(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

#[test]
fn only_profiles_are_taken_from_a_manifest() {
    let manifest = "[workspace]\nresolver = \"3\"\n\n[profile.release]\nlto = \"thin\"\n\n\
                    [workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n[profile.dev.package]\np256 = { opt-level = 3 }\n";
    let expected = "\n[profile.release]\nlto = \"thin\"\n\n[profile.dev.package]\np256 = { opt-level = 3 }";
    assert_eq!(profiles(manifest), expected);
}
