//! Each rule, violated once, on metadata made by hand.

use serde_json::{Value, json};

use super::rules::{self, Violation};
use super::table::{BANS, CLOSURES, LAYERS, WALLS};
use super::{names, tree};
use crate::metadata::Metadata;

/// A workspace in order: every member of the table, with one dependency that it may have.
fn workspace() -> Value {
    let packages: Vec<Value> = LAYERS
        .iter()
        .map(|layer| {
            let dependencies: Vec<Value> = layer
                .may_depend_on
                .first()
                .map(|name| dependency(name, None, "^0.1.0"))
                .into_iter()
                .collect();
            package(layer.name, None, dependencies)
        })
        .collect();
    let ids: Vec<&str> = LAYERS.iter().map(|layer| layer.name).collect();
    let nodes: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "features": ["default"] })).collect();
    json!({
        "packages": packages,
        "workspace_root": "/",
        "target_directory": "/target",
        "workspace_members": ids,
        "resolve": { "nodes": nodes },
    })
}

fn package(name: &str, source: Option<&str>, dependencies: Vec<Value>) -> Value {
    json!({
        "id": if source.is_none() { name.to_owned() } else { format!("registry {name}") },
        "name": name,
        "version": "0.1.0",
        "source": source,
        "publish": if ["xtask", "symbolon-tests"].contains(&name) { json!([]) } else { Value::Null },
        "dependencies": dependencies,
        "targets": [{ "name": name, "kind": ["lib"] }],
        "features": { "default": [] },
    })
}

fn dependency(name: &str, kind: Option<&str>, req: &str) -> Value {
    json!({ "name": name, "kind": kind, "req": req })
}

fn depend(workspace: &mut Value, member: &str, dependency: Value) {
    member_of(workspace, member)["dependencies"].as_array_mut().expect("a list").push(dependency);
}

fn member_of<'a>(workspace: &'a mut Value, member: &str) -> &'a mut Value {
    let packages = workspace["packages"].as_array_mut().expect("a list");
    packages.iter_mut().find(|package| package["name"] == member).expect("a member of the table")
}

fn found(workspace: Value) -> Vec<String> {
    let metadata: Metadata = serde_json::from_value(workspace).expect("metadata as cargo writes it");
    let rules: [fn(&Metadata) -> Vec<Violation>; 6] = [
        rules::table_is_complete,
        rules::layers,
        |metadata| WALLS.iter().flat_map(|wall| rules::wall(wall, metadata)).collect(),
        rules::one_copy,
        rules::publishing_order,
        rules::features,
    ];
    rules.into_iter().flat_map(|rule| rule(&metadata)).map(|violation| violation.to_string()).collect()
}

#[test]
fn a_workspace_in_order_has_no_violation() {
    assert_eq!(found(workspace()), Vec::<String>::new());
}

#[test]
fn every_forbidden_direct_dependency_is_found_once() {
    let no_http = "HTTP lives in the default transport, and in the two that serve it: the emulator and the agent; the rest speaks `Transport`";
    let no_tls = "TLS lives in the default transport and in the emulator";
    let rows = [
        ("symbolon-types", "symbolon-transport", "it may depend on no other member"),
        ("symbolon-token", "symbolon-binding", "it may depend on symbolon-types, symbolon-transport only"),
        ("symbolon-binding", "symbolon-token", "it may depend on symbolon-types, symbolon-transport only"),
        ("symbolon-emulator", "symbolon-transport", "it may depend on symbolon-types only"),
        (
            "symbolon-cli",
            "symbolon-token",
            "it may depend on symbolon, symbolon-agent, symbolon-emulator only",
        ),
        ("xtask", "symbolon", "it may depend on no other member"),
        ("symbolon-token", "hyper", no_http),
        ("symbolon", "hyper-util", no_http),
        ("symbolon-cli", "hyper", no_http),
        ("symbolon-agent", "rustls", no_tls),
        ("symbolon-transport", "hyper-rustls", no_tls),
        ("symbolon-cli", "rustls", no_tls),
        ("symbolon-tests", "tokio-rustls", no_tls),
        (
            "symbolon-token",
            "x509-cert",
            "certificates are read once, in `ClientIdentity`, and written once, in the minter",
        ),
        (
            "symbolon-hyper",
            "der",
            "certificates are read once, in `ClientIdentity`, and written once, in the minter",
        ),
        (
            "symbolon-binding",
            "rcgen",
            "the other side of the wire shares no code with ours, so that a mistake shows",
        ),
        (
            "symbolon-token",
            "jsonwebtoken",
            "the other side of the wire shares no code with ours, so that a mistake shows",
        ),
        (
            "symbolon-types",
            "x509-parser",
            "the other side of the wire shares no code with ours, so that a mistake shows",
        ),
        (
            "symbolon-types",
            "aws-lc-rs",
            "a key is a `SigningKey`; only key providers and TLS know who computes",
        ),
        ("symbolon-hyper", "p256", "the pure Rust P-256 key provider is one of the minter's"),
    ];
    for (member, name, reason) in rows {
        for kind in [None, Some("build")] {
            let mut workspace = workspace();
            depend(&mut workspace, member, dependency(name, kind, "^1"));
            assert_eq!(found(workspace), [format!("{member} -> {name}: {reason}")], "{kind:?}");
        }
    }
}

