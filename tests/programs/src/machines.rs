//! Two network namespaces that act as two connected machines.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::program::{find_program, missing};
use crate::service::Service;

/// The addresses of the metadata service and of its client.
const AZURE: &str = "169.254.169.254";
const VM: &str = "169.254.169.1";
/// The directory with the replacements for `/etc` that `ip netns exec` mounts.
const FILES: &str = "/etc/netns";
const SETUP: &str = r#"set -e
ip netns add "$1"
ip netns add "$2"
ip link add eth0 netns "$1" type veth peer name eth0 netns "$2"
ip -n "$1" address add "$3/24" dev eth0
ip -n "$2" address add "$4/24" dev eth0
for machine in "$1" "$2"
do
    ip -n "$machine" link set lo up
    ip -n "$machine" link set eth0 up
done
"#;
const REMOVAL: &str = r#"read -r _
ip netns delete "$1"
ip netns delete "$2"
rm -rf "/etc/netns/$1" "/etc/netns/$2""#;

/// Azure and a virtual machine: two Linux network namespaces that reach only each other. They are
/// removed when this is dropped or the process ends.
#[derive(Debug)]
pub struct Machines {
    azure: String,
    vm: String,
    _removal: Service,
}

impl Machines {
    /// Creates the namespaces. In the virtual machine the names resolve to Azure. Returns `None`,
    /// with a line on standard error, if the kernel does not permit it.
    ///
    /// # Panics
    /// In continuous integration, if the kernel does not permit it.
    #[must_use]
    pub fn new(names: &[&str]) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let (azure, vm) = (format!("symbolon-{id}-azure"), format!("symbolon-{id}-vm"));
        let mut setup = Command::new("/bin/sh");
        setup.args(["-c", SETUP, "sh", &azure, &vm, AZURE, VM]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let removal = Service::until_dropped(REMOVAL, &[&azure, &vm]);
        let machines = Self { azure, vm, _removal: removal };
        let output = setup.stdin(Stdio::null()).output().expect("a shell");
        if !output.status.success() || fs::create_dir_all(machines.files()).is_err() {
            let why = String::from_utf8_lossy(&output.stderr);
            missing(&format!("network namespace (as root; `apt-get install iproute2`): {}", why.trim()));
            return None;
        }
        let hosts = format!("127.0.0.1 localhost\n{AZURE} {}\n", names.join(" "));
        fs::write(machines.files().join("hosts"), hosts).expect("a file");
        Some(machines)
    }

    /// Makes the virtual machine trust this authority (PEM) only.
    ///
    /// # Panics
    /// If the file system is full.
    pub fn trust(&self, authority: &str) {
        let folder = self.files().join("ssl/certs");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("ca-certificates.crt"), authority).expect("a file");
    }

    /// A program that runs in Azure.
    #[must_use]
    pub fn in_azure(&self, program: &str) -> Command {
        within(&self.azure, program)
    }

    /// A program that runs in the virtual machine.
    #[must_use]
    pub fn in_vm(&self, program: &str) -> Command {
        within(&self.vm, program)
    }

    fn files(&self) -> PathBuf {
        PathBuf::from(FILES).join(&self.vm)
    }
}

/// A program in a namespace, without inherited variables.
fn within(machine: &str, program: &str) -> Command {
    let ip = find_program("ip").unwrap_or_else(|| "/sbin/ip".to_owned());
    let mut command = Command::new(ip);
    command.env_clear().args(["netns", "exec", machine, program]);
    command
}
