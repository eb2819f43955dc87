//! Each rule, violated once, on metadata made by hand.

use serde_json::{Value, json};

use super::{packages, reaches, rules, table};
use crate::metadata::Metadata;

const ARCHITECTURE: &str = "\
| folder | crate | content | may depend on |
|---|---|---|---|
| `crates/types` | `symbolon-types` | words | no crate of ours |
| `crates/symbolon` | `symbolon` | all | types |
| `crates/emulator` | `symbolon-emulator` | other side | types, symbolon |
";
const DENY: &str = "\
    { crate = \"symbolon-types\", wrappers = [\"symbolon\", \"symbolon-emulator\", \"symbolon-tests\"], reason = \"x\" },
    { crate = \"symbolon\", wrappers = [\"symbolon-emulator\"], reason = \"[y]\" },
    { crate = \"ring\", reason = \"z\" },
";

/// A workspace with three published members and one that is not.
fn workspace() -> Value {
    let names = ["symbolon-types", "symbolon", "symbolon-emulator", "symbolon-tests"];
    let packages: Vec<Value> = names.iter().map(|name| package(name, None)).collect();
    let nodes: Vec<Value> = names.iter().map(|id| json!({ "id": id, "features": ["default"] })).collect();
    json!({
        "packages": packages,
        "workspace_root": "/",
        "target_directory": "/target",
        "workspace_members": names,
        "resolve": { "nodes": nodes },
    })
}

fn package(name: &str, source: Option<&str>) -> Value {
    json!({
        "id": if source.is_none() { name.to_owned() } else { format!("registry {name}") },
        "name": name,
        "version": "0.1.0",
        "rust_version": "1.88",
        "source": source,
        "publish": if name == "symbolon-tests" { json!([]) } else { Value::Null },
        "dependencies": [],
        "targets": [{ "name": name, "kind": ["lib"] }],
        "features": { "default": [] },
    })
}

fn add_package(workspace: &mut Value, package: Value) {
    workspace["packages"].as_array_mut().expect("a list").push(package);
}

fn depend(workspace: &mut Value, member: usize, dependency: Value) {
    workspace["packages"][member]["dependencies"].as_array_mut().expect("a list").push(dependency);
}

fn violations(workspace: Value, rule: fn(&Metadata) -> Vec<String>) -> Vec<String> {
    rule(&serde_json::from_value(workspace).expect("metadata as cargo writes it"))
}

#[test]
fn workspace_in_order_has_no_violation() {
    for rule in [rules::one_copy, rules::publishing_order, rules::features, rules::rust_version] {
        assert_eq!(violations(workspace(), rule), [""; 0]);
    }
    let metadata = serde_json::from_value(workspace()).expect("metadata as cargo writes it");
    assert_eq!(table::differences(&metadata, ARCHITECTURE, DENY), [""; 0]);
}

#[test]
fn table_and_deny_toml_must_agree() {
    let metadata = serde_json::from_value(workspace()).expect("metadata as cargo writes it");
    let architecture = ARCHITECTURE.replace("| types |", "| no crate of ours |");
    let architecture = architecture.replace("`symbolon-emulator`", "`symbolon-other`");
    let expected = [
        "symbolon-emulator has no row in ARCHITECTURE.md",
        "symbolon-other of ARCHITECTURE.md is no crate",
        "symbolon -> symbolon-types is in deny.toml only",
        "symbolon-emulator -> symbolon is in deny.toml only",
        "symbolon-emulator -> symbolon-types is in deny.toml only",
        "symbolon-other -> symbolon is in ARCHITECTURE.md only",
        "symbolon-other -> symbolon-types is in ARCHITECTURE.md only",
    ];
    assert_eq!(table::differences(&metadata, &architecture, DENY), expected);
}

#[test]
fn published_copy_of_our_crate_is_found() {
    for name in ["symbolon-types", "symbolon-extra"] {
        let mut workspace = workspace();
        add_package(&mut workspace, package(name, Some("registry+elsewhere")));
        let expected = format!("{name} 0.1.0 comes from elsewhere; see [patch.crates-io]");
        assert_eq!(violations(workspace, rules::one_copy), [expected]);
    }
}

#[test]
fn circle_of_versioned_dev_dependencies() {
    let expected =
        "symbolon-types -> symbolon: a circle with this dev-dependency; give it as a path without a version";
    for (req, expected) in [("^0.1.0", &[expected][..]), ("*", &[])] {
        let mut workspace = workspace();
        depend(&mut workspace, 1, json!({ "name": "symbolon-types", "kind": null, "req": "^0.1.0" }));
        depend(&mut workspace, 0, json!({ "name": "symbolon", "kind": "dev", "req": req }));
        // Behind the circle, not in it.
        depend(&mut workspace, 2, json!({ "name": "symbolon", "kind": "dev", "req": "^0.1.0" }));
        assert_eq!(violations(workspace, rules::publishing_order), expected);
    }
}

#[test]
fn feature_that_tests_leave_off_is_found() {
    let mut workspace = workspace();
    workspace["packages"][1]["features"] = json!({ "default": [], "testing": [] });
    let expected = "feature `testing` of symbolon is off; turn it on in tests/Cargo.toml";
    assert_eq!(violations(workspace, rules::features), [expected]);
}

#[test]
fn dependency_that_needs_a_newer_rust_is_found() {
    for (needed, expected) in
        [("1.88.0", vec![]), ("1.9", vec![]), ("1.89", vec!["other 0.1.0 needs Rust 1.89"])]
    {
        let mut workspace = workspace();
        let mut other = package("other", Some("registry+elsewhere"));
        other["rust_version"] = json!(needed);
        add_package(&mut workspace, other);
        assert_eq!(violations(workspace, rules::rust_version), expected);
    }
}

#[test]
fn tree_is_searched_for_whole_names() {
    let tree = "symbolon v0.1.0 (/x)\nring v0.17.0\nserde_derive v1.0.0 (proc-macro)\nrustring v1.0.0 (*)\n";
    assert!(reaches(tree, "ring") && reaches(tree, "serde_derive"));
    assert!(!reaches(tree, "rust") && !reaches(tree, "string"));
}

#[test]
fn packages_of_a_tree_are_counted_once() {
    let tree = "symbolon v0.1.0 (/x)\nring v0.17.0\nring v0.16.0\nserde_derive v1.0.0 (proc-macro)\nring v0.17.0 (*)\n";
    let expected = ["ring v0.16.0", "ring v0.17.0", "serde_derive v1.0.0", "symbolon v0.1.0"];
    assert_eq!(packages(tree).into_iter().collect::<Vec<_>>(), expected);
}
