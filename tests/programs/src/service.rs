//! A program that serves the tests, in a folder of its own, and does not outlive them.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a program until standard input ends, then ends it.
const PROGRAM: &str = r#""$@" & child=$!; exec >/dev/null; read -r _; kill $child; wait $child"#;
/// Waits until standard input ends, then removes a folder.
const REMOVAL: &str = r#"read -r _; rm -rf "$1""#;

/// A program that runs until this is dropped, or until this process ends in any way.
#[derive(Debug)]
pub struct Service(Child);

/// A temporary folder that is there until this is dropped, or until this process ends in any way.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _removal: Service,
}

impl Service {
    /// Starts the program of `command` in a folder, with no variables but those of `command`. Its
    /// standard error goes to a log in the folder.
    ///
    /// # Panics
    /// When there is no shell or no room.
    pub fn start(command: &Command, folder: &Folder, stdout: Stdio) -> Self {
        let name = Path::new(command.get_program()).file_name().expect("the name of a program");
        let log = File::create(folder.path().join(name).with_extension("log")).expect("a log");
        let mut shell = until_stdin_ends(PROGRAM);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(folder.path());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self(shell.stdout(stdout).stderr(log).spawn().expect("a shell"))
    }

    /// Runs a script that waits for the end of standard input, and so for this to be dropped.
    pub(crate) fn until_dropped(script: &str, arguments: &[&str]) -> Self {
        Self(until_stdin_ends(script).args(arguments).spawn().expect("a shell"))
    }

    /// Reads what the program writes to a piped standard output, up to the line in which `find`
    /// finds something. `None` if the program ends first.
    pub fn wait_for<T>(&mut self, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut stdout = BufReader::new(self.0.stdout.take()?);
        let found = stdout.by_ref().lines().map_while(Result::ok).find_map(|line| find(&line));
        // What it writes from now on nobody wants, but it must not have to wait for a reader.
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
    /// A new one.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        let path = tempfile::tempdir().expect("a folder").keep();
        let removal = Service::until_dropped(REMOVAL, &[&path.to_string_lossy()]);
        Self { path, _removal: removal }
    }

    /// Where it is.
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

/// A shell for a script that waits for the end of standard input.
///
/// The other end is held by this process alone, so the kernel closes it however this process ends,
/// also where no destructor runs: a `static` is never dropped, and a test that hangs is killed.
fn until_stdin_ends(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).stdin(Stdio::piped());
    // Some machines preset what TLS libraries trust.
    shell.env_clear();
    // Who interrupts the tests from a terminal interrupts their process group.
    shell.process_group(0);
    shell
}
