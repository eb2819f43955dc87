//! Azurite, an emulator of Azure storage that checks bearer tokens.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_test_programs::{Folder, Service, find_program, or_skip};

const PROGRAM: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/storage/node_modules/azurite/dist/src/blob/main.js");

/// The blob service of Azurite. It ends when this is dropped or the process ends.
pub(crate) struct Azurite {
    /// The URL of the account.
    pub(crate) url: String,
    /// The certificate (PEM), which clients must trust.
    pub(crate) certificate: String,
    _service: Service,
    _folder: Folder,
}

impl Azurite {
    /// The only account.
    pub(crate) const ACCOUNT: &str = "devstoreaccount1";

    /// Starts the service. Returns `None`, with a line on standard error, if it is not installed.
    ///
    /// # Panics
    /// If it is not installed in continuous integration (`CI` is set), or does not start.
    pub(crate) fn start() -> Option<Self> {
        let node = find_program("node").filter(|_| Path::new(PROGRAM).is_file());
        let node = or_skip("Azurite", node.ok_or("Node and `npm ci --prefix tests/storage`".to_owned()))?;
        let folder = Folder::new();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = key.cert.pem();
        fs::write(folder.path().join("certificate.pem"), &certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();

        let mut command = Command::new(node);
        command.args([PROGRAM, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]);
        command.args([
            "--oauth",
            "basic",
            "--cert",
            "certificate.pem",
            "--key",
            "key.pem",
            "--blobPort",
            "0",
        ]);
        let mut service = Service::start(&command, &folder, Stdio::piped());
        let port = service.wait_for(|line| {
            let (_, port) = line.split_once("successfully listens on https://")?.1.split_once(':')?;
            port.parse::<u16>().ok()
        });
        let url = format!("https://localhost:{}/{}", port.expect("Azurite did not start"), Self::ACCOUNT);
        Some(Self { url, certificate, _service: service, _folder: folder })
    }
}
