//! Merging arbitrary claims does not panic, and the result is a JSON object.

#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_token::merge_claims;

fuzz_target!(|inputs: (&str, &str, bool)| {
    let (server, client, is_capable) = inputs;
    let capabilities = if is_capable { vec!["cp1".to_owned()] } else { Vec::new() };
    if let Ok(Some(merged)) = merge_claims(Some(server), Some(client), &capabilities) {
        assert!(merge_claims(Some(&merged), None, &[]).is_ok(), "what was merged is a claims request again");
    }
});
