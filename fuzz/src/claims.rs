//! Claims requests.

use symbolon_token::merge_claims;

/// Merging arbitrary claims does not panic, and the result is a claims request again. The parts of
/// an input are the claims of a server, those of the client, and optionally a capability.
pub(crate) fn run(input: &[u8]) -> bool {
    let mut texts = crate::parts(input).map(std::str::from_utf8);
    let (Some(Ok(server)), Some(Ok(client))) = (texts.next(), texts.next()) else { return false };
    let capabilities: Vec<String> = texts.filter_map(Result::ok).map(str::to_owned).collect();
    let Ok(Some(merged)) = merge_claims(Some(server), Some(client), &capabilities) else { return false };
    assert!(merge_claims(Some(&merged), None, &[]).is_ok(), "merged claims are not a claims request");
    true
}
