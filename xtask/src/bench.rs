//! Benchmarks against other libraries, in the workspace `compare`, which has their dependencies.

use clap::{Args, ValueEnum};

use crate::invocation::Invocation;

/// Run a comparison with other libraries
///
/// It needs a quiet machine. `cargo xtask bench calls -- --help` lists the options of `calls`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[arg(value_enum)]
    name: Comparison,
    #[command(flatten)]
    options: RunOptions,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// Hits of the token cache among a million tokens, against a bare look-up, and their memory
    Cache,
    /// Bound calls with symbolon-client and with reqwest: latency, throughput, streaming, memory
    Calls,
    /// Hits of the token cache, and of the caches of other libraries
    Peers,
    /// Calls through the proxy, and without it: latency, throughput, streaming, memory
    Proxy,
    /// Processes over one Redis: cold starts, a lost Redis, reads, ten minutes of chaos
    Store,
}

/// Call for two minutes while certificates live 15 seconds
///
/// No call may fail or begin with a certificate after its end; descriptors and memory must stay
/// flat. `cargo xtask soak -- --help` lists the options.
#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    options: RunOptions,
}

#[derive(Debug, Args)]
struct RunOptions {
    /// Build with this profile, `dev` for a check that it works
    #[arg(long, value_name = "NAME", default_value = "bench")]
    profile: String,
    /// Arguments of the program
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl BenchArgs {
    pub(crate) fn run(&self) -> Result<(), String> {
        self.options.run(match self.name {
            Comparison::Cache => "cache",
            Comparison::Calls => "calls",
            Comparison::Peers => "peers",
            Comparison::Proxy => "proxy",
            Comparison::Store => "store",
        })
    }
}

impl SoakArgs {
    pub(crate) fn run(&self) -> Result<(), String> {
        self.options.run("soak")
    }
}

impl RunOptions {
    fn run(&self, bench: &str) -> Result<(), String> {
        let profile = self.profile.as_str();
        Invocation::cargo(["bench", "--manifest-path", "compare/Cargo.toml", "--profile", profile])
            .args(["--bench", bench, "--"])
            .args(self.arguments.iter().map(String::as_str))
            .run()
    }
}
