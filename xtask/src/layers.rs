//! Rules about dependencies that `cargo deny` cannot hold.
//!
//! `deny.toml` is the only list of allowed edges between crates. ARCHITECTURE.md shows the edges
//! between ours as a table, which is compared with it here.

mod rules;
mod table;
#[cfg(test)]
mod tests;

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
        // From `cargo tree`: `cargo metadata` unifies features over the workspace.
        let tree = Invocation::cargo(["tree", "-p", member, "-e", "normal", "--target", "all"])
            .args(["--prefix", "none", "-f", "{p}"])
            .output()?;
        let found: Vec<&str> = optional.iter().copied().filter(|name| reaches(&tree, name)).collect();
        report.checked(format!("{member} without features reaches none of {}", optional.join(", ")), &found);
    }
    report.verdict()
}

/// A line of `cargo tree --prefix none -f {p}` begins with the name.
fn reaches(tree: &str, name: &str) -> bool {
    tree.lines().any(|line| line.split(' ').next() == Some(name))
}
