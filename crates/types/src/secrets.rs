//! The secrets of a request, and their redaction in texts of the server.

use std::borrow::Cow;

use crate::Secret;

const REDACTED: &str = "[redacted]";
/// The end of a text that cuts a secret off is redacted from this many characters of the secret.
const SHORTEST_CUT: usize = 8;
/// The maximum depth of an encoding inside of the same encoding.
const MAX_DEPTH: usize = 3;

/// The secrets that a request was built from. A server that repeats them must not bring them into
/// an error or a log.
///
/// ```
/// # use symbolon_types::{Secret, Secrets};
/// let secrets = Secrets::from(Secret::new("p@ss"));
/// assert_eq!(secrets.redact("the secret p@ss is wrong"), "the secret [redacted] is wrong");
/// assert_eq!(secrets.redact("secret=p%40ss"), "secret=[redacted]");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Creates an empty set.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a secret.
    pub fn push(&mut self, secret: Secret) {
        let is_known = |known: &Secret| known.expose() == secret.expose();
        if !secret.expose().trim().is_empty() && !self.0.iter().any(is_known) {
            self.0.push(secret);
        }
    }

    /// Returns the text with every secret replaced, whatever its length: letter for letter except
    /// for the case, or with characters encoded for a form, a URL, JSON or HTML.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(character) = text[at..].chars().next() {
            match self.0.iter().filter_map(|secret| length_of(secret.expose().trim(), &text[at..])).max() {
                Some(length) => {
                    shown.push_str(&text[copied..at]);
                    shown.push_str(REDACTED);
                    at += length;
                    copied = at;
                }
                None => at += character.len_utf8(),
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        shown.push_str(&text[copied..]);
        Cow::Owned(shown)
    }

    /// Returns true if the text contains a secret.
    #[must_use]
    pub fn are_in(&self, text: &str) -> bool {
        matches!(self.redact(text), Cow::Owned(_))
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self::from_iter([secret])
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<I: IntoIterator<Item = Secret>>(secrets: I) -> Self {
        let mut all = Self::none();
        all.extend(secrets);
        all
    }
}

impl Extend<Secret> for Secrets {
    fn extend<I: IntoIterator<Item = Secret>>(&mut self, secrets: I) {
        secrets.into_iter().for_each(|secret| self.push(secret));
    }
}

impl IntoIterator for Secrets {
    type Item = Secret;
    type IntoIter = std::vec::IntoIter<Secret>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Returns the length of the secret at the beginning of the text, if it is there in any encoding.
fn length_of(secret: &str, text: &str) -> Option<usize> {
    let mut begins = false;
    strip(text, secret.chars().next()?, |_| begins = true);
    if !begins {
        return None;
    }
    // All positions after the characters so far: an encoding can be read in several ways.
    let (mut ends, mut next) = (vec![0], Vec::new());
    for (count, character) in secret.chars().enumerate() {
        if count >= SHORTEST_CUT && ends.contains(&text.len()) {
            return Some(text.len());
        }
        for end in ends.drain(..) {
            let found = |rest: &str| next.push(text.len() - rest.len());
            strip(&text[end..], character, found);
        }
        next.sort_unstable();
        next.dedup();
        std::mem::swap(&mut ends, &mut next);
        if ends.is_empty() {
            return None;
        }
    }
    ends.into_iter().max()
}

/// Reports each rest of the text after this character at its beginning, in any encoding.
fn strip<'t>(text: &'t str, character: char, mut found: impl FnMut(&'t str)) {
    if let Some(rest) = literal(text, character) {
        found(rest);
    }
    match text.as_bytes().first() {
        Some(b'+') if character == ' ' => found(&text[1..]),
        Some(b'%') => {
            (0..MAX_DEPTH).filter_map(|depth| percent_encoded(text, character, depth)).for_each(found);
        }
        Some(b'\\') => escaped(text, character, found),
        Some(b'&') => html_encoded(text, character).into_iter().for_each(found),
        _ => {}
    }
}

fn literal(text: &str, character: char) -> Option<&str> {
    let first = text.chars().next()?;
    first.eq_ignore_ascii_case(&character).then(|| &text[first.len_utf8()..])
}

/// Strips `%20`, or at a depth of 1 `%2520`, which is the same encoded twice.
fn percent_encoded(text: &str, character: char, depth: usize) -> Option<&str> {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).as_bytes();
    bytes.iter().try_fold(text, |text, byte| {
        let text = (0..depth).try_fold(text.strip_prefix('%')?, |text, _| text.strip_prefix("25"))?;
        let digits = text.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let found = u8::from_str_radix(digits, 16).ok()?;
        found.eq_ignore_ascii_case(byte).then(|| &text[2..])
    })
}

