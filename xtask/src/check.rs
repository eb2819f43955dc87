//! The whole of it: every check in order, the cheap ones first.

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::metadata::Metadata;
use crate::stopwatch::{Elapsed, Stopwatch};
use crate::{examples, fuzz, layers, package};

/// Run every check in order, and stop at the first that fails
///
/// Continuous integration runs `cargo test --workspace` and then `cargo xtask check --skip test`. Nothing here
/// needs the network once dependencies are fetched; set CARGO_NET_OFFLINE=true to be sure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run these steps only
    #[arg(value_name = "STEP")]
    only: Vec<Step>,
    /// Leave a step out; may be given more than once
    #[arg(long, value_name = "STEP", hide_possible_values = true)]
    skip: Vec<Step>,
    /// List the steps and run nothing
    #[arg(long)]
    list: bool,
}

/// The steps, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Every file is formatted
    Format,
    /// The walls between the crates stand
    Layers,
    /// Bans, licenses and sources of dependencies (deny.toml)
    Deny,
    /// No warning of rustc or clippy, in any target with any feature
    Clippy,
    /// The documentation builds, and its links lead somewhere
    Docs,
    /// All tests, with all features
    Test,
    /// All code in documentation and READMEs
    Doctest,
    /// Every example compiles alone and runs to its end
    Examples,
    /// Every published crate compiles from what would be uploaded
    Package,
    /// The fuzz targets compile
    FuzzBuild,
}

pub(crate) fn run(arguments: &Arguments, metadata: &Metadata) -> Result<(), Failure> {
    if arguments.list {
        for step in Step::value_variants() {
            println!("{:<11} {}", step.name(), step.about());
        }
        return Ok(());
    }
    let chosen = arguments.chosen();
    let whole = Stopwatch::start();
    let mut times: Vec<Elapsed> = Vec::new();
    let mut failure = None;
    for step in &chosen {
        println!("\n=== {}: {}", step.name(), step.about());
        let watch = Stopwatch::start();
        let result = step.run(metadata);
        let elapsed = watch.elapsed();
        times.push(elapsed);
        println!("=== {} {} after {elapsed}", step.name(), word(result.is_ok()));
        if let Err(error) = result {
            failure = Some(Failure::new(format!(
                "{error}\nrun this step alone: cargo xtask check {}",
                step.name()
            )));
            break;
        }
    }
    println!("\n{:<11} {:<8} time", "step", "result");
    for (index, step) in chosen.iter().enumerate() {
        match times.get(index) {
            Some(time) => {
                let passed = failure.is_none() || index + 1 < times.len();
                println!("{:<11} {:<8} {time}", step.name(), word(passed));
            }
            None => println!("{:<11} not run", step.name()),
        }
    }
    println!("{:<20} {}", "all", whole.elapsed());
    failure.map_or(Ok(()), Err)
}

impl Arguments {
    fn chosen(&self) -> Vec<Step> {
        Step::value_variants()
            .iter()
            .copied()
            .filter(|step| self.only.is_empty() || self.only.contains(step))
            .filter(|step| !self.skip.contains(step))
            .collect()
    }
}

impl Step {
    fn run(self, metadata: &Metadata) -> Result<(), Failure> {
        match self {
            Self::Format => Invocation::cargo(["fmt", "--all", "--check"]).run(),
            Self::Layers => layers::run(),
            Self::Deny => deny(),
            Self::Clippy => {
                let invocation =
                    Invocation::cargo(["clippy", "--workspace", "--all-targets", "--all-features"]);
                invocation.args(["--", "-D", "warnings"]).run()
            }
            Self::Docs => Invocation::cargo(["doc", "--workspace", "--all-features", "--no-deps", "--lib"])
                .variable("RUSTDOCFLAGS", "-Dwarnings")
                .run(),
            Self::Test => test(),
            Self::Doctest => Invocation::cargo(["test", "--doc", "--workspace", "--all-features"]).run(),
            Self::Examples => examples::run(metadata),
            Self::Package => package::run(metadata),
            Self::FuzzBuild => fuzz::check(metadata),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn about(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }
}

fn deny() -> Result<(), Failure> {
    if !Invocation::cargo(["deny", "--version"]).succeeds() {
        return Err(Failure::new("cargo-deny is missing: cargo install --locked cargo-deny"));
    }
    // `[bans]` names crates that only tests may use, which are not in the graph.
    Invocation::cargo(["deny", "check", "-A", "unused-wrapper", "bans", "licenses", "sources"]).run()
}

/// Benchmarks are no tests, and doc tests are a step of their own.
fn test() -> Result<(), Failure> {
    if Invocation::cargo(["nextest", "--version"]).succeeds() {
        return Invocation::cargo(["nextest", "run", "--workspace", "--all-features"]).run();
    }
    let invocation = Invocation::cargo(["test", "--workspace", "--all-features"]);
    invocation.args(["--lib", "--bins", "--tests", "--examples"]).run()
}

fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(only: &[Step], skip: &[Step]) -> Vec<String> {
        let arguments = Arguments { only: only.into(), skip: skip.into(), list: false };
        arguments.chosen().into_iter().map(Step::name).collect()
    }

    #[test]
    fn all_steps_run_in_their_order_unless_some_are_chosen_or_skipped() {
        let all = [
            "format",
            "layers",
            "deny",
            "clippy",
            "docs",
            "test",
            "doctest",
            "examples",
            "package",
            "fuzz-build",
        ];
        assert_eq!(chosen(&[], &[]), all);
        assert_eq!(chosen(&[Step::Docs, Step::Format], &[]), ["format", "docs"]);
        assert_eq!(chosen(&[], &[Step::Test]).len(), all.len() - 1);
        assert_eq!(chosen(&[Step::Test], &[Step::Test]), Vec::<String>::new());
    }

    #[test]
    fn every_step_says_what_it_is_about() {
        for step in Step::value_variants() {
            assert!(!step.about().is_empty(), "{}", step.name());
        }
    }
}
