//! The redaction of tokens, keys and assertions in text of others.
//!
//! URLs, paths, subjects of federated identities, GUIDs and thumbprints stay readable, because a
//! person compares them letter by letter. They consist of words, unlike random text
//! (docs/protocol/errors.md#excerpts).

use crate::printable::printable;

const REDACTED: &str = "[redacted]";
/// The maximum length of an excerpt, in characters.
pub(crate) const EXCERPT_LENGTH: usize = 512;
/// The maximum length of random text that is shown. A GUID has 36 characters; client secrets of
/// Microsoft Entra have about 40.
const LONGEST_RANDOM: usize = 36;
/// The share of characters in words and numbers from which a text is readable, in percent. Of
/// 20,000 random keys of 28 octets, three had more.
const MIN_WORDS: usize = 70;
const WORD_LENGTHS: std::ops::RangeInclusive<usize> = 4..=24;
/// The maximum length of an abbreviation or number between dashes.
const LONGEST_ABBREVIATION: usize = 6;
/// The beginning of each JWT: `{"` in base64url.
const JWT: &str = "eyJ";
const PEM: &str = "-----BEGIN";
const PEM_END: &str = "-----END";
const PEM_DASHES: &str = "-----";

/// Cuts a text to its first 512 characters, makes it one line, escapes invisible characters, and
/// redacts everything that may be a token, a key or an assertion.
pub(crate) fn redact(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() && shown.chars().count() < EXCERPT_LENGTH {
        if let Some(block) = rest.strip_prefix(PEM) {
            shown.push_str(REDACTED);
            let end = block.split_once(PEM_END).and_then(|(_, end)| end.split_once(PEM_DASHES));
            rest = end.map_or("", |(_, rest)| rest);
            continue;
        }
        let end = rest.find(|character| !is_of_run(character)).unwrap_or(rest.len());
        let end = rest[..end].find(PEM).unwrap_or(end);
        if end > 0 {
            push_run(&mut shown, &rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let mut characters = rest.chars();
        if let Some(character) = characters.next() {
            let character = if character.is_whitespace() { ' ' } else { character };
            shown.push_str(&printable(character).to_string());
        }
        rest = characters.as_str();
    }
    match shown.char_indices().nth(EXCERPT_LENGTH) {
        Some((end, _)) => shown[..end].to_owned() + "…",
        None => shown,
    }
}

/// Returns true for a character of a token, a URL, a path or a subject.
fn is_of_run(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || is_between_values(character)
        || is_between_names(character)
        || matches!(character, '-' | '_' | '~')
}

/// Returns true for a character that ends a value, such as a parameter of a query.
fn is_between_values(character: char) -> bool {
    matches!(character, ':' | '?' | '&' | '=' | '#')
}

/// Returns true for a character between the names of a path or a host. Some of them occur in tokens
/// as well.
fn is_between_names(character: char) -> bool {
    matches!(character, '/' | '.' | '@' | '+' | '%')
}

/// Adds a run of characters without spaces, with each of its values that may be a token redacted.
fn push_run(shown: &mut String, run: &str) {
    let mut rest = run;
    while !rest.is_empty() {
        let end = rest.find(is_between_values).unwrap_or(rest.len());
        let padding = &rest[end..];
        let end = if padding.bytes().all(|byte| byte == b'=') { rest.len() } else { end };
        let (value, after) = rest.split_at(end);
        shown.push_str(if may_be_token(value) { REDACTED } else { value });
        let separators = after.find(|character| !is_between_values(character)).unwrap_or(after.len());
        shown.push_str(&after[..separators]);
        rest = &after[separators..];
    }
}

fn may_be_token(value: &str) -> bool {
    if names(value).any(|name| name.len() > JWT.len() && name.starts_with(JWT)) {
        return true;
    }
    if value.len() <= LONGEST_RANDOM || is_digest(value) {
        return false;
    }
    let is_one_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_one_name || !is_readable(value) || longest_random(value) > LONGEST_RANDOM
}

/// Returns the names of a path or a host, without percent-encoded octets.
fn names(value: &str) -> impl Iterator<Item = &str> {
    value.split(|character| is_between_names(character) && character != '%').flat_map(|name| {
        name.split('%').enumerate().map(|(number, name)| {
            let is_octet = number > 0
                && name.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            if is_octet { &name[2..] } else { name }
        })
    })
}

/// Returns the length of the longest sequence of names that are not readable.
fn longest_random(value: &str) -> usize {
    let mut longest = 0;
    let mut length = 0;
    for name in names(value) {
        match is_readable(name) {
            true if name.len() > LONGEST_ABBREVIATION => length = 0,
            _ => length += name.len(),
        }
        longest = longest.max(length);
    }
    longest
}

/// Returns true if a text consists mostly of words, numbers, GUIDs and digests.
fn is_readable(text: &str) -> bool {
    let (mut all, mut readable) = (0, 0);
    for name in names(text) {
        let length = name.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).count();
        all += length;
        readable += if is_guid(name) || is_digest(name) { length } else { word_length(name) };
    }
    readable * 100 >= all * MIN_WORDS
}

/// Returns true for a GUID (RFC 9562 §4).
fn is_guid(name: &str) -> bool {
    let is_hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths = name.split('-').map(|group| is_hex(group).then_some(group.len()));
    lengths.eq([8, 4, 4, 4, 12].map(Some))
}

/// Returns true for a digest in hexadecimal, as the thumbprint of a certificate, or an id of 128
/// bits. All its letters have the same case.
fn is_digest(name: &str) -> bool {
    let has = |is_of_class: fn(&u8) -> bool| name.as_bytes().iter().any(is_of_class);
    matches!(name.len(), 32 | 40 | 64)
        && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
}

/// Returns the number of characters of a name that belong to words and numbers.
fn word_length(name: &str) -> usize {
    let mut length = 0;
    for part in name.split(['-', '_']) {
        if is_abbreviation(part) {
            length += part.len();
            continue;
        }
        let mut rest = part;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_length(rest));
            length += if is_word_or_number(piece) { piece.len() } else { 0 };
            rest = after;
        }
    }
    length
}