/// Strips the escape sequences of JSON, with any number of backslashes for JSON inside of JSON.
fn escaped<'t>(text: &'t str, character: char, mut found: impl FnMut(&'t str)) {
    if character == '\\' {
        let doubled = (1..=MAX_DEPTH).filter_map(|depth| text.strip_prefix(&"\\".repeat(1 << depth)));
        doubled.for_each(&mut found);
    }
    let rest = text.trim_start_matches('\\');
    let letter = match character {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        other => other,
    };
    if let Some(rest) = literal(rest, letter).filter(|_| character != '\\') {
        found(rest);
    }
    let mut units = [0; 2];
    let mut units = character.encode_utf16(&mut units).iter();
    let unescaped = units.try_fold(text, |text, unit| {
        let digits = text.trim_start_matches('\\').strip_prefix(['u', 'U'])?;
        let (digits, rest) = (digits.get(..4)?, &digits[4..]);
        (u16::from_str_radix(digits, 16).ok()? == *unit).then_some(rest)
    });
    unescaped.into_iter().for_each(found);
}

/// Strips a character reference, such as `&amp;`, `&#39;` or `&#x27;`.
fn html_encoded(text: &str, character: char) -> Option<&str> {
    let (reference, rest) = text.strip_prefix('&')?.split_once(';')?;
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let decoded = match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => match reference.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16)?,
            None => number(&reference[1..], 10)?,
        },
    };
    (decoded == character).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redact(secret: &str, text: &str) -> String {
        Secrets::from(Secret::new(secret)).redact(text).into_owned()
    }

    #[test]
    fn secret_is_found_in_every_encoding() {
        let secret = "a\"b\\c/d e+f%g&h<é😀'=~";
        for (case, encoded) in [
            ("as it is", secret),
            ("in capitals", "A\"B\\C/D E+F%G&H<é😀'=~"),
            ("form", "a%22b%5Cc%2Fd+e%2Bf%25g%26h%3C%C3%A9%F0%9F%98%80%27%3D%7E"),
            ("URL, lower case", "a%22b%5cc/d%20e+f%25g&h%3c%c3%a9%f0%9f%98%80'=~"),
            ("JSON", "a\\\"b\\\\c/d e+f%g&h<é😀'=~"),
            ("JSON in ASCII", "a\\\"b\\\\c\\/d e\\u002Bf%g\\u0026h\\u003c\\u00e9\\ud83d\\uDE00\\u0027=~"),
            ("JSON in JSON", "a\\\\\\\"b\\\\\\\\c/d e+f%g&h<\\\\u00e9\\\\ud83d\\\\ude00'=~"),
            (
                "form in a form",
                "a%2522b%255Cc%252Fd%2520e%252Bf%2525g%2526h%253C%25C3%25A9%25F0%259F%2598%2580%2527%253D%257E",
            ),
            ("HTML", "a&quot;b\\c/d e+f%g&amp;h&lt;&#233;&#x1F600;&#39;=~"),
            (
                "every character",
                "%61%22%62%5c%63%2f%64%20%65%2b%66%25%67%26%68%3c%c3%a9%f0%9f%98%80%27%3d%7e",
            ),
            ("form in JSON", "a%22b%5Cc\\/d+e%2Bf%25g%26h%3C%C3%A9%F0%9F%98%80\\u0027=~"),
        ] {
            assert_eq!(redact(secret, &format!("<{encoded}>")), "<[redacted]>", "{case}");
        }
    }

    #[test]
    fn length_of_the_secret_does_not_matter() {
        assert_eq!(redact("x", "x, y and %78"), "[redacted], y and [redacted]");
        assert_eq!(redact("", "text"), "text");
        assert_eq!(redact(" \n", "te xt"), "te xt");
        assert_eq!(redact("pass\n", "the pass"), "the [redacted]");
        let secrets: Secrets = ["ab", "abc", "bcd"].map(Secret::new).into_iter().collect();
        assert_eq!(secrets.redact("abcd abd"), "[redacted]d [redacted]d");
        assert!(secrets.are_in("xABx") && !secrets.are_in("a b"));
    }

    #[test]
    fn secret_that_the_text_cuts_off_is_found() {
        assert_eq!(redact("0123456789", "it was 01234567"), "it was [redacted]");
        assert_eq!(redact("0123456789", "it was 0123456"), "it was 0123456");
        assert_eq!(redact("0123456789", "it was 01234567 x"), "it was 01234567 x");
    }

    /// Encodes a text with one of the encodings.
    fn encode(text: &str, encoding: u8) -> String {
        match encoding {
            0 => text.to_owned(),
            1 => text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            2 => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
            3 => text.chars().map(|character| format!("&#{};", u32::from(character))).collect(),
            _ => encode(text, 1).replace('%', "%25"),
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(secret in ".{0,6}", text in r#"([%\\&u#;+0-9a-f"é]|.){0,40}"#) {
            redact(&secret, &text);
        }

        #[test]
        fn no_encoded_secret_is_shown(
            secret in "[!-~é😀]{1,12}",
            (before, after) in ("[ \n]{0,3}", "[ \n]{0,3}"),
            encoding in 0..5_u8,
        ) {
            let text = format!("{before}{}{after}", encode(&secret, encoding));
            prop_assert_eq!(redact(&secret, &text), format!("{before}[redacted]{after}"));
        }
    }
}
