//! Advice for errors of Microsoft Entra and of managed identity sources: one table for all clients.
//!
//! An error of Entra reaches a client from the token service, through a managed identity source, or
//! through a developer tool. Its AADSTS numbers count first, because `error` is less precise
//! (docs/protocol/errors.md#aadsts-codes).

/// Maximum number of AADSTS numbers in an error.
pub(crate) const MAX_SERVER_CODES: usize = 8;

/// Advice by AADSTS number.
const BY_NUMBER: &[(&[u32], &str)] = &[
    (&[7_000_215, 7_000_222], "check the client secret, and that it has not expired"),
    (&[700_016, 7_000_229], "check the client id, and that the application exists in this tenant"),
    (
        &[700_027],
        "check that the certificate is registered for the application, and the clock of this machine",
    ),
    (&[90_002], "check the tenant"),
    // Managed identities and tools append /.default themselves.
    (
        &[70_011, 1_002_012],
        "check the resource; a scope is its URI and /.default, as in https://vault.azure.net/.default",
    ),
    (&[28_000], "request the scopes of one resource at a time"),
    (&[500_011, 650_057], "check the resource, and that the client is allowed to request it"),
    (&[392_196, 3_921_996], "the resource does not accept bound tokens; request a bearer token"),
    (&[392_200], "the client certificate did not reach the service; check for a proxy that terminates TLS"),
    (&[51_000], "mutual-TLS client authentication is not enabled for this client"),
    (&[1_000_901], "the certificate is no longer accepted for new tokens; renew it"),
    (&[500_181], "the certificate on the connection is not that of the token or assertion; request it again"),
    (&[7_000_216, 7_000_218], "configure a client secret, a certificate or a client assertion"),
    (&[700_025], "use the id of a confidential client; this one is public and has no credential"),
    (&[7_000_112, 500_014], "let an administrator enable the application in this tenant"),
    (&[700_030], "use a registered certificate, or register its subject name"),
    (&[7_005_004], "use another certificate; the key of this one is revoked"),
    (&[50_027], "check that the client assertion is a whole, unchanged JWT"),
    (&[700_023], "create the client assertion for this token service"),
    (
        &[700_024],
        "check the clock of the machine that signs the client assertion, and that a token file is renewed",
    ),
    (
        &[70_021],
        "compare issuer, subject and audience of the assertion with the federated credential, letter by letter",
    ),
    (
        &[700_211, 7_002_111],
        "compare the issuer of the assertion with that of the federated credential, letter by letter",
    ),
    (
        &[700_212, 7_002_121],
        "compare the audience of the assertion with that of the federated credential, mostly \
         api://AzureADTokenExchange",
    ),
    (
        &[700_213, 7_002_138],
        "compare the subject of the assertion with that of the federated credential, letter by letter, case \
         included",
    ),
    (
        &[700_222, 700_229],
        "use the token of a managed identity for api://AzureADTokenExchange as the assertion, or that of \
         another issuer",
    ),
    (&[65_001, 90_094], "let an administrator consent to the permissions that the application requests"),
    (&[65_004], "explain the purpose, and let the user sign in again"),
    (&[50_105, 501_051], "assign the application, user or group to a role of the resource"),
    (&[50_034], "check the user name, and the tenant in the authority"),
    (&[50_020], "use the tenant of the user, or invite the user as a guest"),
    (&[50_057], "let an administrator enable the account"),
    (&[50_126], "let the user sign in again with the right password"),
    (&[50_059, 50_128, 50_194, 900_023], "use an authority with the id or a domain of the tenant"),
    (&[50_011], "register the redirect URI, or use the registered one, letter by letter"),
    (&[54_005], "let the user sign in again; an authorization code counts once"),
    (
        &[50_013, 500_131, 500_133],
        "pass the token of the user that this application received, unchanged and before it expires",
    ),
    (&[7_000_114], "act for a user, by the access token of the user; an application cannot be acted for"),
    (&[70_003], "use a flow that this token service supports"),
    (&[90_100, 900_144], "correct the parameter that the message of the service names"),
];

/// AADSTS numbers after which only a sign-in of the user helps: the session or its password has
/// ended, or a policy requires another factor.
const SIGN_IN: &[u32] = &[
    50_055, 50_058, 50_072, 50_074, 50_076, 50_078, 50_079, 50_132, 50_133, 50_173, 53_000, 53_001, 53_003,
    70_008, 70_043, 70_044, 700_082, 700_084,
];

/// The advice for an error that only a sign-in of the user resolves.
pub const SIGN_IN_AGAIN: &str = "let the user sign in again";

/// Advice by a code or a sentence, in lower case, in the error of a managed identity source
/// (docs/protocol/sources.md#errors).
const BY_SOURCE_ERROR: &[(&[&str], &str)] = &[
    (
        &[
            "multiple user assigned identities exist",
            "multiple user-assigned identities exist",
            "unable to load the proper managed identity",
            "unable to load requested managed identity",
            "defaultidentitynotdefined",
        ],
        "name one of the user-assigned identities of this host by its client id, object id or resource id: \
         ManagedIdentityBuilder::identity, or --identity client-id:ID; without an id, the host needs a \
         system-assigned identity",
    ),
    (
        MISSING_IDENTITY,
        "assign the identity to this host, or correct its id; without an id, the host needs a system-assigned \
         identity",
    ),
    (
        &["invalid_resource", "audiencenotsupported"],
        "check the resource: its URI, and that it exists in the tenant of the identity",
    ),
    (
        &["invalid_scope"],
        "check the resource; a managed identity takes its URI, for example https://vault.azure.net",
    ),
];

