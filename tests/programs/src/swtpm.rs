//! swtpm: a TPM 2.0 in a process.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{find_program, missing};
use crate::service::{Folder, Service};

/// Attempts to connect before the start has failed; each takes some microseconds.
const TRIES: u32 = 2_000_000;

/// A TPM that ends when this is dropped. It serves one connection at a time.
#[derive(Debug)]
pub struct Swtpm {
    program: String,
    port: u16,
    service: Option<Service>,
    folder: Folder,
}

impl Swtpm {
    /// Starts a new TPM. Returns `None`, with a line on standard error, if swtpm is missing.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(program) = find_program("swtpm") else {
            missing("swtpm (`apt-get install swtpm`)");
            return None;
        };
        let folder = Folder::new();
        fs::create_dir(folder.path().join("state")).expect("a folder");
        let mut tpm = Self { program, port: 0, service: None, folder };
        tpm.power_on();
        Some(tpm)
    }

    /// The address in the notation of the TCG's tools.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The folder of the TPM, with room for other files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Switches it off and on: loaded objects are lost.
    ///
    /// # Panics
    /// If it does not start.
    pub fn reset(&mut self) {
        self.service = None;
        self.power_on();
    }

    /// Replaces it by a new TPM, like `TPM2_Clear`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn replace(&mut self) {
        self.service = None;
        fs::remove_dir_all(self.folder().join("state")).expect("its state");
        fs::create_dir(self.folder().join("state")).expect("a folder");
        self.power_on();
    }

    /// Switches it off.
    pub fn power_off(&mut self) {
        self.service = None;
    }

    fn power_on(&mut self) {
        if self.port == 0 {
            self.port = two_free_ports();
        }
        let mut swtpm = Command::new(&self.program);
        swtpm.args(["socket", "--tpm2", "--tpmstate", "dir=state", "--flags", "not-need-init,startup-clear"]);
        swtpm.args(["--server", &format!("type=tcp,port={}", self.port)]);
        // The TCG's tools expect the control channel at the next port.
        swtpm.args(["--ctrl", &format!("type=tcp,port={}", self.port + 1)]);
        self.service = Some(Service::start(&swtpm, &self.folder, Stdio::null()));
        // It does not report that it listens.
        let listens = (0..TRIES).any(|_| {
            std::thread::yield_now();
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        assert!(listens, "swtpm does not listen");
    }
}

/// The first of two adjacent free ports, because swtpm does not support port 0.
fn two_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = first.local_addr().expect("its address").port();
        let next = port.checked_add(1).map(|next| TcpListener::bind(("127.0.0.1", next)));
        if next.is_some_and(|bound| bound.is_ok()) {
            return port;
        }
    }
}
