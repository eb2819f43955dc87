//! Every example of every crate, built as its users build it and run to its end.

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// The ways into the project (ARCHITECTURE.md): facade, core alone, own transport. Each is shown
/// by at least one example of the crate that a user begins with.
const WAYS_IN: [&str; 3] = ["symbolon", "symbolon-token", "symbolon-transport"];

pub(crate) fn run(metadata: &Metadata) -> Result<(), Failure> {
    if let Some(missing) = way_in_without_example(metadata) {
        return Err(Failure::new(format!(
            "{missing} has no example; it is one of the ways into the project"
        )));
    }
    for invocation in invocations(metadata) {
        invocation.run()?;
    }
    Ok(())
}

/// Each with `-p`, not `--workspace`: an example must compile with the features that its own
/// crate asks for, not with those that a neighbour happened to turn on.
fn invocations(metadata: &Metadata) -> Vec<Invocation> {
    metadata
        .members()
        .flat_map(|package| package.targets_of("example").map(move |example| (package, example)))
        .map(|(package, example)| {
            let invocation =
                Invocation::cargo(["run", "-p", package.name.as_str(), "--example", example.name.as_str()]);
            match example.required_features.join(",") {
                features if features.is_empty() => invocation,
                features => invocation.args(["--features", features.as_str()]),
            }
        })
        .collect()
}

fn way_in_without_example(metadata: &Metadata) -> Option<&'static str> {
    WAYS_IN.into_iter().find(|way_in| {
        !metadata
            .members()
            .any(|package| package.name == *way_in && package.targets_of("example").next().is_some())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(crates: &[(&str, &[&str])]) -> Metadata {
        let packages: Vec<_> = crates
            .iter()
            .map(|(name, examples)| {
                let targets: Vec<_> = examples
                    .iter()
                    .map(|example| {
                        json!({ "name": example, "kind": ["example"], "required-features": ["testing"] })
                    })
                    .collect();
                json!({ "id": name, "name": name, "version": "0.1.0", "dependencies": [], "features": {}, "targets": targets })
            })
            .collect();
        let members: Vec<_> = crates.iter().map(|(name, _)| name).collect();
        serde_json::from_value(json!({
            "packages": packages,
            "workspace_root": "/",
            "target_directory": "/target",
            "workspace_members": members,
        }))
        .expect("metadata as cargo writes it")
    }

    #[test]
    fn an_example_runs_with_the_features_it_requires() {
        let commands: Vec<_> =
            invocations(&metadata(&[("symbolon", &["demo"])])).iter().map(ToString::to_string).collect();
        assert_eq!(commands, ["cargo run -p symbolon --example demo --features testing"]);
    }

    #[test]
    fn a_way_in_without_an_example_is_found() {
        let mut crates: Vec<(&str, &[&str])> = WAYS_IN.map(|name| (name, ["demo"].as_slice())).into();
        assert_eq!(way_in_without_example(&metadata(&crates)), None);
        crates[1].1 = &[];
        assert_eq!(way_in_without_example(&metadata(&crates)), Some("symbolon-token"));
    }
}
