//! The Debian package, the units and the image, made from the command that these tests run.

mod guide;
mod machine;
mod manifests;
mod units;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use self::machine::Machine;
use crate::run::{RunResult, skip_without};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Names of the package's files that must exist.
const FILES: [&str; 16] = [
    "etc/symbolon/agent.conf",
    "usr/bin/symbolon",
    "usr/lib/systemd/system/symbolon-agent.service",
    "usr/lib/systemd/system/symbolon-agent.socket",
    "usr/lib/systemd/system/symbolon-proxy@.service",
    "usr/lib/systemd/system/symbolon-proxy@.socket",
    "usr/lib/sysusers.d/symbolon.conf",
    "usr/lib/tmpfiles.d/symbolon.conf",
    "usr/share/bash-completion/completions/symbolon",
    "usr/share/doc/symbolon/README.md",
    "usr/share/doc/symbolon/copyright",
    "usr/share/doc/symbolon/guide/handover.md",
    "usr/share/doc/symbolon/operator/README.md",
    "usr/share/fish/vendor_completions.d/symbolon.fish",
    "usr/share/man/man1/symbolon-proxy.1.gz",
    "usr/share/zsh/vendor-completions/_symbolon",
];

/// Runs the command of an image, whose files are in $1, like a container with a read-only root, a
/// volume for temporary files and no capabilities.
const CONTAINER: &str = r#"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
mkdir -p "$1/proc" "$1/dev"
touch "$1/dev/null"
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --bind /dev/null "$1/dev/null"
mount -o remount,bind,ro "$1"
if touch "$1/file" 2>/dev/null
then
    exit 1
fi
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
exec chroot --userspec=65532:65532 --groups= "$1" /usr/bin/symbolon demo
"#;

/// Builds a package of the command with `cargo xtask dist`, in a folder of the target directory.
fn dist(kind: &str, folder: &str, more: &[&str]) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(ROOT).args(["xtask", "dist", kind, "--binary", env!("CARGO_BIN_EXE_symbolon")]);
    let output = command.arg("--out").arg(&out).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Returns the path of the Debian package, which is built once; without compression, which takes
/// most of the time. `None` without Debian's tools.
fn deb() -> Option<&'static Path> {
    static PACKAGE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let has_tools = ["dpkg-deb", "dpkg-shlibdeps"]
            .iter()
            .all(|tool| Command::new(tool).arg("--version").output().is_ok());
        has_tools.then(|| package_in(&dist("deb", "deb", &["--level", "0"])))
    });
    if PACKAGE.is_none() {
        skip_without("dpkg-deb and dpkg-shlibdeps");
    }
    PACKAGE.as_deref()
}

fn package_in(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|extension| extension == "deb")).unwrap()
}

/// Returns a machine with the package.
fn installed() -> Option<Machine> {
    let package = deb()?;
    let machine = Machine::boot()?;
    machine.copy(package, "/symbolon.deb");
    machine.run("dpkg --install /symbolon.deb");
    Some(machine)
}

fn output(program: &str, arguments: &[&str]) -> Option<RunResult> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(RunResult::of(output)),
        Err(_) => {
            skip_without(program);
            None
        }
    }
}

#[test]
fn ops_40_debian_package() {
    let Some(package) = deb() else { return };
    let path = package.to_str().unwrap();
    let listed = output("dpkg-deb", &["--contents", path]).unwrap().stdout;
    let entries: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    for entry in &entries {
        let is_executable = entry[0].starts_with('d') || entry[5] == "./usr/bin/symbolon";
        let mode = if is_executable { "rwxr-xr-x" } else { "rw-r--r--" };
        assert_eq!((&entry[0][1..], entry[1]), (mode, "root/root"), "{entry:?}");
    }
    for file in FILES {
        assert!(entries.iter().any(|entry| entry[5] == format!("./{file}")), "{file} is missing: {listed}");
    }
    let control = output("dpkg-deb", &["--field", path]).unwrap().stdout;
    assert!(control.contains("Version: 0.1.0\n") && control.contains("libc6 (>= "), "{control}");

    let again = package_in(&dist("deb", "deb-again", &["--level", "0"]));
    assert!(std::fs::read(package).unwrap() == std::fs::read(again).unwrap(), "not the same octets");

    let Some(lintian) = output("lintian", &["--fail-on", "error,warning", "--tag-display-limit", "0", path])
    else {
        return;
    };
    assert_eq!((lintian.code, lintian.stdout.as_str()), (0, ""), "{}", lintian.stderr);
}

/// Returns the links of a page to other files, without their headings.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    targets.filter_map(|target| target.split('#').next())
}

#[test]
fn ops_40_links_of_installed_pages() {
    let Some(package) = deb() else { return };
    let mut folders = vec![package.parent().unwrap().join("tree/usr/share/doc/symbolon")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = std::fs::read_to_string(&path).unwrap();
                for link in links(&page) {
                    assert!(folder.join(link).exists(), "{}: {link}", path.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count > 20, "{count} links");
}

// The image is built and run without a daemon and without a network.
#[test]
fn ops_46_container_image() {
    let context = dist("image", "image", &[]);
    if !rustix::process::geteuid().is_root() || output("buildah", &["--version"]).is_none() {
        return;
    }
    let storage = tempfile::tempdir().unwrap();
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(storage.path().join("root"))
            .arg("--runroot")
            .arg(storage.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments).current_dir(&context);
        RunResult::of(command.output().unwrap())
    };
    let built = buildah(&["build", "--isolation", "chroot", "--tag", "symbolon", "."]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let config = buildah(&["inspect", "--type", "image", "symbolon"]).stdout;
    let config = &serde_json::from_str::<Value>(&config).unwrap()["OCIv1"]["config"];
    assert_eq!(
        (&config["User"], &config["Entrypoint"]),
        (&json!("65532:65532"), &json!(["/usr/bin/symbolon"]))
    );

    assert_eq!(buildah(&["from", "--name", "container", "symbolon"]).code, 0);
    let root = buildah(&["mount", "container"]).stdout;
    let mut command = Command::new("unshare");
    command.env_clear().args(["--mount", "/bin/sh", "-ec", CONTAINER, "sh", root.trim()]);
    let ran = RunResult::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}
