//! Certificate requests.

use symbolon_test_programs::{SoftHsm, missing};

use crate::keys::{Home, Requested};
use crate::verifiers::{VERIFIERS, Verdict};

/// Every installed verifier accepts the request, and refuses it when it is changed.
fn all_verify(requests: &[Requested]) {
    for verifier in VERIFIERS {
        let prepared = match verifier.prepare() {
            Ok(prepared) => prepared,
            Err(what) => {
                missing(&what);
                continue;
            }
        };
        for request in requests {
            let case = format!("{} on {}", verifier.name, request.name);
            match prepared.ask(&request.csr) {
                Verdict::Valid(printed) => {
                    for fact in (verifier.prints)(request.algorithm) {
                        assert!(printed.contains(&fact), "{case} does not print `{fact}`:\n{printed}");
                    }
                }
                Verdict::Refused(printed) => panic!("{case}: {printed}"),
            }
            for (what, forged) in forgeries(&request.csr) {
                if let Verdict::Valid(printed) = prepared.ask(&forged) {
                    panic!("{case}, {what}, is valid:\n{printed}");
                }
            }
        }
    }
}

/// The request with one bit changed in the signed part, one in the signature, and truncated.
fn forgeries(csr: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let flipped = |at: usize| {
        let mut forged = csr.to_vec();
        forged[at] ^= 1;
        forged
    };
    // The last letter of the compute unit id, so that the signed part can still be parsed.
    let name = csr.windows(2).rposition(|pair| pair == b"\"}").expect("a compute unit");
    [
        ("with another machine", flipped(name - 1)),
        ("with another signature", flipped(csr.len() - 1)),
        ("cut off", csr[..csr.len() - 1].to_vec()),
    ]
}

#[test]
fn requests_for_keys_in_memory_hold_everywhere() {
    all_verify(&Home::Memory.keys());
}

#[test]
fn requests_for_keys_in_files_hold_everywhere() {
    all_verify(&Home::File.keys());
}

#[test]
fn requests_for_keys_on_a_token_hold_everywhere() {
    SoftHsm::run("csr::requests_for_keys_on_a_token_hold_everywhere", |_| all_verify(&Home::Token.keys()));
}

#[test]
fn requests_for_keys_in_a_tpm_hold_everywhere() {
    all_verify(&Home::Tpm.keys());
}
