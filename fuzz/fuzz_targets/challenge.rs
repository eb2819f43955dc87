//! Arbitrary `WWW-Authenticate` fields do not panic, and claims in them are a valid claims request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_token::{Challenge, merge_claims};

fuzz_target!(|field: &str| {
    for challenge in Challenge::parse(field) {
        assert!(!challenge.scheme().is_empty());
        if let Some(Ok(claims)) = challenge.claims() {
            assert!(merge_claims(Some(&claims), None, &[]).is_ok());
        }
    }
});
