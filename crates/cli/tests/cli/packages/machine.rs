//! A virtual machine of namespaces that runs systemd.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{RunResult, skip_without};

/// Waits until the machine has booted. Fails after a moment if it still uses the files of this one.
const WAIT: &str = r#"
for _ in $(seq 10)
do
    sleep 0.02
    if [ -e /run/booting ] && [ -S /run/systemd/private ]
    then
        systemctl is-system-running --wait | grep -Eqx 'running|degraded' && exit 0
    fi
done
exit 1
"#;
/// Starts the emulator, and writes the variables that point clients at it to a file.
const EMULATOR: &str = r#"
systemd-run --quiet --unit=azure --setenv=XDG_RUNTIME_DIR=/run/azure --property=RuntimeDirectory=azure \
    --property=RuntimeDirectoryMode=0700 --property=StandardOutput=truncate:/run/azure.json --property=StandardError=journal \
    /usr/bin/symbolon --output json emulate
for _ in $(seq 200)
do
    [ ! -s /run/azure.json ] || break
    sleep 0.05
done
install -m 644 /run/azure/symbolon/emulator-*/emulator-ca.pem /etc/azure.pem
cat /run/azure.json
"#;

/// A machine with a copy of the files of this one, a network of its own and systemd. It ends when
/// this is dropped or the test ends.
pub(super) struct Machine {
    namespaces: Child,
    init: String,
    _folder: TempDir,
}

impl Machine {
    /// Boots a machine. `None` if this process may not, or without systemd; fails in continuous
    /// integration.
    pub(super) fn boot() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
            skip_without("systemd, as root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("setpriv");
        // Ends with the thread of the test, also if that is killed.
        command.args(["--pdeathsig", "KILL", "unshare", "--fork", "--kill-child"]);
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]);
        command.args(["/bin/sh", "-ec", include_str!("machine.sh"), "sh"]).arg(folder.path());
        let namespaces = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut machine = Self { namespaces, init: String::new(), _folder: folder };
        let children = format!("/proc/{0}/task/{0}/children", machine.namespaces.id());
        while machine.init.is_empty() {
            assert!(machine.namespaces.try_wait().unwrap().is_none(), "the machine ended");
            machine.init = std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        }
        let has_booted = (0..100).any(|_| machine.sh(WAIT).code == 0);
        assert!(has_booted, "the machine did not boot");
        Some(machine)
    }

    /// Runs a script in the machine, as root.
    pub(super) fn sh(&self, script: &str) -> RunResult {
        RunResult::of(self.command(script).output().unwrap())
    }

    /// Runs a script that has to succeed, and returns what it printed.
    pub(super) fn run(&self, script: &str) -> String {
        let ran = self.sh(&format!("set -e\n{script}"));
        assert_eq!(ran.code, 0, "{script}\n{}{}\n{}", ran.stdout, ran.stderr, self.journal());
        ran.stdout
    }

    /// Runs a script until it succeeds; fails if it does not for a while.
    pub(super) fn wait_for(&self, script: &str) {
        self.run(&format!("for _ in $(seq 200)\ndo\n({script}) >/dev/null && exit\nsleep 0.1\ndone\nexit 1"));
    }

    /// Copies a file into the machine.
    pub(super) fn copy(&self, file: &Path, target: &str) {
        let mut copy = self.command(&format!("cat > {target}"));
        let copied = copy.stdin(std::fs::File::open(file).unwrap()).status().unwrap();
        assert!(copied.success(), "{target}");
    }

    /// Runs the emulator as Azure, for all units. Writes its variables to `/etc/azure.env` as well,
    /// and returns the URL of the resource.
    pub(super) fn run_emulator(&self) -> String {
        let printed: Value = serde_json::from_str(&self.run(EMULATOR)).unwrap();
        let metadata = printed["AZURE_POD_IDENTITY_AUTHORITY_HOST"].as_str().unwrap();
        let lines = format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={metadata}\nSSL_CERT_FILE=/etc/azure.pem");
        self.run(&format!(
            "echo '{lines}' > /etc/azure.env; systemctl set-environment $(cat /etc/azure.env)"
        ));
        printed["urls"]["resource"].as_str().unwrap().to_owned()
    }

    fn journal(&self) -> String {
        self.sh("journalctl --no-pager --lines=60 --output=cat").stdout
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]);
        command.args(["--root", "--wdns=/", "/bin/sh", "-c", script]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SYSTEMD_PAGER", "cat");
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.namespaces.kill();
        let _reaped = self.namespaces.wait();
    }
}
