//! Runs of the fuzz targets, with the coverage of each.

use std::fs;
use std::path::Path;

use clap::Args;

use crate::invocation::Invocation;
use crate::metadata::Metadata;

/// Run the fuzz targets, and print how much code each reached
///
/// A run starts from `fuzz/corpus/TARGET` and from what earlier runs found, with the words of
/// `fuzz/dictionaries/TARGET.dict`. New inputs go to `target/fuzz`. Needs cargo-fuzz.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// The time of the run, divided among its targets; 0 runs the known inputs only
    #[arg(long, default_value_t = 12)]
    minutes: u64,
    /// Run these targets only
    #[arg(value_name = "TARGET")]
    only: Vec<String>,
}

/// The progress that libFuzzer printed last.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    runs: u64,
    coverage: u64,
    inputs: u64,
}

pub(crate) fn run(arguments: &FuzzArgs, metadata: &Metadata) -> Result<(), String> {
    if !Invocation::cargo(["fuzz", "--version"]).succeeds() {
        return Err("cargo-fuzz is missing: cargo install --locked cargo-fuzz".to_owned());
    }
    let targets = targets(&arguments.only)?;
    let seconds = arguments.minutes * 60 / targets.len() as u64;
    let mut table =
        format!("{:<17} {:>10} {:>9} {:>9} {:>7}\n", "target", "runs", "first cov", "last cov", "inputs");
    for target in targets {
        let found = metadata.target_directory().join("fuzz").join(&target);
        fs::create_dir_all(&found).map_err(|error| format!("cannot create {}: {error}", found.display()))?;
        let limit = match seconds {
            0 => "-runs=0".to_owned(),
            _ => format!("-max_total_time={seconds}"),
        };
        let log = Invocation::cargo(["fuzz", "run", "--fuzz-dir", "fuzz", "-s", "none", target.as_str()])
            .args([found.to_string_lossy().into_owned(), format!("fuzz/corpus/{target}")])
            .args(["--".to_owned(), limit, format!("-dict=fuzz/dictionaries/{target}.dict")])
            .run_logged()?;
        let progress: Vec<Progress> = log.lines().filter_map(Progress::parse).collect();
        let (Some(first), Some(last)) = (progress.first(), progress.last()) else {
            return Err(format!("{target} printed no coverage"));
        };
        table += &format!(
            "{target:<17} {:>10} {:>9} {:>9} {:>7}\n",
            last.runs, first.coverage, last.coverage, last.inputs
        );
    }
    println!("\n{table}");
    Ok(())
}

/// Returns the names of the selected targets, or of all.
fn targets(only: &[String]) -> Result<Vec<String>, String> {
    let folder = Path::new("fuzz/fuzz_targets");
    let files = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let names = files.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()));
    let mut all: Vec<String> = names.collect();
    all.sort_unstable();
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no fuzz target `{unknown}`; there are {}", all.join(", ")));
    }
    all.retain(|name| only.is_empty() || only.contains(name));
    Ok(all)
}

impl Progress {
    /// Reads a line such as `#8192 pulse  cov: 1221 ft: 2345 corp: 31/4096b …`.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        let runs = words.first()?.strip_prefix('#')?.parse().ok()?;
        Some(Self { runs, coverage: after("cov:")?, inputs: after("corp:")? })
    }
}

#[test]
fn progress_is_read() {
    let line = "#8192\tpulse  cov: 1221 ft: 2345 corp: 31/4096b lim: 80 exec/s: 4096 rss: 60Mb";
    assert_eq!(Progress::parse(line), Some(Progress { runs: 8192, coverage: 1221, inputs: 31 }));
    for line in ["", "INFO: seed corpus: files: 3", "#0\tREAD units: 3", "Done 8192 runs in 2 second(s)"] {
        assert_eq!(Progress::parse(line), None, "{line}");
    }
}