/// Sentences and codes, in lower case, of a source that does not have the requested identity.
const MISSING_IDENTITY: &[&str] = &[
    "identity not found",
    "managed identity found for specified",
    "no managed service identity was found",
    "no msi found",
    "managedidentitynotfound",
];

/// Returns the advice for the AADSTS numbers of an error. The first number with advice counts.
#[must_use]
pub fn entra_advice(numbers: &[u32]) -> Option<&'static str> {
    let advice = |number: &u32| {
        let row = BY_NUMBER.iter().find(|(numbers, _)| numbers.contains(number));
        row.map(|(_, advice)| *advice).or_else(|| SIGN_IN.contains(number).then_some(SIGN_IN_AGAIN))
    };
    numbers.iter().find_map(advice)
}

/// Returns the numbers with advice, each of which TROUBLESHOOTING.md explains.
pub fn advised_numbers() -> impl Iterator<Item = u32> {
    BY_NUMBER.iter().flat_map(|(numbers, _)| *numbers).chain(SIGN_IN).copied()
}

/// Returns true if the first number with advice asks for a sign-in of the user.
#[must_use]
pub fn requires_sign_in(numbers: &[u32]) -> bool {
    entra_advice(numbers) == Some(SIGN_IN_AGAIN)
}

/// Returns the advice for an error of a managed identity source, from its numbers, its code or its
/// text.
#[must_use]
pub fn source_advice(text: &str, numbers: &[u32]) -> Option<&'static str> {
    let by_text = || {
        let text = text.to_ascii_lowercase();
        BY_SOURCE_ERROR.iter().find(|(phrases, _)| contains_any(&text, phrases)).map(|(_, advice)| *advice)
    };
    entra_advice(numbers).or_else(by_text)
}

/// Returns true if a managed identity source reports that it does not have the requested identity.
#[must_use]
pub fn is_identity_missing(text: &str) -> bool {
    contains_any(&text.to_ascii_lowercase(), MISSING_IDENTITY)
}

/// Returns the numbers that follow `AADSTS` in a text, each once.
#[must_use]
pub fn aadsts_numbers(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for rest in text.split("AADSTS").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if let Ok(number) = rest[..end].parse()
            && !numbers.contains(&number)
            && numbers.len() < MAX_SERVER_CODES
        {
            numbers.push(number);
        }
    }
    numbers
}

fn contains_any(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_number_with_advice_counts() {
        for (numbers, expected) in [
            (
                &[1, 70_011, 90_002][..],
                Some(
                    "check the resource; a scope is its URI and /.default, as in https://vault.azure.net/.default",
                ),
            ),
            (&[700_082, 90_002], Some(SIGN_IN_AGAIN)),
            (&[90_002, 700_082], Some("check the tenant")),
            (&[1], None),
            (&[], None),
        ] {
            assert_eq!(entra_advice(numbers), expected, "{numbers:?}");
            assert_eq!(requires_sign_in(numbers), expected == Some(SIGN_IN_AGAIN), "{numbers:?}");
        }
    }

    #[test]
    fn no_number_has_advice_twice() {
        let mut numbers: Vec<u32> = advised_numbers().collect();
        numbers.sort_unstable();
        let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }

    #[test]
    fn source_error_has_advice_of_its_cause() {
        for (text, numbers, expected) in [
            ("invalid_resource; AADSTS500011: not found", &[500_011][..], Some("check the resource, and")),
            ("invalid_resource; no such thing", &[], Some("check the resource: its URI")),
            ("AudienceNotSupported; Audience x is not supported", &[], Some("check the resource: its URI")),
            (
                "invalid_request; Multiple user assigned identities exist, please specify the clientId",
                &[],
                Some("name one of the user-assigned identities of this host"),
            ),
            ("Unable to load the proper Managed Identity.", &[], Some("name one of the user-assigned")),
            ("invalid_request; Identity not found", &[], Some("assign the identity to this host")),
            (
                "No User Assigned or Delegated Managed Identity found for specified ClientId",
                &[],
                Some("assign the identity to this host"),
            ),
            ("invalid_request; Required audience parameter not specified", &[], None),
            ("", &[], None),
        ] {
            let advice = source_advice(text, numbers);
            match expected {
                Some(begin) => {
                    assert!(advice.is_some_and(|advice| advice.starts_with(begin)), "{text}: {advice:?}");
                }
                None => assert_eq!(advice, None, "{text}"),
            }
        }
        assert!(is_identity_missing("invalid_request; Identity not found"));
        // The host has identities, of which none is selected.
        assert!(!is_identity_missing("Multiple user assigned identities exist"));
        assert!(!is_identity_missing("Unable to load the proper Managed Identity."));
    }

    #[test]
    fn numbers_are_read_from_text() {
        for (text, expected) in [
            ("AADSTS700082: expired. AADSTS700082 AADSTS50058", &[700_082, 50_058][..]),
            ("AADSTS", &[]),
            ("AADSTS99999999999", &[]),
            ("no number", &[]),
        ] {
            assert_eq!(aadsts_numbers(text), expected, "{text}");
        }
        let many: String = (1..20).map(|number| format!("AADSTS{number} ")).collect();
        assert_eq!(aadsts_numbers(&many), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
