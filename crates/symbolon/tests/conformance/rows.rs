//! Whether every row has its test, or a reason.

use std::collections::BTreeSet;

/// Which rows there are: a prefix, and how many (managed-identity sources §7).
const SUITES: &[(&str, usize)] = &[
    ("NET", 41),
    ("AS", 2),
    ("ARC", 4),
    ("CS", 2),
    ("ML", 3),
    ("SF", 5),
    ("IMDS", 7),
    ("DR", 6),
    ("BLD", 4),
    ("DT", 3),
    ("GO", 26),
    ("GSF", 7),
    ("X", 11),
    // §7.7, which has numbers only.
    ("MORE", 15),
];

const SOURCES: &[&str] = &[
    include_str!("arc.rs"),
    include_str!("cache.rs"),
    include_str!("claims.rs"),
    include_str!("endpoints.rs"),
    include_str!("errors.rs"),
    include_str!("identities.rs"),
    include_str!("retries.rs"),
    include_str!("service_fabric.rs"),
    include_str!("../../src/bearer.rs"),
    include_str!("../../src/detection.rs"),
    include_str!("../../src/source/azure_arc.rs"),
    include_str!("../../src/source/azure_arc/challenge.rs"),
    include_str!("../../src/source/expiry.rs"),
    include_str!("../../src/source/response.rs"),
    include_str!("../../src/source/error.rs"),
];

#[test]
fn every_row_has_a_test_or_a_reason() {
    let document = include_str!("rows.md");
    let mut told = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, holder] = cells[..] else { panic!("two cells: {line}") };
        assert!(told.insert(id.to_owned()), "twice: {id}");
        let names: Vec<&str> = holder.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            assert!(holder.starts_with("none: ") && holder.len() > 20, "a test or a reason: {line}");
        }
        for name in names {
            let is_test = |source: &&str| source.contains(&format!("fn {name}("));
            assert!(SOURCES.iter().any(is_test), "{id}: there is no test {name}");
        }
    }
    let expected: BTreeSet<String> = SUITES
        .iter()
        .flat_map(|(prefix, count)| (1..=*count).map(move |number| format!("{prefix}-{number:02}")))
        .collect();
    assert_eq!(told, expected);
}
