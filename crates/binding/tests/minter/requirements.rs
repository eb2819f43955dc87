//! Check of the table of requirements.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_requirement_has_a_test() {
    let own = own_sources();
    let protocol = fs::read_to_string(workspace().join("docs/protocol/imdsv2.md")).unwrap();
    let headings: BTreeSet<&str> = protocol
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_matches(['#', ' ']))
        .collect();
    let mut requirements = BTreeSet::new();
    for line in include_str!("requirements.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            assert!(headings.contains(heading), "docs/protocol/imdsv2.md has no heading {heading}");
        }
        if !line.starts_with("| ") || line.starts_with("| requirement") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [requirement, tests] = cells[..] else { panic!("not two cells: {line}") };
        assert!(requirements.insert(requirement), "twice: {requirement}");
        if let Some(reason) = tests.strip_prefix("not tested: ") {
            assert!(reason.len() > 20, "no reason: {line}");
            continue;
        }
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "neither a test nor a reason: {line}");
        for test in tests {
            assert!(exists(test, &own), "{requirement}: there is no {test}");
        }
    }
}

/// Returns true for the name of a test of this crate, the path and name of a test of another crate,
/// or the path of a file.
fn exists(test: &str, own: &[String]) -> bool {
    let has = |text: &String, name: &str| text.contains(&format!("fn {name}("));
    match test.split_once(": ") {
        Some((path, name)) => fs::read_to_string(workspace().join(path)).is_ok_and(|text| has(&text, name)),
        None if test.contains('/') => workspace().join(test).is_file(),
        None => own.iter().any(|text| has(text, test)),
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn own_sources() -> Vec<String> {
    let mut folders = vec![workspace().join("crates/binding/src"), workspace().join("crates/binding/tests")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                sources.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}
