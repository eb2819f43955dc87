//! The fuzz targets: a workspace of its own under `fuzz/`, driven by cargo-fuzz.

use std::path::Path;

use clap::Args;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;

const MANIFEST: &str = "fuzz/Cargo.toml";

/// Run the fuzz targets, each for a while
///
/// Runs without a sanitizer (`-s none`), which works on a stable compiler: the code is safe Rust, so
/// what we look for are panics, hangs and memory, not undefined behaviour.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which one; without it all of them, one after the other
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !Path::new(MANIFEST).is_file() {
        return Err(Failure::new(format!("there are no fuzz targets: {MANIFEST} is missing")));
    }
    if !Invocation::cargo(["fuzz", "--version"]).succeeds() {
        return Err(Failure::new("cargo-fuzz is missing: cargo install --locked cargo-fuzz"));
    }
    let fuzz = Metadata::of_manifest(Path::new(MANIFEST))?;
    let targets: Vec<&str> = fuzz
        .members()
        .flat_map(|package| package.targets_of("bin"))
        .map(|target| target.name.as_str())
        .filter(|target| arguments.target.as_deref().is_none_or(|wanted| wanted == *target))
        .collect();
    if targets.is_empty() {
        return Err(Failure::new(format!("there is no such fuzz target; {MANIFEST} lists them")));
    }
    let time = format!("-max_total_time={}", arguments.seconds);
    targets.into_iter().try_for_each(|target| {
        Invocation::cargo(["fuzz", "run", "--fuzz-dir", "fuzz", "-s", "none", target, "--", time.as_str()])
            .run()
    })
}

/// Compiles the targets without running them.
pub(crate) fn check(metadata: &Metadata) -> Result<(), Failure> {
    if !Path::new(MANIFEST).is_file() {
        println!("{MANIFEST} is missing: nothing to compile");
        return Ok(());
    }
    // Into the workspace's own target directory, where most of what a target needs already is.
    let target = metadata.target_directory().to_string_lossy();
    Invocation::cargo(["check", "--manifest-path", MANIFEST, "--target-dir", &*target]).run()
}
