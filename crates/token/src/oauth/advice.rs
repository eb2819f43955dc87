//! Advice for errors of the token service (docs/protocol/errors.md#aadsts-codes).

/// Advice by AADSTS number.
const BY_NUMBER: &[(&[u32], &str)] = &[
    (&[7_000_215, 7_000_222], "check the client secret, and that it has not expired"),
    (&[700_016, 7_000_229], "check the client id, and that the application exists in this tenant"),
    (
        &[700_027],
        "check that the certificate is registered for the application, and the clock of this machine",
    ),
    (&[90_002], "check the tenant"),
    (&[70_011, 1_002_012], "append /.default to the resource, as in https://vault.azure.net/.default"),
    (&[28_000], "request the scopes of one resource at a time"),
    (&[500_011, 650_057], "check the resource, and that the client is allowed to request it"),
    (&[392_196, 3_921_996], "the resource does not accept bound tokens; request a bearer token"),
    (&[392_200], "the client certificate did not reach the service; check for a proxy that terminates TLS"),
    (&[51_000], "mutual-TLS client authentication is not enabled for this client"),
    (&[1_000_901], "the certificate is no longer accepted for new tokens; renew it"),
];

/// Advice by OAuth error (RFC 6749 §5.2), for errors without a number of the other table.
const BY_ERROR: &[(&str, &str)] = &[
    ("invalid_client", "check the client id, and the secret, certificate or assertion of the client"),
    ("invalid_scope", "check the scope; Entra expects a resource and /.default"),
    ("unauthorized_client", "check that the application is registered, and that it may use this flow"),
    ("unsupported_grant_type", "use a flow that this token service supports"),
    ("invalid_grant", "let the user sign in again"),
];

/// Returns the advice for an error of the token service.
pub(crate) fn advice(error: &str, numbers: &[u32], is_transient: bool) -> &'static str {
    let by_number = |number: &u32| BY_NUMBER.iter().find(|(numbers, _)| numbers.contains(number));
    if let Some((_, advice)) = numbers.iter().find_map(by_number) {
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
        let resource = "append /.default to the resource, as in https://vault.azure.net/.default";
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
