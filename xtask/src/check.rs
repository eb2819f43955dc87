//! All checks in order, the cheap ones first.

use clap::{Args, ValueEnum};

use crate::invocation::Invocation;
use crate::language::{self, LanguageArgs};
use crate::metadata::Metadata;
use crate::{examples, layers, modules, package};

/// Run every check in order, and stop at the first that fails
///
/// Continuous integration runs `cargo test --workspace` and then `cargo xtask check --skip test`.
/// Nothing here needs the network once dependencies are fetched; set CARGO_NET_OFFLINE=true to be
/// sure.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Run these steps only
    #[arg(value_name = "STEP")]
    only: Vec<CheckStep>,
    /// Leave a step out; may be given more than once
    #[arg(long, value_name = "STEP", hide_possible_values = true)]
    skip: Vec<CheckStep>,
    /// List the steps and run nothing
    #[arg(long)]
    list: bool,
}

/// The steps in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckStep {
    /// Every file is formatted
    Format,
    /// Crates and their modules depend on each other in one direction
    Layers,
    /// Names, doc summaries, citations and commit subjects follow the rules of language
    Language,
    /// Bans, licenses and sources of dependencies (deny.toml)
    Deny,
    /// No warning of rustc or clippy, in any target with any feature
    Clippy,
    /// The documentation builds without a warning
    Docs,
    /// All tests, with all features
    Test,
    /// All code in documentation and READMEs
    Doctest,
    /// Every example compiles alone and runs to its end
    Examples,
    /// Every published crate compiles from the archive that would be uploaded
    Package,
    /// The inputs of the fuzz targets pass
    Corpus,
}

#[expect(clippy::disallowed_methods, reason = "measures real work; nothing here is simulated")]
pub(crate) fn run(arguments: &CheckArgs, metadata: &Metadata) -> Result<(), String> {
    let mut table = String::new();
    let steps = CheckStep::value_variants().iter();
    let steps = steps.filter(|step| arguments.only.is_empty() || arguments.only.contains(step));
    for step in steps.filter(|step| !arguments.skip.contains(step)) {
        let value = step.to_possible_value().unwrap_or_default();
        let (name, about) = (value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
        if arguments.list {
            println!("{name:<11} {about}");
            continue;
        }
        println!("\n=== {name}: {about}");
        let start = std::time::Instant::now();
        let result = step.run(metadata);
        let word = if result.is_ok() { "passed" } else { "FAILED" };
        table += &format!("{name:<11} {word} {:>6.1} s\n", start.elapsed().as_secs_f64());
        if let Err(error) = result {
            println!("\n{table}");
            return Err(format!("{error}\nrun this step alone: cargo xtask check {name}"));
        }
    }
    println!("\n{table}");
    Ok(())
}

impl CheckStep {
    fn run(self, metadata: &Metadata) -> Result<(), String> {
        match self {
            Self::Format => Invocation::cargo(["fmt", "--all", "--check"]).run(),
            Self::Layers => layers::run().and(modules::run(metadata)),
            Self::Language => language::run(&LanguageArgs::default()),
            Self::Deny if !Invocation::cargo(["deny", "--version"]).succeeds() => {
                Err("cargo-deny is missing: cargo install --locked cargo-deny".to_owned())
            }
            // `[bans]` names crates that only tests may use, which are not in the graph.
            Self::Deny => Invocation::cargo(["deny", "check", "-A", "unused-wrapper"])
                .args(["bans", "licenses", "sources"])
                .run(),
            Self::Clippy => Invocation::cargo(["clippy", "--workspace", "--all-targets", "--all-features"])
                .args(["--", "-D", "warnings"])
                .run(),
            Self::Docs => Invocation::cargo(["doc", "--workspace", "--all-features", "--no-deps", "--lib"])
                .args(["--config", "build.rustdocflags=[\"-Dwarnings\"]"])
                .run(),
            // Benchmarks are no tests, and doc tests are a step of their own.
            Self::Test if Invocation::cargo(["nextest", "--version"]).succeeds() => {
                Invocation::cargo(["nextest", "run", "--workspace", "--all-features"]).run()
            }
            Self::Test => Invocation::cargo(["test", "--workspace", "--all-features"])
                .args(["--lib", "--bins", "--tests", "--examples"])
                .run(),
            Self::Doctest => Invocation::cargo(["test", "--doc", "--workspace", "--all-features"]).run(),
            Self::Examples => examples::run(metadata),
            Self::Package => package::run(metadata),
            // Into the target directory of the main workspace, which has most of the dependencies.
            Self::Corpus => Invocation::cargo(["test", "--manifest-path", "fuzz/Cargo.toml"])
                .args(["--target-dir", &*metadata.target_directory().to_string_lossy()])
                .run(),
        }
    }
}

#[test]
fn every_step_has_a_description() {
    for step in CheckStep::value_variants() {
        assert!(step.to_possible_value().is_some_and(|value| value.get_help().is_some()), "{step:?}");
    }
}
