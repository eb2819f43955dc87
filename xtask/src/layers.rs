//! Rules about dependencies that `cargo deny` cannot hold.
//!
//! `deny.toml` is the only list of allowed edges between crates. ARCHITECTURE.md shows the edges
//! between ours as a table, which is compared with it here.

mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;

use crate::invocation::Invocation;
use crate::metadata::Metadata;
use crate::report::Checklist;

/// Crates that a member must not reach with its default features.
const OPTIONAL: [(&str, &[&str]); 4] = [
    ("symbolon-hyper", OLD_CIPHERS),
    ("symbolon-rustls", OLD_CIPHERS),
    ("symbolon", OPENSSL),
    ("symbolon-cli", OPENSSL),
];
const OPENSSL: &[&str] = &["openssl", "openssl-sys", "tokio-openssl"];
const OLD_CIPHERS: &[&str] = &["pkcs8", "pkcs5", "cbc", "des", "rc2"];
/// The maximum number of crates that the HTTP client adds to the facade.
const CLIENT_CRATES: usize = 15;

pub(crate) fn run() -> Result<(), String> {
    let metadata = Metadata::of_graph()?;
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    let mut report = Checklist::new(usize::MAX);
    report.checked(
        "the table of crates in ARCHITECTURE.md agrees with deny.toml",
        &table::differences(&metadata, &read("ARCHITECTURE.md")?, &read("deny.toml")?),
    );
    report.checked("one copy of each of our crates, from its folder", &rules::one_copy(&metadata));
    report.checked("published crates can be published in some order", &rules::publishing_order(&metadata));
    report.checked("`cargo test --workspace` turns on every feature", &rules::features(&metadata));
    report.checked("no dependency needs a newer Rust than the workspace", &rules::rust_version(&metadata));
    for (member, optional) in OPTIONAL {
        let tree = tree(member, &[])?;
        let found: Vec<&str> = optional.iter().copied().filter(|name| reaches(&tree, name)).collect();
        report.checked(format!("{member} without features reaches none of {}", optional.join(", ")), &found);
    }
    let facade = |features| tree("symbolon", &["--no-default-features", "--features", features]);
    let (without, with) = (facade("hyper")?, facade("client")?);
    let added: Vec<&str> = packages(&with).difference(&packages(&without)).copied().collect();
    let is_client_added = added.iter().any(|package| package.starts_with("symbolon-client "));
    report.checked(
        format!("the feature `client` of symbolon adds {} crates, of {CLIENT_CRATES}", added.len()),
        if is_client_added && added.len() <= CLIENT_CRATES { &[] } else { &added },
    );
    report.verdict()
}

/// From `cargo tree`: `cargo metadata` unifies features over the workspace.
fn tree(member: &str, features: &[&str]) -> Result<String, String> {
    Invocation::cargo(["tree", "-p", member, "-e", "normal", "--target", "all"])
        .args(["--prefix", "none", "-f", "{p}"])
        .args(features.iter().copied())
        .output()
}

/// A line of `cargo tree --prefix none -f {p}` begins with the name.
fn reaches(tree: &str, name: &str) -> bool {
    tree.lines().any(|line| line.split(' ').next() == Some(name))
}

/// Returns name and version of each package of such a tree, where a package can have several lines.
fn packages(tree: &str) -> BTreeSet<&str> {
    let end_of_version = |line: &str| line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at);
    tree.lines().map(|line| &line[..end_of_version(line)]).collect()
}
