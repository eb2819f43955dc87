//! The rules themselves: pure functions from what cargo says to violations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::table::{Ban, CLOSURES, Closure, LAYERS, WALLS, Wall};
use crate::metadata::{Metadata, Package};

/// One edge that must not be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    from: String,
    to: String,
    reason: String,
}

impl Violation {
    fn new(from: &str, to: &str, reason: impl Into<String>) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), reason: reason.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.reason)
    }
}

/// A wall around a crate that was renamed is no wall: table and workspace name the same members.
pub(super) fn table_is_complete(metadata: &Metadata) -> Vec<Violation> {
    let members: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let layers: BTreeSet<&str> = LAYERS.iter().map(|layer| layer.name).collect();
    let named = LAYERS
        .iter()
        .flat_map(|layer| layer.may_depend_on)
        .chain(WALLS.iter().flat_map(|wall| wall.only_in))
        .copied()
        .chain(CLOSURES.iter().map(|closure| closure.of))
        .chain(layers.iter().copied())
        .collect::<BTreeSet<&str>>();
    let missing_rows = members.difference(&layers).map(|member| {
        Violation::new(member, "the table", "this member has no row in xtask/src/layers/table.rs")
    });
    let stale_names = named
        .difference(&members)
        .map(|name| Violation::new("the table", name, "no member of the workspace has this name"));
    missing_rows.chain(stale_names).collect()
}

/// Members depend on members only along the table.
pub(super) fn layers(metadata: &Metadata) -> Vec<Violation> {
    let ours: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    direct_edges(metadata)
        .filter(|(_, dependency)| ours.contains(dependency))
        .filter_map(|(member, dependency)| {
            let layer = LAYERS.iter().find(|layer| layer.name == member)?;
            (!layer.may_depend_on.contains(&dependency)).then(|| {
                let reason = match layer.may_depend_on {
                    [] => "it may depend on no other member".to_owned(),
                    allowed => format!("it may depend on {} only", allowed.join(", ")),
                };
                Violation::new(member, dependency, reason)
            })
        })
        .collect()
}

/// Members name a walled third-party crate only inside its wall.
pub(super) fn wall(wall: &Wall, metadata: &Metadata) -> Vec<Violation> {
    direct_edges(metadata)
        .filter(|(member, dependency)| wall.around.contains(dependency) && !wall.only_in.contains(member))
        .map(|(member, dependency)| Violation::new(member, dependency, wall.reason))
        .collect()
}

/// `tree` is everything reachable from the closure's member with its default features.
pub(super) fn closure(closure: &Closure, tree: &BTreeSet<String>) -> Vec<Violation> {
    closure
        .never
        .iter()
        .filter(|name| tree.contains(**name))
        .map(|name| Violation::new(closure.of, name, closure.reason))
        .collect()
}

/// `tree` is everything reachable from the member with all its features.
pub(super) fn bans(member: &str, bans: &[Ban], tree: &BTreeSet<String>) -> Vec<Violation> {
    bans.iter()
        .filter(|ban| tree.contains(ban.name))
        .map(|ban| Violation::new(member, ban.name, ban.reason))
        .collect()
}

/// Each of our crates is in the graph once, from its folder. `[patch.crates-io]` sees to it; a patch whose
/// version no longer fits is dropped without an error, and then a published copy would come in.
pub(super) fn one_copy(metadata: &Metadata) -> Vec<Violation> {
    let ours: BTreeMap<&str, &str> =
        metadata.members().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    metadata
        .packages
        .iter()
        .filter(|package| is_ours(package, &ours))
        .filter(|package| {
            package.source.is_some() || ours.get(package.name.as_str()) != Some(&package.version.as_str())
        })
        .map(|package| {
            let copy = format!("{} {}", package.name, package.version);
            Violation::new("the graph", &copy, "a copy from elsewhere; see [patch.crates-io] in Cargo.toml")
        })
        .collect()
}

/// The published crates can be published one after the other, also with their dev-dependencies: `cargo package`
/// looks for every dependency that has a version, and a circle has no first crate.
pub(super) fn publishing_order(metadata: &Metadata) -> Vec<Violation> {
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
            Violation::new(&package.name, &dependency.name, reason)
        })
        .collect()
}

/// `cargo test --workspace` builds every library with all its features. Then nothing goes untested because
/// a feature is off, and runs with and without `--all-features` share what they built.
pub(super) fn features(metadata: &Metadata) -> Vec<Violation> {
    metadata
        .published()
        .filter(|package| package.has_library())
        .flat_map(|package| {
            let active = metadata.active_features(package);
            package.features.keys().filter(move |feature| !active.contains(feature.as_str())).map(|feature| {
                Violation::new(
                    "symbolon-tests",
                    &package.name,
                    format!("`cargo test --workspace` leaves feature `{feature}` off; turn it on in tests/Cargo.toml"),
                )
            })
        })
        .collect()
}

fn is_ours(package: &Package, ours: &BTreeMap<&str, &str>) -> bool {
    ours.contains_key(package.name.as_str()) || package.name.starts_with("symbolon-")
}

fn direct_edges(metadata: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    metadata.members().flat_map(|package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| !dependency.is_dev())
            .map(|dependency| (package.name.as_str(), dependency.name.as_str()))
    })
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
