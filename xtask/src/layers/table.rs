//! The allowed edges between our crates, in `deny.toml` and in ARCHITECTURE.md.

use std::collections::BTreeSet;

use crate::metadata::Metadata;

/// A crate and one that it may depend on.
type Edges = BTreeSet<(String, String)>;

/// Rows and edges that only one of the two pages has. Unpublished crates have no row.
pub(super) fn differences(metadata: &Metadata, architecture: &str, deny: &str) -> Vec<String> {
    let published: BTreeSet<String> = metadata.published().map(|package| package.name.clone()).collect();
    let (rows, shown) = of_architecture(architecture);
    let mut allowed = of_deny(deny);
    allowed.retain(|(from, to)| published.contains(from) && published.contains(to));
    let missing = published.difference(&rows).map(|name| format!("{name} has no row in ARCHITECTURE.md"));
    let stale = rows.difference(&published).map(|name| format!("{name} of ARCHITECTURE.md is no crate"));
    let edge = |(from, to): &(String, String)| format!("{from} -> {to}");
    let unshown = allowed.difference(&shown).map(|pair| format!("{} is in deny.toml only", edge(pair)));
    let denied = shown.difference(&allowed).map(|pair| format!("{} is in ARCHITECTURE.md only", edge(pair)));
    missing.chain(stale).chain(unshown).chain(denied).collect()
}

/// Rows `| folder | crate | content | dependencies |`, where dependencies are named without
/// `symbolon-`.
fn of_architecture(page: &str) -> (BTreeSet<String>, Edges) {
    let mut rows = BTreeSet::new();
    let mut edges = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| `crates/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, name, _, dependencies] = cells[..] else { continue };
        let name = name.trim_matches('`');
        rows.insert(name.to_owned());
        for dependency in dependencies.split(", ").filter(|word| !word.contains(' ')) {
            let full = match dependency {
                "symbolon" => dependency.to_owned(),
                short => format!("symbolon-{short}"),
            };
            edges.insert((name.to_owned(), full));
        }
    }
    (rows, edges)
}

/// Lines `{ crate = "to", wrappers = ["from", …]`.
fn of_deny(configuration: &str) -> Edges {
    let mut edges = BTreeSet::new();
    for line in configuration.lines() {
        let Some((name, rest)) =
            line.trim().strip_prefix("{ crate = \"").and_then(|line| line.split_once('"'))
        else {
            continue;
        };
        let wrappers = rest.split_once("wrappers = [").and_then(|(_, rest)| rest.split_once(']'));
        let wrappers = wrappers.map_or("", |(list, _)| list).split(", ").map(|word| word.trim_matches('"'));
        edges.extend(wrappers.map(|wrapper| (wrapper.to_owned(), name.to_owned())));
    }
    edges
}
