//! Compares a page of contract rows with the tests of the calling program.
//!
//! A page has tables `| id | given → then |` with ids such as DEL-04. A test belongs to the rows at
//! the beginning of its name: `del_04_…` to DEL-04, `bind_04_to_06_…` to BIND-04, BIND-05 and
//! BIND-06. Names that begin otherwise belong to no row.
//!
//! A test target holds its page with one test:
//!
//! ```no_run
//! #[test]
//! fn rows_have_tests() {
//!     symbolon_test_rows::assert_each_row_has_a_test("| DEL-04 | refused certificate → replaced |");
//! }
//! ```

#![expect(clippy::expect_used, clippy::panic, reason = "this crate is all tests")]

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

/// `DEL-04`: a group and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowId {
    group: String,
    number: u8,
}

/// Asserts that each row of the page has a test in the calling program, that no test names a row
/// that the page lacks, and that no test of a row is ignored.
///
/// # Panics
/// If the page or the tests are not in order, with a line for each reason.
pub fn assert_each_row_has_a_test(page: &str) {
    let rows = rows(page).unwrap_or_else(|error| panic!("the page of rows: {error}"));
    let complaints = complaints(&rows, &own_tests(&[]), &own_tests(&["--ignored"]));
    assert!(complaints.is_empty(), "rows and tests differ:\n  {}", complaints.join("\n  "));
}

/// The names of the tests in the running program.
fn own_tests(arguments: &[&str]) -> Vec<String> {
    let mut list = Command::new(std::env::current_exe().expect("the path of this program"));
    let output = list.args(["--list", "--format", "terse"]).args(arguments).output();
    let output = output.expect("the list of tests of this program");
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn complaints(rows: &BTreeSet<RowId>, tests: &[String], ignored: &[String]) -> Vec<String> {
    let held: BTreeSet<RowId> = tests.iter().flat_map(|test| RowId::of_test(test)).collect();
    let missing = rows.difference(&held).map(|row| format!("{row} has no test"));
    let unknown = tests.iter().flat_map(|test| {
        let unknown = RowId::of_test(test).into_iter().filter(|row| !rows.contains(row));
        unknown.map(move |row| format!("{test} names {row}, which is no row"))
    });
    let ignored = ignored.iter().filter(|test| !RowId::of_test(test).is_empty());
    missing.chain(unknown).chain(ignored.map(|test| format!("{test} is ignored"))).collect()
}

/// Reads the tables of a page. Everything outside of tables is prose.
fn rows(page: &str) -> Result<BTreeSet<RowId>, String> {
    let mut rows = BTreeSet::new();
    for (line, number) in page.lines().zip(1..) {
        let Some(cells) = line.trim().strip_prefix('|') else { continue };
        let mut cells = cells.split('|').map(str::trim);
        let (id, text) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if id == "id" || id.starts_with("--") {
            continue;
        }
        let id = RowId::parse(id).ok_or_else(|| format!("line {number}: `{id}` is not an id like DEL-04"))?;
        if text.is_empty() {
            return Err(format!("line {number}: {id} has no text"));
        }
        if !rows.insert(id.clone()) {
            return Err(format!("line {number}: {id} is there already"));
        }
    }
    if rows.is_empty() { Err("no rows".to_owned()) } else { Ok(rows) }
}

impl RowId {
    fn parse(text: &str) -> Option<Self> {
        let (group, number) = text.split_once('-')?;
        let upper = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_uppercase());
        Some(Self { group: group.to_owned(), number: two_digits(number)? }).filter(|_| upper)
    }

    /// The rows at the beginning of a test's name, without the path of its module.
    fn of_test(path: &str) -> Vec<Self> {
        let name = path.rsplit("::").next().unwrap_or(path);
        let mut words = name.split('_');
        let Some(group) = words.next().filter(|group| group.bytes().all(|byte| byte.is_ascii_lowercase()))
        else {
            return Vec::new();
        };
        let Some(first) = words.next().and_then(two_digits) else { return Vec::new() };
        let last = match (words.next(), words.next().and_then(two_digits)) {
            (Some("to"), Some(last)) => last,
            _ => first,
        };
        (first..=last).map(|number| Self { group: group.to_ascii_uppercase(), number }).collect()
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.group, self.number)
    }
}

/// Two digits exactly: the `100` of `…_100_callers` is no row.
fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# Rows\n\nProse | with a bar.\n\n| id | given → then |\n|---|---|\n";

    fn page(rows: &str) -> Result<BTreeSet<RowId>, String> {
        super::rows(&format!("{HEAD}{rows}"))
    }

    #[test]
    fn pages_share_no_row() {
        let acceptance = rows(include_str!("../../acceptance.md")).expect("a page in order");
        let command = rows(include_str!("../../../crates/cli/tests/contract.md")).expect("a page in order");
        assert!(acceptance.is_disjoint(&command));
    }

    #[test]
    fn mistake_in_a_page_is_refused_with_its_line() {
        for (rows, error) in [
            ("| DEL-1 | x |", "line 7: `DEL-1` is not an id like DEL-04"),
            ("| del-01 | x | |", "line 7: `del-01` is not an id like DEL-04"),
            ("| DEL-01 | |", "line 7: DEL-01 has no text"),
            ("| DEL-01 | x |\n| DEL-01 | y |", "line 8: DEL-01 is there already"),
            ("", "no rows"),
        ] {
            assert_eq!(page(rows), Err(error.to_owned()), "{rows}");
        }
    }

    #[test]
    fn test_belongs_to_the_rows_it_begins_with() {
        for (name, ids) in [
            ("del_04_invalid_client_mints_again", "DEL-04"),
            ("delegation::del_08_100_callers_mint_once", "DEL-08"),
            ("bind_04_to_06_are_refused_by_the_resource", "BIND-04 BIND-05 BIND-06"),
            ("life_01_10_minutes_of_failures", "LIFE-01"),
            ("del_04", "DEL-04"),
            ("bind_06_to_04_backwards", ""),
            ("del_100_is_no_row", ""),
            ("the_log_holds_no_secret", ""),
            ("a_02_is_a_row_of_group_a", "A-02"),
        ] {
            let found: Vec<String> = RowId::of_test(name).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), ids, "{name}");
        }
    }

    #[test]
    fn rows_and_tests_must_agree() {
        type Names = &'static [&'static str];
        let cases: [(&str, Names, Names, Names); 5] = [
            ("| DEL-01 | x | |", &["m::del_01_a", "del_01_b", "other"], &["other"], &[]),
            ("| DEL-01 | x |", &["other"], &[], &["DEL-01 has no test"]),
            ("| DEL-01 | x |", &["del_01_a"], &["del_01_a"], &["del_01_a is ignored"]),
            ("| DEL-01 | x |", &["del_01_a", "del_02_b"], &[], &["del_02_b names DEL-02, which is no row"]),
            (
                "| DEL-01 | x |",
                &["del_01_to_03_a"],
                &[],
                &[
                    "del_01_to_03_a names DEL-02, which is no row",
                    "del_01_to_03_a names DEL-03, which is no row",
                ],
            ),
        ];
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (rows, tests, ignored, expected) in cases {
            let rows = page(rows).expect("a page in order");
            assert_eq!(complaints(&rows, &owned(tests), &owned(ignored)), expected);
        }
    }

    #[test]
    fn own_tests_are_listed() {
        assert!(own_tests(&[]).contains(&"tests::own_tests_are_listed".to_owned()));
        assert_eq!(own_tests(&["--ignored"]), [""; 0]);
    }
}
