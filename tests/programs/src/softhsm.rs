//! SoftHSM: a PKCS#11 token in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use symbolon_types::{Env, Secret};

use crate::program::{find_program, missing};

/// Paths of the module in distributions.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];
/// The folder of the token, set in the child process.
const FOLDER: &str = "SYMBOLON_TEST_SOFTHSM";
/// The variable with the path of SoftHSM's configuration.
const CONFIGURATION: &str = "SOFTHSM2_CONF";
/// The line that the child process prints at the end of the test.
const DONE: &str = "the test on the token is done";

/// An initialized SoftHSM token in a temporary folder.
#[derive(Debug)]
#[non_exhaustive]
pub struct SoftHsm {
    folder: PathBuf,
}

impl SoftHsm {
    /// The label of the token.
    pub const TOKEN: &str = "symbolon test";
    const PIN: &str = "1234-user";

    /// Runs a test with a new token in a child process, because SoftHSM reads its configuration
    /// once per process from a variable.
    ///
    /// `name` is the full name of the calling test in the test harness.
    ///
    /// # Panics
    /// If the test panics, or no test has this name.
    pub fn run(name: &str, test: impl FnOnce(&Self)) {
        if let Some(folder) = Env::process().var(FOLDER) {
            test(&Self { folder: folder.into() });
            println!("{DONE}");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let Some(token) = Self::create_in(folder.path()) else { return };
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "--nocapture", name]);
        token.put_into(&mut child);
        let output = child.stdin(Stdio::null()).output().expect("this program again");
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains(DONE), "{name}:\n{printed}{errors}");
    }

    /// Creates a token in a folder that outlives it, for programs that load the module themselves.
    /// Returns `None`, with a line on standard error, if SoftHSM is missing.
    ///
    /// # Panics
    /// If the token cannot be initialized.
    #[must_use]
    pub fn create_in(folder: &Path) -> Option<Self> {
        let (Some(program), true) = (find_program("softhsm2-util"), Self::module().is_file()) else {
            missing("SoftHSM (`apt-get install softhsm2`)");
            return None;
        };
        let token = Self { folder: folder.to_owned() };
        fs::create_dir(token.folder.join("tokens")).expect("a folder");
        let tokens = token.folder.join("tokens");
        let configuration = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(token.configuration(), configuration).expect("a file");
        let mut initialize = Command::new(program);
        initialize.args(["--init-token", "--free", "--label", Self::TOKEN]);
        initialize.args(["--so-pin", "1234-officer", "--pin", Self::PIN]);
        token.put_into(&mut initialize);
        let output = initialize.output().expect("softhsm2-util");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(token)
    }

    /// Makes this token the only one that a program finds.
    pub fn put_into(&self, command: &mut Command) {
        command.env(CONFIGURATION, self.configuration()).env(FOLDER, &self.folder);
    }

    /// The PKCS#11 module.
    #[must_use]
    pub fn module() -> PathBuf {
        let found = MODULES.iter().find(|path| Path::new(path).is_file());
        PathBuf::from(found.unwrap_or(&MODULES[0]))
    }

    /// The PIN of the token's user.
    #[must_use]
    pub fn pin() -> Secret {
        Secret::new(Self::PIN)
    }

    /// The folder of the token, with room for other files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }
}
