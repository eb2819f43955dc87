//! The contracts, row by row: each page of rows against the tests that hold it.

mod results;
mod rows;

use std::path::Path;

use crate::failure::Failure;
use crate::invocation::Invocation;
use results::{Ending, TestResult};
use rows::{RowId, Rows};

/// A page of rows, and the test target that has a test for each of them.
struct Contract {
    page: &'static str,
    target: &'static str,
}

const CONTRACTS: [Contract; 2] = [
    Contract { page: "tests/acceptance.md", target: "acceptance" },
    Contract { page: "crates/cli/tests/contract.md", target: "cli" },
];

pub(crate) fn run() -> Result<(), Failure> {
    all(CONTRACTS.iter().map(Contract::check))
}

/// All of them are checked, also after one that does not hold, and all that do not are told.
fn all(checked: impl Iterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let failures: Vec<String> = checked.filter_map(|one| Some(one.err()?.to_string())).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

impl Contract {
    fn check(&self) -> Result<(), Failure> {
        let Self { page, target } = self;
        let text = std::fs::read_to_string(Path::new(page))
            .map_err(|error| Failure::new(format!("{page} cannot be read: {error}")))?;
        let rows = Rows::parse(page, &text)?;
        // `--workspace`, although only one crate has this target: with the same features as
        // `cargo test --workspace`, what that built is used again.
        let outcome = Invocation::cargo(["test", "--workspace", "--test", target]).outcome()?;
        let tests = results::parse(&outcome.stdout);
        if !outcome.success && tests.iter().all(|test| test.ending != Ending::Failed) {
            print!("{}", outcome.stdout);
            return Err(Failure::new(format!("the tests of {page} did not run to their end")));
        }
        if let Some(reasons) = results::failures(&outcome.stdout) {
            println!("{reasons}\n");
        }
        let verdict = Verdict::of(&rows, &tests);
        for line in &verdict.lines {
            println!("{line}");
        }
        verdict.summary(page)
    }
}

#[derive(Debug)]
struct Verdict {
    lines: Vec<String>,
    in_force: usize,
    /// What keeps the contract from holding, one sentence each.
    complaints: Vec<String>,
}

impl Verdict {
    fn of(rows: &Rows, tests: &[TestResult]) -> Self {
        let width = tests.iter().map(|test| test.name.len()).max().unwrap_or_default();
        let mut verdict = Self { lines: Vec::new(), in_force: 0, complaints: Vec::new() };
        for row in rows.iter() {
            let later = if row.in_force { "" } else { " (later)" };
            let of_row: Vec<&TestResult> =
                tests.iter().filter(|test| RowId::of_test(&test.name).contains(&row.id)).collect();
            for test in &of_row {
                let word = test.ending.word();
                verdict.lines.push(format!("{:<9} {:<width$} {word}{later}", row.id, test.name));
            }
            if of_row.is_empty() {
                verdict.lines.push(format!("{:<9} {:<width$} no test{later}", row.id, "-"));
            }
            if row.in_force {
                verdict.in_force += 1;
                if of_row.is_empty() {
                    verdict.complaints.push(format!("{} has no test", row.id));
                }
                let ignored = of_row.iter().filter(|test| test.ending == Ending::Ignored);
                verdict.complaints.extend(
                    ignored.map(|test| format!("{} is in force, and {} is ignored", row.id, test.name)),
                );
            }
        }
        for test in tests {
            if test.ending == Ending::Failed {
                verdict.complaints.push(format!("{} failed", test.name));
            }
            let unknown = RowId::of_test(&test.name).into_iter().filter(|id| !rows.contains(id));
            verdict.complaints.extend(unknown.map(|id| format!("{} names {id}, which is no row", test.name)));
        }
        verdict
    }

    fn summary(&self, page: &str) -> Result<(), Failure> {
        if self.complaints.is_empty() {
            println!("\nall {} rows of {page} in force hold\n", self.in_force);
            return Ok(());
        }
        Err(Failure::new(format!("the contract of {page} does not hold\n  {}", self.complaints.join("\n  "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(page: &str, output: &str) -> Verdict {
        let page = format!("| id | given → then | |\n|---|---|---|\n{page}");
        Verdict::of(&Rows::parse("page.md", &page).expect("a page in order"), &results::parse(output))
    }

    #[test]
    fn each_row_stands_beside_its_tests() {
        let verdict = verdict(
            "| DEL-01 | x | |\n| DEL-02 | x | later |\n| DEL-03 | x | later |\n",
            "test del_01_a ... ok\ntest m::del_01_b ... ok\ntest del_03_c ... ok\ntest other ... ok\n",
        );
        assert_eq!(
            verdict.lines,
            [
                "DEL-01    del_01_a    passed",
                "DEL-01    m::del_01_b passed",
                "DEL-02    -           no test (later)",
                "DEL-03    del_03_c    passed (later)",
            ]
        );
        assert_eq!(verdict.summary("page.md"), Ok(()));
    }

    #[test]
    fn a_contract_that_does_not_hold_hides_no_other() {
        assert_eq!(all([Ok(()), Ok(())].into_iter()), Ok(()));
        let failed = |name: &str| Err(Failure::new(name));
        let mut checked = 0;
        let outcomes = [failed("one"), Ok(()), failed("two")].into_iter().inspect(|_| checked += 1);
        assert_eq!(all(outcomes), failed("one\ntwo"));
        assert_eq!(checked, 3);
    }

    #[test]
    fn what_does_not_hold_is_told_with_its_page() {
        let verdict = verdict("| CLI-01 | x | |", "test cli_02_a ... ok");
        let told = "the contract of command.md does not hold\n  \
                    CLI-01 has no test\n  cli_02_a names CLI-02, which is no row";
        assert_eq!(verdict.summary("command.md"), Err(Failure::new(told)));
    }

    #[test]
    fn the_pages_of_this_workspace_are_in_order_and_share_no_row() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the workspace");
        let pages = CONTRACTS.map(|contract| {
            let page = std::fs::read_to_string(root.join(contract.page)).expect(contract.page);
            Rows::parse(contract.page, &page).expect("a page in order")
        });
        for (number, rows) in pages.iter().enumerate() {
            assert!(rows.iter().any(|row| row.in_force));
            let others = || pages.iter().enumerate().filter(|(other, _)| *other != number);
            let shared = rows.iter().find(|row| others().any(|(_, other)| other.contains(&row.id)));
            assert!(shared.is_none(), "{shared:?}");
        }
    }

    #[test]
    fn the_contract_does_not_hold_with_any_of_these() {
        let rows: [(&str, &str, &[&str]); 6] = [
            ("| DEL-01 | x | |", "", &["DEL-01 has no test"]),
            ("| DEL-01 | x | |", "test del_01_a ... FAILED", &["del_01_a failed"]),
            (
                "| DEL-01 | x | |",
                "test del_01_a ... ok\ntest del_01_b ... ignored",
                &["DEL-01 is in force, and del_01_b is ignored"],
            ),
            ("| DEL-01 | x | later |", "test del_02_a ... ok", &["del_02_a names DEL-02, which is no row"]),
            (
                "| DEL-01 | x | |",
                "test del_01_to_03_a ... ok",
                &[
                    "del_01_to_03_a names DEL-02, which is no row",
                    "del_01_to_03_a names DEL-03, which is no row",
                ],
            ),
            ("| DEL-01 | x | later |", "test other ... FAILED", &["other failed"]),
        ];
        for (page, output, complaints) in rows {
            let verdict = verdict(page, output);
            assert_eq!(verdict.complaints, complaints, "{page} {output}");
            assert!(verdict.summary("page.md").is_err());
        }
    }
}
