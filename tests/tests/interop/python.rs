//! Python with the libraries that verify what is ours.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The versions against which this was written.
const PACKAGES: [&str; 2] = ["PyJWT==2.15.1", "cryptography==50.0.2"];
/// Of the processes that run tests, one makes the environment; the others wait until `flock` lets
/// them, and find it.
const MAKE: &str = r#"
home=$1
shift
"$home/bin/python" -c 'import cryptography, jwt' && exit
python3 -m venv "$home" && "$home/bin/python" -m pip install --quiet "$@"
"#;

/// The interpreter of an environment with the libraries in it; made once, kept with what is built.
/// An error says what is missing.
pub(crate) fn interpreter() -> Result<String, String> {
    // Of the tests in this process, one makes it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-python");
    let mut make = Command::new("flock");
    make.arg(home.with_extension("lock")).args(["sh", "-c", MAKE, "sh"]).arg(&home).args(PACKAGES);
    let is_there = make.output().is_ok_and(|output| output.status.success());
    let python = home.join("bin/python").display().to_string();
    is_there.then_some(python).ok_or_else(|| format!("Python with {}", PACKAGES.join(" and ")))
}
