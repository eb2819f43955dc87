//! Whether every row of the specification has its test, or a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Sections of IMDSv2 and the rows that they have: by their ids, or by the line of the test that they
/// are about.
const ROWS: &[(&str, &[&str])] = &[
    ("12.2", &["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10"]),
    ("12.3", &["F01", "F02", "F03", "P01", "P02", "P03", "P04", "B01", "B02", "M01", "M02"]),
    ("12.4", &["C01", "C02", "C03", "C04", "C05", "C06"]),
    (
        "12.5",
        &[
            "T01", "T02", "T03", "T04", "T05", "T06", "T07", "T08", "T09", "T10", "T11", "T12", "T13", "T14",
            "T15", "T16", "T17", "T18", "T19", "T20", "T21",
        ],
    ),
    ("12.6", &["L01", "L02", "L03", "L04", "L05", "L06", "L07", "L08", "L09", "L10", "L11"]),
    ("12.7", &["R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "R10", "R11"]),
    ("12.8", &["70", "98", "124", "151", "1336", "1149"]),
    (
        "12.9",
        &[
            "32", "40", "70", "83", "107", "121", "137", "158", "171", "180", "223", "248", "267", "299",
            "317",
        ],
    ),
    ("12.10", &["13", "38", "44", "56", "68", "82", "95"]),
    ("12.11", &["21", "42", "64", "104", "130", "146", "186"]),
    (
        "12.12",
        &[
            "153", "181", "210", "241", "264", "288", "327", "385", "413", "438", "464", "493", "528", "561",
            "580", "633", "669", "711", "741", "758", "850", "862", "878", "899", "921", "945",
        ],
    ),
    ("12.13", &["1", "2", "3", "4", "5", "6", "7"]),
    ("12.14", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]),
    ("13.1", &["1", "2", "3", "4", "5", "6"]),
    ("13.2", &["7", "8", "9", "10", "11", "12", "13", "14", "15"]),
    (
        "13.3",
        &[
            "16", "17", "18", "19", "20", "20a", "21", "22", "23", "24", "25", "25a", "25b", "26", "27",
            "28", "29", "30", "31", "32",
        ],
    ),
    ("13.4", &["33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43"]),
    ("13.4a", &["1", "2", "3", "4", "5", "6", "7"]),
    ("13.5", &["44", "45", "46", "47", "48", "49", "50", "51"]),
];

#[test]
fn every_row_has_a_test_or_a_reason() {
    let document = include_str!("rows.md");
    let own = own_sources();
    let mut told = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, holder] = cells[..] else { panic!("two cells: {line}") };
        assert!(told.insert(id.to_owned()), "twice: {id}");
        let holders: Vec<&str> = holder.split('`').skip(1).step_by(2).collect();
        if holders.is_empty() {
            assert!(holder.starts_with("none: ") && holder.len() > 20, "a test or a reason: {line}");
        }
        for holder in holders {
            assert!(is_there(holder, &own), "{id}: there is no {holder}");
        }
    }
    let rows = ROWS.iter().flat_map(|(section, ids)| ids.iter().map(move |id| format!("{section}/{id}")));
    assert_eq!(told, rows.collect());
}

/// A test of this crate by its name, one of another crate behind the path of its file, or the path of a
/// document.
fn is_there(holder: &str, own: &[String]) -> bool {
    let has = |text: &String, name: &str| text.contains(&format!("fn {name}("));
    match holder.split_once(": ") {
        Some((path, name)) => fs::read_to_string(workspace().join(path)).is_ok_and(|text| has(&text, name)),
        None if holder.ends_with(".md") => workspace().join(holder).is_file(),
        None => own.iter().any(|text| has(text, holder)),
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
