//! Python with the libraries that verify requests and tokens.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The tested versions.
const PACKAGES: [&str; 2] = ["PyJWT==2.15.1", "cryptography==50.0.2"];
/// One test process creates the environment; the others wait for it with `flock`.
const MAKE: &str = r#"
home=$1
shift
"$home/bin/python" -c 'import cryptography, jwt' && exit
python3 -m venv "$home" && "$home/bin/python" -m pip install --quiet "$@"
"#;

/// The interpreter of a virtual environment with the libraries, created once in the target
/// directory. The error names the missing program.
pub(crate) fn interpreter() -> Result<String, String> {
    // One test of this process creates it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-python");
    let mut make = Command::new("flock");
    make.arg(home.with_extension("lock")).args(["sh", "-c", MAKE, "sh"]).arg(&home).args(PACKAGES);
    let is_there = make.output().is_ok_and(|output| output.status.success());
    let python = home.join("bin/python").display().to_string();
    is_there.then_some(python).ok_or_else(|| format!("Python with {}", PACKAGES.join(" and ")))
}
