//! The rows of a page such as `tests/acceptance.md`, and the names of tests that speak of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::failure::Failure;

/// `DEL-04`: the group and the number within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId {
    group: String,
    number: u8,
}

/// The rows in the order of the page.
#[derive(Debug)]
pub(super) struct Rows(Vec<Row>);

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: RowId,
    pub(super) in_force: bool,
}

impl Rows {
    /// Reads the tables `| id | given → then | |`; a third cell `later` says that the row is not in
    /// force yet. Everything that is not a table is prose.
    pub(super) fn parse(name: &str, page: &str) -> Result<Self, Failure> {
        let mut rows = Vec::new();
        let mut seen = BTreeMap::new();
        for (line, number) in page.lines().zip(1..) {
            let Some(cells) = cells(line) else { continue };
            if cells.first() == Some(&"id") || is_rule(&cells) {
                continue;
            }
            let row = Row::parse(&cells).map_err(|what| Failure::new(format!("{name}:{number}: {what}")))?;
            if let Some(earlier) = seen.insert(row.id.clone(), number) {
                return Err(Failure::new(format!(
                    "{name}:{number}: {} is on line {earlier} already",
                    row.id
                )));
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(Failure::new(format!("{name} has no rows")));
        }
        Ok(Self(rows))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    pub(super) fn contains(&self, id: &RowId) -> bool {
        self.0.iter().any(|row| row.id == *id)
    }
}

impl Row {
    fn parse(cells: &[&str]) -> Result<Self, String> {
        let [id, what, force] = cells else {
            return Err("a row has three cells: id, given → then, and `later` or nothing".to_owned());
        };
        let id = RowId::parse(id).ok_or_else(|| format!("`{id}` is not an id like DEL-04"))?;
        if what.is_empty() {
            return Err(format!("{id} says nothing"));
        }
        let in_force = match *force {
            "" => true,
            "later" => false,
            other => return Err(format!("{id}: `{other}` is neither `later` nor empty")),
        };
        Ok(Self { id, in_force })
    }
}

impl RowId {
    fn parse(text: &str) -> Option<Self> {
        let (group, number) = text.split_once('-')?;
        let upper = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_uppercase());
        Some(Self { group: group.to_owned(), number: two_digits(number)? }).filter(|_| upper)
    }

    /// The rows a test speaks of, from the beginning of its name: `del_04_…` of DEL-04, `bind_04_to_06_…`
    /// of BIND-04, 05 and 06. A name that begins otherwise speaks of none.
    pub(super) fn of_test(path: &str) -> Vec<Self> {
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
        f.pad(&format!("{}-{:02}", self.group, self.number))
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The line of dashes under a table's head.
fn is_rule(cells: &[&str]) -> bool {
    cells.iter().all(|cell| !cell.is_empty() && cell.bytes().all(|byte| matches!(byte, b'-' | b':')))
}

/// Two digits exactly: the `100` of `…_100_callers` is no row.
fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# Rows\n\nProse | with a bar.\n\n| id | given → then | |\n|---|---|---|\n";

    fn of_test(name: &str) -> String {
        RowId::of_test(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_row_is_in_force_unless_it_says_later() {
        let page =
            format!("{HEAD}| DEL-01 | claims → sent | |\n| LIFE-06 | clock jumps → no panic | later |\n");
        let rows = Rows::parse("page.md", &page).expect("a page in order");
        let read: Vec<_> = rows.iter().map(|row| (row.id.to_string(), row.in_force)).collect();
        assert_eq!(read, [("DEL-01".to_owned(), true), ("LIFE-06".to_owned(), false)]);
    }

    #[test]
    fn a_page_with_a_mistake_is_refused_with_its_line() {
        let rows = [
            ("| DEL-1 | x | |", "`DEL-1` is not an id like DEL-04"),
            ("| del-01 | x | |", "`del-01` is not an id like DEL-04"),
            ("| DEL-01 | x |", "a row has three cells: id, given → then, and `later` or nothing"),
            ("| DEL-01 | | |", "DEL-01 says nothing"),
            ("| DEL-01 | x | soon |", "DEL-01: `soon` is neither `later` nor empty"),
        ];
        for (row, message) in rows {
            let failure = Rows::parse("page.md", &format!("{HEAD}{row}\n")).expect_err(row);
            assert_eq!(failure.to_string(), format!("page.md:7: {message}"));
        }
        let twice = Rows::parse("page.md", &format!("{HEAD}| DEL-01 | x | |\n| DEL-01 | y | |\n"))
            .expect_err("twice");
        assert_eq!(twice.to_string(), "page.md:8: DEL-01 is on line 7 already");
        assert_eq!(Rows::parse("page.md", HEAD).expect_err("empty").to_string(), "page.md has no rows");
    }

    #[test]
    fn a_test_speaks_of_the_rows_its_name_begins_with() {
        let rows = [
            ("del_04_invalid_client_mints_again", "DEL-04"),
            ("delegation::del_08_100_callers_mint_once", "DEL-08"),
            ("bind_04_to_06_are_refused_by_the_resource", "BIND-04 BIND-05 BIND-06"),
            ("life_01_10_minutes_of_failures", "LIFE-01"),
            ("del_04", "DEL-04"),
            ("bind_06_to_04_backwards", ""),
            ("del_100_is_no_row", ""),
            ("the_log_holds_no_secret", ""),
            ("a_02_is_a_row_of_group_a", "A-02"),
        ];
        for (name, ids) in rows {
            assert_eq!(of_test(name), ids, "{name}");
        }
    }
}
