//! Every example of every crate, built with the features of its own crate and run to its end.

use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// Crates that users begin with. Each has at least one example.
const ENTRY_CRATES: [&str; 3] = ["symbolon", "symbolon-token", "symbolon-transport"];

pub(crate) fn run(metadata: &Metadata) -> Result<(), String> {
    let invocations = invocations(metadata)?;
    invocations.iter().try_for_each(Invocation::run)
}

/// Commands with `-p`, because `--workspace` would add the features that other crates turn on.
fn invocations(metadata: &Metadata) -> Result<Vec<Invocation>, String> {
    let mut invocations = Vec::new();
    let mut missing = ENTRY_CRATES.to_vec();
    for package in metadata.members() {
        for example in package.targets_of("example") {
            missing.retain(|name| *name != package.name);
            let run = ["run", "-p", package.name.as_str(), "--example", example.name.as_str()];
            let features = example.required_features.join(",");
            let with_features = ["--features", features.as_str()];
            let with_features = if features.is_empty() { &[] } else { &with_features[..] };
            invocations.push(Invocation::cargo(run).args(with_features.iter().copied()));
        }
    }
    match missing.first() {
        Some(name) => Err(format!("{name} has no example, and users begin with it")),
        None => Ok(invocations),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(crates: &[&str]) -> Metadata {
        let packages: Vec<_> = crates
            .iter()
            .map(|name| {
                let example =
                    json!({ "name": "demo", "kind": ["example"], "required-features": ["testing"] });
                json!({
                    "id": name, "name": name, "version": "0.1.0", "dependencies": [], "features": {},
                    "targets": [example],
                })
            })
            .collect();
        serde_json::from_value(json!({
            "packages": packages, "workspace_root": "/", "target_directory": "/target",
            "workspace_members": crates,
        }))
        .expect("metadata as cargo writes it")
    }

    #[test]
    fn example_runs_with_its_required_features() {
        let commands = invocations(&metadata(&ENTRY_CRATES)).expect("an example for each");
        let expected = "cargo run -p symbolon --example demo --features testing";
        assert_eq!((commands.len(), commands[0].to_string()), (3, expected.to_owned()));
    }

    #[test]
    fn entry_crate_without_example_is_an_error() {
        let error = invocations(&metadata(&ENTRY_CRATES[..1])).expect_err("two are missing");
        assert_eq!(error, "symbolon-token has no example, and users begin with it");
    }
}
