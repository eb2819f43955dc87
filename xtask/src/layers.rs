//! The walls between the crates, held by a tool and not by review.

mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;
use rules::Violation;
use table::{BANS, CLOSURES, LAYERS, WALLS};

pub(crate) fn run() -> Result<(), Failure> {
    let metadata = Metadata::of_graph()?;
    let mut report = Report::default();
    let published = metadata.published().count();
    let members = metadata.members().count();

    report.checked(
        format!("{} rows for {members} members, no name without a member", LAYERS.len()),
        rules::table_is_complete(&metadata),
    );
    report.checked(
        format!("{members} members depend on each other only along the table"),
        rules::layers(&metadata),
    );
    for wall in WALLS {
        report.checked(
            format!("{} only in {}", wall.around.join(", "), wall.only_in.join(", ")),
            rules::wall(wall, &metadata),
        );
    }
    for closure in CLOSURES {
        let tree = tree(closure.of, &["-e", "normal"])?;
        report.checked(
            format!("{} reaches {} crates, none of {}", closure.of, tree.len(), closure.never.join(", ")),
            rules::closure(closure, &tree),
        );
    }
    let mut banned = Vec::new();
    for package in metadata.published() {
        let tree = tree(&package.name, &["-e", "normal,build", "--all-features"])?;
        banned.extend(rules::bans(&package.name, BANS, &tree));
    }
    let bans: Vec<&str> = BANS.iter().map(|ban| ban.name).collect();
    report.checked(
        format!("none of {} under {published} published crates, any feature, any target", bans.join(", ")),
        banned,
    );
    report.checked("one copy of each of our crates, from its folder".to_owned(), rules::one_copy(&metadata));
    report.checked(
        "published crates have an order to be published in".to_owned(),
        rules::publishing_order(&metadata),
    );
    report.checked("`cargo test --workspace` turns on every feature".to_owned(), rules::features(&metadata));
    report.verdict()
}

/// What was looked at and what was found, printed as it goes.
#[derive(Debug, Default)]
struct Report {
    violations: usize,
}

impl Report {
    fn checked(&mut self, what: String, violations: Vec<Violation>) {
        self.violations += violations.len();
        println!("{:<6} {what}", if violations.is_empty() { "ok" } else { "FAILED" });
        for violation in violations {
            println!("       {violation}");
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        match self.violations {
            0 => Ok(()),
            1 => Err(Failure::new("1 edge that must not be")),
            n => Err(Failure::new(format!("{n} edges that must not be"))),
        }
    }
}

/// The names of everything reachable from a member, for every target. From `cargo tree`, because `cargo
/// metadata` resolves features for the workspace as a whole: there, one member's feature is everybody's.
fn tree(member: &str, arguments: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let answer =
        Invocation::cargo(["tree", "-p", member, "--target", "all", "--prefix", "none", "-f", "{p}"])
            .args(arguments.iter().copied())
            .answer()?;
    Ok(names(&answer))
}

/// The first word of each line of `cargo tree --prefix none -f {p}`.
fn names(tree: &str) -> BTreeSet<String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
