//! Programs that run the client libraries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use symbolon::Env;

/// The tested versions.
const PACKAGES: [&str; 2] = ["azure-identity==1.27.0", "msal==1.39.0"];
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign");

/// The interpreter of a virtual environment with the libraries, created once in the target
/// directory.
pub(crate) fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("azure-identity-python");
    let bin = home.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let interpreter = bin.join("python");
    let has_libraries = || runs(Command::new(&interpreter).args(["-c", "import azure.identity, msal"]));
    if !has_libraries() {
        runs(Command::new("python3").args(["-m", "venv"]).arg(&home));
        runs(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
    }
    has_libraries().then_some(interpreter).or_else(|| missing("azure-identity and MSAL for Python"))
}

/// Node, if its packages are installed.
pub(crate) fn node() -> Option<PathBuf> {
    let is_installed = Path::new(PROJECT).join("node_modules/@azure/identity").is_dir();
    let node = PathBuf::from("node");
    let runs_at_all = is_installed && runs(Command::new(&node).arg("--version"));
    runs_at_all
        .then_some(node)
        .or_else(|| missing("Node and the packages of `npm ci --prefix tests/foreign`"))
}

/// The command, which `cargo test --workspace` builds beside the tests.
pub(crate) fn symbolon() -> Option<PathBuf> {
    symbolon_tests::symbolon().or_else(|| missing("the command: `cargo build -p symbolon-cli`"))
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn missing(what: &str) -> Option<PathBuf> {
    assert!(Env::process().var("CI").is_none(), "missing: {what}");
    println!("skipped: missing {what}");
    None
}
