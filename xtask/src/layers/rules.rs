//! The rules, as functions from the metadata of cargo to violations.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Metadata;

/// Every crate named like ours comes from its folder. `[patch.crates-io]` ensures it, but cargo
/// drops a patch whose version no longer fits without an error.
pub(super) fn one_copy(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let ours = |name: &str| members.contains(name) || name.starts_with("symbolon-");
    let copies = metadata.packages.iter().filter(|package| package.source.is_some() && ours(&package.name));
    copies
        .map(|copy| format!("{} {} comes from elsewhere; see [patch.crates-io]", copy.name, copy.version))
        .collect()
}

/// `cargo package` looks for every dependency that has a version, also for dev-dependencies, so a
/// circle has no first crate.
pub(super) fn publishing_order(metadata: &Metadata) -> Vec<String> {
    let needs: BTreeMap<&str, Vec<&str>> = metadata
        .published()
        .map(|package| {
            let needs = package.dependencies.iter().filter(|dependency| dependency.is_published());
            (package.name.as_str(), needs.map(|dependency| dependency.name.as_str()).collect())
        })
        .collect();
    metadata
        .published()
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        // A circle without a dev-dependency is refused by cargo itself.
        .filter(|(_, dependency)| dependency.is_dev() && dependency.is_published())
        .filter(|(package, dependency)| reachable(&dependency.name, &needs).contains(package.name.as_str()))
        .map(|(package, dependency)| {
            let reason = "a circle with this dev-dependency; give it as a path without a version";
            format!("{} -> {}: {reason}", package.name, dependency.name)
        })
        .collect()
}

/// `cargo test --workspace` builds every library with all its features. Then no feature goes
/// untested, and runs with and without `--all-features` share their artifacts.
pub(super) fn features(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata.published().filter(|package| package.has_library()) {
        let active = metadata.active_features(package);
        for feature in package.features.keys().filter(|feature| !active.contains(feature.as_str())) {
            found.push(format!(
                "feature `{feature}` of {} is off; turn it on in tests/Cargo.toml",
                package.name
            ));
        }
    }
    found
}

/// No locked dependency declares a newer `rust-version` than our crates do.
pub(super) fn rust_version(metadata: &Metadata) -> Vec<String> {
    let ours = metadata.published().filter_map(|package| package.rust_version.as_deref().map(numbers)).min();
    let newer = metadata.packages.iter().filter_map(|package| {
        let needed = package.rust_version.as_deref()?;
        (Some(numbers(needed)) > ours)
            .then(|| format!("{} {} needs Rust {needed}", package.name, package.version))
    });
    newer.collect()
}

/// `1.88` and `1.88.0` are the same version.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// `start` and everything it needs, directly or not.
fn reachable<'a>(start: &'a str, needs: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(needs.get(name).into_iter().flatten());
        }
    }
    reached
}
