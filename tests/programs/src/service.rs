//! Programs and folders that end with the tests.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a program until standard input ends, then ends it.
const PROGRAM: &str = r#""$@" & child=$!; exec >/dev/null; read -r _; kill $child; wait $child"#;
/// Waits until standard input ends, then removes a folder.
const REMOVAL: &str = r#"read -r _; rm -rf "$1""#;

/// A program that is ended when this is dropped or the process ends.
#[derive(Debug)]
pub struct Service(Child);

/// A temporary folder that is removed when this is dropped or the process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _removal: Service,
}

impl Service {
    /// Starts the program of `command` in a folder, with the variables of `command` only. Its
    /// standard error goes to a log in the folder.
    ///
    /// # Panics
    /// If there is no shell, or the file system is full.
    pub fn start(command: &Command, folder: &Folder, stdout: Stdio) -> Self {
        let name = Path::new(command.get_program()).file_name().expect("the name of a program");
        let log = File::create(folder.path().join(name).with_extension("log")).expect("a log");
        let mut shell = until_stdin_ends(PROGRAM);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(folder.path());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self(shell.stdout(stdout).stderr(log).spawn().expect("a shell"))
    }

    /// Runs a script that ends with its standard input, which this holds open.
    pub(crate) fn until_dropped(script: &str, arguments: &[&str]) -> Self {
        Self(until_stdin_ends(script).args(arguments).spawn().expect("a shell"))
    }

    /// Reads lines of a piped standard output until `find` returns a value. Returns `None` if the
    /// program ends first.
    pub fn wait_for<T>(&mut self, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut stdout = BufReader::new(self.0.stdout.take()?);
        let found = stdout.by_ref().lines().map_while(Result::ok).find_map(|line| find(&line));
        // Later output is discarded, so that the program never blocks on a full pipe.
        std::thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        found
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Folder {
    /// Creates an empty folder.
    ///
    /// # Panics
    /// If the file system is full.
    #[must_use]
    pub fn new() -> Self {
        let path = tempfile::tempdir().expect("a folder").keep();
        let removal = Service::until_dropped(REMOVAL, &[&path.to_string_lossy()]);
        Self { path, _removal: removal }
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// A shell with a script that waits for the end of standard input.
///
/// Only this process holds the other end, so the kernel closes it even if no destructor runs: a
/// `static` is never dropped, and a test that hangs is killed.
fn until_stdin_ends(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).stdin(Stdio::piped());
    // Variables of the machine may change the trust of TLS libraries.
    shell.env_clear();
    // An interrupt from the terminal goes to the process group of the tests.
    shell.process_group(0);
    shell
}
