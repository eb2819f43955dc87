//! The benchmarks of the workspace.

use clap::Args;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// Run a benchmark, or list them all
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which one; without it the benchmarks are listed
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, metadata: &Metadata) -> Result<(), Failure> {
    let benches = benches(metadata);
    let Some(wanted) = &arguments.name else {
        for (package, bench) in &benches {
            println!("{bench:<24} {package}");
        }
        if benches.is_empty() {
            println!("no crate has a benchmark (crates/*/benches)");
        }
        return Ok(());
    };
    let mut found = benches.iter().filter(|(_, bench)| bench == wanted).peekable();
    if found.peek().is_none() {
        return Err(Failure::new(format!(
            "there is no benchmark `{wanted}`; `cargo xtask bench` lists them"
        )));
    }
    found.try_for_each(|(package, bench)| {
        Invocation::cargo(["bench", "-p", *package, "--bench", *bench]).run()
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
