//! The benchmarks of the workspace, and the comparison with other libraries.

use std::path::Path;

use clap::Args;

use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// A workspace of its own: the libraries that are compared are no dependencies of ours.
const COMPARISON: &str = "compare/Cargo.toml";

/// Run a benchmark, or list them all
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The benchmark to run; by default the benchmarks are listed
    name: Option<String>,
}

pub(crate) fn run(arguments: &BenchArgs, metadata: &Metadata) -> Result<(), String> {
    let comparison = Metadata::of_manifest(Path::new(COMPARISON))?;
    let mut found = false;
    for (metadata, manifest) in [(metadata, "Cargo.toml"), (&comparison, COMPARISON)] {
        for package in metadata.members() {
            for bench in package.targets_of("bench") {
                match &arguments.name {
                    None => println!("{:<24} {}", bench.name, package.name),
                    Some(name) if *name == bench.name => {
                        found = true;
                        Invocation::cargo(["bench", "--manifest-path", manifest])
                            .args(["-p", package.name.as_str(), "--bench", bench.name.as_str()])
                            .run()?;
                    }
                    Some(_) => {}
                }
            }
        }
    }
    match &arguments.name {
        Some(name) if !found => Err(format!("no benchmark `{name}`; `cargo xtask bench` lists them")),
        _ => Ok(()),
    }
}
