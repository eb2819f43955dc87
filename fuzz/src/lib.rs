//! The fuzz targets as functions. `fuzz_targets` feeds them from libFuzzer, and the test of this
//! crate from the corpus.
//!
//! Each function returns `true` if the input was accepted, so that the test can show that inputs of
//! the corpus reach further than the first check.

mod certificates;
mod challenge;
mod claims;
mod faults;
mod fixture;
mod metadata;
mod msal;
mod proxy;
mod store;
mod token;
mod tpm;

/// A fuzz target: its name, which is that of its binary, corpus and dictionary, and its function.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> bool,
}

/// All fuzz targets.
pub const TARGETS: [Target; 12] = [
    Target { name: "challenge", run: challenge::run },
    Target { name: "claims", run: claims::run },
    Target { name: "client_identity", run: certificates::client_identity },
    Target { name: "fault_toml", run: faults::run },
    Target { name: "metadata_answers", run: metadata::run },
    Target { name: "msal_import", run: msal::run },
    Target { name: "pem", run: certificates::pem },
    Target { name: "pkcs12", run: certificates::pkcs12 },
    Target { name: "proxy_variables", run: proxy::run },
    Target { name: "stored_bindings", run: store::run },
    Target { name: "token_answers", run: token::run },
    Target { name: "tpm_answers", run: tpm::run },
];

/// Runs the target of a binary.
///
/// # Panics
/// If there is no such target, and if the target finds a fault.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    (target.run)(input);
}

/// The line between the parts of an input. It is in every dictionary.
const SEPARATOR: &[u8] = b"\n--8<--\n";

/// Splits an input at its separators.
fn parts(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        match whole.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
            Some(at) => {
                rest = whole.get(at + SEPARATOR.len()..);
                whole.get(..at)
            }
            None => Some(whole),
        }
    })
}
