//! `WWW-Authenticate` fields.

use symbolon_token::{Challenge, merge_claims};

/// Arbitrary fields do not panic, and claims in them are a valid claims request.
pub(crate) fn run(input: &[u8]) -> bool {
    let Ok(field) = std::str::from_utf8(input) else { return false };
    let mut has_claims = false;
    for challenge in Challenge::parse(field) {
        assert!(!challenge.scheme().is_empty());
        if let Some(Ok(claims)) = challenge.claims() {
            assert!(merge_claims(Some(&claims), None, &[]).is_ok());
            has_claims = true;
        }
    }
    has_claims
}