/// Returns true for a short part of a name in one case, possibly with digits.
fn is_abbreviation(part: &str) -> bool {
    let is_all = |is_of_class: fn(&u8) -> bool| part.as_bytes().iter().all(is_of_class);
    part.len() <= LONGEST_ABBREVIATION
        && (is_all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            || is_all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()))
}

/// Returns the length of the first piece of a name: a number, a word with or without an initial
/// capital, or an acronym.
fn piece_length(name: &str) -> usize {
    let end = |from: usize, is_of_class: fn(&u8) -> bool| {
        name.as_bytes()[from..]
            .iter()
            .position(|byte| !is_of_class(byte))
            .map_or(name.len(), |end| from + end)
    };
    let digits = end(0, u8::is_ascii_digit);
    let capitals = end(0, u8::is_ascii_uppercase);
    let word = end(capitals, u8::is_ascii_lowercase);
    match (digits, capitals) {
        (1.., _) => digits,
        // In `AADToken` the last capital belongs to the second word.
        (_, 2..) if word > capitals => capitals - 1,
        _ => word.max(1),
    }
}

/// Returns true for a number, and for letters with vowels and consonants.
fn is_word_or_number(piece: &str) -> bool {
    let is_vowel = |byte: u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    WORD_LENGTHS.contains(&piece.len())
        && (piece.bytes().all(|byte| byte.is_ascii_digit())
            || piece.bytes().all(|byte| byte.is_ascii_alphabetic())
                && piece.bytes().any(is_vowel)
                && !piece.bytes().all(is_vowel))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HIDDEN: &str = "<[redacted]>";

    #[track_caller]
    fn assert_hidden(case: &str, text: &str) {
        assert_eq!(redact(&format!("<{text}>")), HIDDEN, "{case}");
    }

    #[test]
    fn names_that_users_compare_are_shown() {
        for text in [
            "https://login.microsoftonline.com/751a212b-4003-416e-b600-e1f48e40db9f/v2.0",
            "https://token.actions.githubusercontent.com",
            "https://eastus.oic.prod-aks.azure.com/751a212b-4003-416e-b600-e1f48e40db9f/0f2b8f9c-9c57-4c7e-b3ad-0d3a51d3bd3b/",
            "https://oidc.eks.us-east-1.amazonaws.com/id/5C2DA98FE0BCE77E4B3B4C2D3B6F0D52",
            "https://contoso-production-keyvault.vault.azure.net/secrets/database-password?api-version=7.4",
            "repo:contoso-organization/payment-service:environment:Production-WestEurope",
            "repo:contoso-organization/payment-service:ref:refs/heads/feature/rotate-certificates",
            "repo:octo-organization@65/octo-repository@74:environment:Production",
            "system:serviceaccount:payments-production:workload-identity-service-account",
            "organization:contoso:project:payments:workspace:production:run_phase:apply",
            "project_path:contoso/payment-service:ref_type:branch:ref:release-candidate",
            "spiffe://cluster.local/ns/payments-production/sa/workload-identity",
            "api://AzureADTokenExchange/751a212b-4003-416e-b600-e1f48e40db9f",
            "/subscriptions/751a212b-4003-416e-b600-e1f48e40db9f/resourceGroups/payments-production/providers\
             /Microsoft.ManagedIdentity/userAssignedIdentities/payments-identity",
            "/SUBSCRIPTIONS/751A212B-4003-416E-B600-E1F48E40DB9F/RESOURCEGROUPS/PAYMENTS-PRODUCTION",
            "/var/run/secrets/azure/tokens/azure-identity-token",
            "/home/developer/.azure/cliextensions/account/azure_cli_core.log:",
            r"/usr/lib/python3/dist-packages/azure/cli/core/commands/validators.py",
            "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09",
            "AADSTS7000215AADSTS7000222",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "payments-7d9f8b6c5d-x2x4z.payments-production.svc.cluster.local",
        ] {
            let quoted = format!("'{text}', expected");
            assert_eq!(redact(&quoted), quoted);
        }
    }

    #[test]
    fn random_text_in_a_name_is_redacted() {
        for (text, shown) in [
            (
                "https://app.example/callback?code=0.AXoAVM7wQ2tZkU2Xb1zJq8bYx3sN4rWkP0dLq7e&state=one",
                "https://app.example/callback?code=[redacted]&state=one",
            ),
            ("id=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "id=[redacted]"),
            (
                "https://x.blob.core.windows.net/c?sig=47DEQpj8HBSa%2B%2FTImW-5JCeuQeRkm5NMpJWZG3hSuFU%3D",
                "https://x.blob.core.windows.net/c?sig=[redacted]",
            ),
            ("token:eyJhbGciOiJub25lIn0.e30.", "token:[redacted]"),
            // Most of the path is readable.
            (
                "https://contoso-production-functions.azurewebsites.net/administration/host/system-keys/\
                 47DEQpj8HBSaTImW5JCeuQeRkm5NMpJWZG3hSuFUq83/renewal/of/production-certificates-for-customers",
                "https:[redacted]",
            ),
            (
                "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
                "AccountKey=[redacted]",
            ),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn tokens_and_keys_are_redacted() {
        for (case, text) in [
            ("a GUID and one more", "751a212b-4003-416e-b600-e1f48e40db9fa"),
            ("hexadecimal in two cases", "da39a3ee5e6b4b0d3255bfef95601890AFD80709"),
            ("a key of 256 bits and more", &"da39a3ee5e6b4b0d3255".repeat(4)),
            ("base64url", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
            ("base64 with slashes", "q83/7wEj/RWeJq83/vASNFZ4/mrze8BIz/RVZ4mrze8/BIzRWJq8"),
            ("a client secret", "abc8Q~dEfGhIjKlMnOpQrStUvWxYz0123456789a"),
            ("letters of one case", "qwertzuiopasdfghjklyxcvbnmqwertzuiopasdfgh"),
            ("an opaque token", "EwAoA8l6BAAUkj1NuJYtTVha0Mogk0HEiPbQo04AAXkD"),
            ("one name of many words", "CorrectHorseBatteryStapleCorrectHorseBattery"),
            ("a short JWT", "eyJhbGciOiJub25lIn0"),
        ] {
            assert_hidden(case, text);
        }
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\nAbc=\n-----END PRIVATE KEY-----";
        assert_eq!(redact(&format!("key: {pem} in a file")), "key: [redacted] in a file");
        assert_eq!(redact("x-----BEGIN PRIVATE KEY-----\nMIIEvQ"), "x[redacted]");
    }

    #[test]
    fn words_are_counted_by_their_case() {
        for (name, length) in [
            ("certificate", 11),
            ("AzureADTokenExchange", 18),
            // The acronym is too short for a word.
            ("AADToken", 5),
            ("xyz-1", 4),
            ("20261130T0", 8),
            ("bcdfgh1k", 0),
        ] {
            assert_eq!(word_length(name), length, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(-----BEGIN |-----END |[a-zA-Z0-9/+=%.:~-]|.){0,80}") {
            let shown = redact(&text);
            prop_assert!(shown.chars().count() <= EXCERPT_LENGTH + 1);
        }

        /// Random octets are hidden in both alphabets, also behind a name or in a URL.
        #[test]
        fn no_random_key_is_shown(octets in proptest::collection::vec(any::<u8>(), 48..200), encoding in 0..4_u8) {
            use base64ct::{Base64, Base64UrlUnpadded, Encoding};

            let encoded = match encoding {
                0 | 2 => Base64::encode_string(&octets),
                _ => Base64UrlUnpadded::encode_string(&octets),
            };
            let text = match encoding {
                0 | 1 => encoded.clone(),
                _ => format!("https://host.example/path?key={encoded}"),
            };
            let shown = redact(&text);
            let part = |at: usize| &encoded[at..at + 12];
            // No stretch of twelve characters remains.
            let leaked = (0..encoded.len() - 12).find(|at| shown.contains(part(*at)));
            prop_assert_eq!(leaked, None, "{}", shown);
        }
    }
}
