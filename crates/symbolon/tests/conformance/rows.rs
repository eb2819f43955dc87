//! Completeness of the requirements page.

use std::collections::BTreeSet;

/// The files of this folder, whose tests must all be on the page.
const CONFORMANCE: &[&str] = &[
    include_str!("arc.rs"),
    include_str!("cache.rs"),
    include_str!("claims.rs"),
    include_str!("endpoints.rs"),
    include_str!("errors.rs"),
    include_str!("identities.rs"),
    include_str!("retries.rs"),
    include_str!("service_fabric.rs"),
];

/// Source files with further tests.
const UNIT_TESTS: &[&str] = &[
    include_str!("../../src/bearer.rs"),
    include_str!("../../src/detection.rs"),
    include_str!("../../src/source/azure_arc.rs"),
    include_str!("../../src/source/azure_arc/challenge.rs"),
    include_str!("../../src/source/expiry.rs"),
    include_str!("../../src/source/response.rs"),
    include_str!("../../src/source/error.rs"),
];

/// Returns the names of the test functions in a file.
fn tests_of(file: &str) -> BTreeSet<&str> {
    let functions = file.split("test]\n").skip(1).filter_map(|rest| rest.split_once("fn "));
    functions.filter_map(|(_, rest)| rest.split('(').next()).collect()
}

#[test]
fn every_requirement_has_a_test() {
    let page = include_str!("rows.md");
    let protocol = include_str!("../../../../docs/protocol/sources.md");
    let sections: BTreeSet<String> = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let in_folder: BTreeSet<&str> = CONFORMANCE.iter().flat_map(|file| tests_of(file)).collect();
    let all: BTreeSet<&str> =
        UNIT_TESTS.iter().flat_map(|file| tests_of(file)).chain(in_folder.clone()).collect();
    let mut listed = BTreeSet::new();
    let mut requirements = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| section")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [section, requirement, tests] = cells[..] else { panic!("three cells: {line}") };
        assert!(sections.contains(section), "docs/protocol/sources.md has no section {section}");
        assert!(requirements.insert((section, requirement)), "twice: {line}");
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "a test: {line}");
        for name in names {
            assert!(all.contains(name), "there is no test {name}");
            listed.insert(name);
        }
    }
    let missing: Vec<_> = in_folder.difference(&listed).collect();
    assert!(missing.is_empty(), "tests without a requirement: {missing:?}");
}
