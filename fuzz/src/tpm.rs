//! Responses of a TPM.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{LazyLock, Mutex};

use symbolon_binding::KeyProvider;
use symbolon_tpm::TpmKeys;
use symbolon_types::SigningKey as _;

use crate::fixture::wait;

/// A TPM that sends scripted responses over a Unix socket.
struct ScriptedTpm {
    folder: tempfile::TempDir,
    responses: Mutex<Vec<Vec<u8>>>,
}

static TPM: LazyLock<&'static ScriptedTpm> = LazyLock::new(ScriptedTpm::start);

/// Arbitrary responses do not panic. The parts of an input are the responses to one command after
/// the other, in hexadecimal.
pub(crate) fn run(input: &[u8]) -> bool {
    let responses = crate::parts(input).map(hex).collect();
    *TPM.responses.lock().expect("no panic") = responses;
    let state = tempfile::tempdir_in(TPM.folder.path()).expect("a folder");
    let address = format!("swtpm:path={}", TPM.socket().display());
    let keys = TpmKeys::builder(&address, state.path().join("keys")).expect("an address");
    let keys = keys.p256().build().expect("keys");
    match wait(keys.key()) {
        Ok(key) => {
            assert!(!key.schemes().is_empty());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn hex(part: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = part
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .filter_map(|digit| digit.try_into().ok())
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

impl ScriptedTpm {
    fn start() -> &'static Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tpm = Self { folder, responses: Mutex::default() };
        let tpm: &'static Self = Box::leak(Box::new(tpm));
        let listener = UnixListener::bind(tpm.socket()).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || tpm.serve(stream));
            }
        });
        tpm
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("tpm")
    }

    /// Responds to each command; closes the connection when there is no response left.
    fn serve(&self, mut stream: UnixStream) -> Option<()> {
        let mut header = [0; 6];
        loop {
            stream.read_exact(&mut header).ok()?;
            let length = u32::from_be_bytes(header[2..].try_into().ok()?);
            let mut rest = vec![0; usize::try_from(length).ok()?.checked_sub(header.len())?];
            stream.read_exact(&mut rest).ok()?;
            let mut responses = self.responses.lock().ok()?;
            if responses.is_empty() {
                return None;
            }
            let response = responses.remove(0);
            drop(responses);
            stream.write_all(&response).ok()?;
            // The client would wait for the rest of a response that is shorter than it states.
            let stated = response.get(2..6)?;
            if *stated != u32::try_from(response.len()).ok()?.to_be_bytes() {
                return None;
            }
        }
    }
}
