//! Every example of every crate, built with the features of its own crate and run to its end.

use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// Runs them with `-p`, because `--workspace` would add the features that other crates turn on.
pub(crate) fn run(metadata: &Metadata) -> Result<(), String> {
    for package in metadata.members() {
        for example in package.targets_of("example") {
            let run = ["run", "-p", package.name.as_str(), "--example", example.name.as_str()];
            let features = example.required_features.iter().flat_map(|name| ["--features", name]);
            Invocation::cargo(run).args(features).run()?;
        }
    }
    Ok(())
}
