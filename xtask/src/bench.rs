//! The benchmarks of the workspace, and the comparison with other libraries beside it.

use std::path::Path;

use clap::Args;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// Like the fuzz targets a workspace of its own: what we are compared with is no dependency of ours.
const COMPARISON: &str = "compare/Cargo.toml";

/// Run a benchmark, or list them all
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which one; without it the benchmarks are listed
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, metadata: &Metadata) -> Result<(), Failure> {
    let comparison = match Path::new(COMPARISON).is_file() {
        true => Some(Metadata::of_manifest(Path::new(COMPARISON))?),
        false => None,
    };
    let ours = benches(metadata).into_iter().map(|bench| (bench, None));
    let peers = comparison.iter().flat_map(benches).map(|bench| (bench, Some(COMPARISON)));
    let benches: Vec<_> = ours.chain(peers).collect();
    let Some(wanted) = &arguments.name else {
        for ((package, bench), _) in &benches {
            println!("{bench:<24} {package}");
        }
        if benches.is_empty() {
            println!("no crate has a benchmark (crates/*/benches)");
        }
        return Ok(());
    };
    let mut found = benches.iter().filter(|((_, bench), _)| bench == wanted).peekable();
    if found.peek().is_none() {
        return Err(Failure::new(format!(
            "there is no benchmark `{wanted}`; `cargo xtask bench` lists them"
        )));
    }
    found.try_for_each(|((package, bench), manifest)| {
        let elsewhere = manifest.iter().flat_map(|manifest| ["--manifest-path", *manifest]);
        Invocation::cargo(["bench"]).args(elsewhere).args(["-p", *package, "--bench", *bench]).run()
    })
}

fn benches(metadata: &Metadata) -> Vec<(&str, &str)> {
    metadata
        .members()
        .flat_map(|package| {
            package.targets_of("bench").map(|bench| (package.name.as_str(), bench.name.as_str()))
        })
        .collect()
}