#[test]
fn a_dev_dependency_is_free_of_layers_and_walls() {
    let mut workspace = workspace();
    depend(&mut workspace, "symbolon-token", dependency("symbolon-emulator", Some("dev"), "^0.1.0"));
    depend(&mut workspace, "symbolon-binding", dependency("x509-parser", Some("dev"), "^0.18"));
    assert_eq!(found(workspace), Vec::<String>::new());
}

#[test]
fn a_member_that_the_table_does_not_know_is_found() {
    let mut workspace = workspace();
    workspace["packages"].as_array_mut().expect("a list").push(package("stranger", None, Vec::new()));
    workspace["workspace_members"].as_array_mut().expect("a list").push(json!("stranger"));
    workspace["resolve"]["nodes"]
        .as_array_mut()
        .expect("a list")
        .push(json!({ "id": "stranger", "features": ["default"] }));
    assert_eq!(
        found(workspace),
        ["stranger -> the table: this member has no row in xtask/src/layers/table.rs"]
    );
}

#[test]
fn a_name_in_the_table_without_a_member_is_found() {
    let mut workspace = workspace();
    let members = workspace["workspace_members"].as_array_mut().expect("a list");
    members.retain(|member| member != "xtask");
    assert_eq!(found(workspace), ["the table -> xtask: no member of the workspace has this name"]);
}

#[test]
fn a_published_copy_of_our_own_crate_is_found() {
    let reason = "a copy from elsewhere; see [patch.crates-io] in Cargo.toml";
    for name in ["symbolon-types", "symbolon-extra"] {
        let mut workspace = workspace();
        let copy = package(name, Some("registry+elsewhere"), Vec::new());
        workspace["packages"].as_array_mut().expect("a list").push(copy);
        assert_eq!(found(workspace), [format!("the graph -> {name} 0.1.0: {reason}")]);
    }
}

#[test]
fn a_circle_through_a_versioned_dev_dependency_is_found_and_one_through_a_path_is_not() {
    for (req, expected) in [
        (
            "^0.1.0",
            vec![
                "symbolon-types -> symbolon-emulator: a circle with this dev-dependency; \
                 give it as a path without a version",
            ],
        ),
        ("*", vec![]),
    ] {
        let mut workspace = workspace();
        depend(&mut workspace, "symbolon-types", dependency("symbolon-emulator", Some("dev"), req));
        // Behind the circle, not in it.
        depend(&mut workspace, "symbolon-hyper", dependency("symbolon-emulator", Some("dev"), "^0.1.0"));
        assert_eq!(found(workspace), expected);
    }
}

#[test]
fn a_feature_that_the_workspace_leaves_off_is_found() {
    let mut workspace = workspace();
    member_of(&mut workspace, "symbolon-transport")["features"] = json!({ "default": [], "testing": [] });
    assert_eq!(
        found(workspace),
        ["symbolon-tests -> symbolon-transport: `cargo test --workspace` leaves feature `testing` off; \
          turn it on in tests/Cargo.toml"]
    );
}

#[test]
fn a_forbidden_crate_anywhere_in_a_default_tree_is_found() {
    for closure in CLOSURES {
        for name in closure.never {
            let clean = format!(
                "{} v0.1.0 (/somewhere)\nhttp v1.5.0\nserde_derive v1.0.0 (proc-macro)\n",
                closure.of
            );
            assert_eq!(rules::closure(closure, &names(&clean)), []);
            let found = rules::closure(closure, &names(&format!("{clean}{name} v0.1.0 (*)\n")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, [format!("{} -> {name}: {}", closure.of, closure.reason)]);
        }
    }
}

#[test]
fn a_banned_crate_anywhere_in_a_tree_is_found() {
    for ban in BANS {
        let found =
            rules::bans("symbolon", BANS, &names(&format!("symbolon v0.1.0 (/x)\n{} v0.17.0\n", ban.name)));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("symbolon -> {}: {}", ban.name, ban.reason)]);
    }
    assert_eq!(rules::bans("symbolon", BANS, &names("symbolon v0.1.0 (/x)\nrustring v1.0.0\n")), []);
}

#[test]
fn a_tree_is_read_from_what_cargo_prints_today() {
    let tree = tree("xtask", &["-e", "normal"]).expect("cargo is there, it runs this test");
    assert!(tree.contains("xtask") && tree.contains("clap") && tree.contains("serde_derive"), "{tree:?}");
    assert!(!tree.contains("hyper"));
}
