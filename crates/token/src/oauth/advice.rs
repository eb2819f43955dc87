//! Advice for errors of the token service (docs/protocol/errors.md#aadsts-codes).

use symbolon_types::advice::{SIGN_IN_AGAIN, entra_advice};

/// Advice by OAuth error (RFC 6749 §5.2), for errors without a number that has advice.
const BY_ERROR: &[(&str, &str)] = &[
    ("invalid_client", "check the client id, and the secret, certificate or assertion of the client"),
    ("invalid_scope", "check the scope; Entra expects a resource and /.default"),
    ("unauthorized_client", "check that the application is registered, and that it may use this flow"),
    ("unsupported_grant_type", "use a flow that this token service supports"),
    ("invalid_grant", SIGN_IN_AGAIN),
];

/// Returns the advice for an error of the token service.
pub(crate) fn advice(error: &str, numbers: &[u32], is_transient: bool) -> &'static str {
    if let Some(advice) = entra_advice(numbers) {
        return advice;
    }
    if is_transient {
        return "try again later";
    }
    let by_error = BY_ERROR.iter().find(|(code, _)| *code == error);
    by_error.map_or("read the message of the service, in the excerpt of this error", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_number_with_advice_counts() {
        let resource =
            "check the resource; a scope is its URI and /.default, as in https://vault.azure.net/.default";
        for (error, numbers, is_transient, expected) in [
            ("invalid_scope", &[1_002_012][..], false, resource),
            ("invalid_scope", &[1, 70_011, 90_002], true, resource),
            ("invalid_scope", &[1], false, "check the scope; Entra expects a resource and /.default"),
            ("invalid_scope", &[], true, "try again later"),
            ("x", &[], false, "read the message of the service, in the excerpt of this error"),
        ] {
            assert_eq!(advice(error, numbers, is_transient), expected, "{error} {numbers:?}");
        }
    }
}
