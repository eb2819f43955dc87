//! The fuzz targets: a workspace of its own under `fuzz/`, driven by cargo-fuzz.

use std::path::Path;

use clap::Args;

use crate::invocation::Invocation;
use crate::metadata::Metadata;

const MANIFEST: &str = "fuzz/Cargo.toml";

/// Run the fuzz targets for a while each
///
/// Runs without a sanitizer (`-s none`), which works on a stable compiler: the code is safe Rust,
/// so the targets look for panics, hangs and memory use, not for undefined behaviour.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// The target to run; by default all of them, one after the other
    target: Option<String>,
    /// Duration of each target in seconds
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u32,
}

pub(crate) fn run(arguments: &FuzzArgs) -> Result<(), String> {
    if !Invocation::cargo(["fuzz", "--version"]).succeeds() {
        return Err("cargo-fuzz is missing: cargo install --locked cargo-fuzz".to_owned());
    }
    let fuzz = Metadata::of_manifest(Path::new(MANIFEST))?;
    let targets: Vec<&str> = fuzz
        .members()
        .flat_map(|package| package.targets_of("bin"))
        .map(|target| target.name.as_str())
        .filter(|target| arguments.target.as_deref().is_none_or(|wanted| wanted == *target))
        .collect();
    if targets.is_empty() {
        return Err(format!("no such fuzz target; {MANIFEST} lists them"));
    }
    let time = format!("-max_total_time={}", arguments.seconds);
    targets.into_iter().try_for_each(|target| {
        let fuzz = ["fuzz", "run", "--fuzz-dir", "fuzz", "-s", "none", target, "--", time.as_str()];
        Invocation::cargo(fuzz).run()
    })
}

/// Compiles the targets without running them, into the target directory of the main workspace,
/// which has most of their dependencies.
pub(crate) fn check(metadata: &Metadata) -> Result<(), String> {
    let target = metadata.target_directory().to_string_lossy();
    Invocation::cargo(["check", "--manifest-path", MANIFEST, "--target-dir", &*target]).run()
}
