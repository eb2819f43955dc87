//! Files with faults for the emulator.

use symbolon_emulator::Emulator;

/// Arbitrary files do not panic, and an error has a position or says what is wrong.
pub(crate) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match Emulator::builder().faults_toml(text) {
        Ok(_) => !text.trim().is_empty(),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
