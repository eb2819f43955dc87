//! A tolerant parser for challenges (RFC 9110 §11.3, §11.6.1), in which one malformed element does
//! not hide the others (`docs/protocol/errors.md#claims-challenge`).

/// One challenge of a field.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct ParsedChallenge<'a> {
    pub(super) scheme: &'a str,
    pub(super) token68: Option<&'a str>,
    pub(super) parameters: Vec<(&'a str, String)>,
}

/// Parses the challenges of a field. A malformed element is skipped up to the next comma.
pub(super) fn challenges(field: &str) -> Vec<ParsedChallenge<'_>> {
    let mut challenges: Vec<ParsedChallenge<'_>> = Vec::new();
    let mut reader = FieldReader(field);
    loop {
        // Commas may be missing, as MSAL.NET 4.x accepts, or repeated (RFC 9110 §5.6.1.2).
        reader.take_while(|c| c == ',' || is_whitespace(c));
        if reader.0.is_empty() {
            return challenges;
        }
        let name = reader.take_while(is_token);
        if name.is_empty() {
            reader.skip_element();
        } else if let Some(value) = reader.after_equals_sign() {
            reader = value;
            match (reader.value(), challenges.last_mut()) {
                (Some(value), Some(challenge)) if reader.is_at_separator() => {
                    // A challenge has a token68 or parameters, not both.
                    if challenge.token68.is_none() {
                        challenge.parameters.push((name, value));
                    }
                }
                _ => reader.skip_element(),
            }
        } else if reader.is_at_separator() {
            let token68 = reader.token68();
            challenges.push(ParsedChallenge { scheme: name, token68, parameters: Vec::new() });
        } else {
            reader.skip_element();
        }
    }
}

/// The unread rest of a field.
#[derive(Clone, Copy)]
struct FieldReader<'a>(&'a str);

impl<'a> FieldReader<'a> {
    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !is_taken(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn is_at_separator(self) -> bool {
        self.0.chars().next().is_none_or(|c| c == ',' || is_whitespace(c))
    }

    /// Returns the reader after an equals sign, which may have white space around it; `None` if
    /// there is no equals sign.
    fn after_equals_sign(mut self) -> Option<Self> {
        self.take_while(is_whitespace);
        let mut value = Self(self.0.strip_prefix('=')?);
        value.take_while(is_whitespace);
        Some(value)
    }

    /// Reads a quoted string, or the text up to the next separator: URLs and base64 are also sent
    /// without quotes.
    fn value(&mut self) -> Option<String> {
        if let Some(quoted) = self.0.strip_prefix('"') {
            self.0 = quoted;
            return self.quoted();
        }
        let bare = self.take_while(|c| c != ',' && !is_whitespace(c));
        Some(bare.to_owned()).filter(|bare| !bare.is_empty())
    }

    /// Reads the rest of a quoted string; `None` if it does not end (RFC 9110 §5.6.4).
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => {
                    self.0 = characters.as_str();
                    return Some(value);
                }
                '\\' => value.extend(characters.next()),
                other => value.push(other),
            }
        }
        self.0 = "";
        None
    }

    /// Reads a token68 after a scheme, if it extends to the next comma.
    fn token68(&mut self) -> Option<&'a str> {
        let mut ahead = *self;
        ahead.take_while(is_whitespace);
        let start = ahead.0;
        let characters = ahead.take_while(is_token68).len();
        let padding = ahead.take_while(|c| c == '=').len();
        ahead.take_while(is_whitespace);
        if characters == 0 || !(ahead.0.is_empty() || ahead.0.starts_with(',')) {
            return None;
        }
        *self = ahead;
        Some(&start[..characters + padding])
    }

    /// Skips to the next comma outside of a quoted string.
    fn skip_element(&mut self) {
        loop {
            self.take_while(|c| c != ',' && c != '"');
            let Some(quoted) = self.0.strip_prefix('"') else { return };
            self.0 = quoted;
            self.quoted();
        }
    }
}

fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// A `tchar` (RFC 9110 §5.6.2).
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A character of a `token68`, apart from its padding (RFC 9110 §11.2).
fn is_token68(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge<'a>(
        scheme: &'a str,
        token68: Option<&'a str>,
        parameters: &[(&'a str, &str)],
    ) -> ParsedChallenge<'a> {
        let parameters = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        ParsedChallenge { scheme, token68, parameters }
    }

    #[test]
    fn fields_are_parsed() {
        let newauth = [("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")];
        let rows: &[(&str, &[ParsedChallenge<'_>])] = &[
            ("", &[]),
            (" \t, ,", &[]),
            ("Bearer", &[challenge("Bearer", None, &[])]),
            ("Bearer ", &[challenge("Bearer", None, &[])]),
            ("Negotiate, NTLM", &[challenge("Negotiate", None, &[]), challenge("NTLM", None, &[])]),
            // RFC 9110 §11.6.1.
            (
                r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#,
                &[challenge("Basic", None, &[("realm", "simple")]), challenge("Newauth", None, &newauth)],
            ),
            (
                r#"Newauth realm="apps",type=1 , title="Login to \"apps\"",Basic realm="simple""#,
                &[challenge("Newauth", None, &newauth), challenge("Basic", None, &[("realm", "simple")])],
            ),
            ("Negotiate TlRMTVNTUAA=", &[challenge("Negotiate", Some("TlRMTVNTUAA="), &[])]),
            ("Negotiate   a/b+c~== ,", &[challenge("Negotiate", Some("a/b+c~=="), &[])]),
            (
                "A one, B two==, C x=1",
                &[
                    challenge("A", Some("one"), &[]),
                    challenge("B", Some("two=="), &[]),
                    challenge("C", None, &[("x", "1")]),
                ],
            ),
            ("Bearer realm=", &[challenge("Bearer", Some("realm="), &[])]),
            ("Bearer\trealm\t=\t\"x\"", &[challenge("Bearer", None, &[("realm", "x")])]),
            ("Bearer a=1,,b=2,", &[challenge("Bearer", None, &[("a", "1"), ("b", "2")])]),
            ("Bearer , a=1", &[challenge("Bearer", None, &[("a", "1")])]),
            (r#"Bearer a="1" b="2""#, &[challenge("Bearer", None, &[("a", "1"), ("b", "2")])]),
            (r#"Bearer a="", A="x""#, &[challenge("Bearer", None, &[("a", ""), ("A", "x")])]),
            (r#"Bearer a="=,\\ \x\"", b=c"#, &[challenge("Bearer", None, &[("a", "=,\\ x\""), ("b", "c")])]),
            // Azure Arc.
            (
                "Basic realm=C:\\ProgramData\\Tokens\\x.key",
                &[challenge("Basic", None, &[("realm", "C:\\ProgramData\\Tokens\\x.key")])],
            ),
            // Malformed elements and their neighbours.
            ("=x, Bearer a=1", &[challenge("Bearer", None, &[("a", "1")])]),
            ("a=1, Bearer b=2", &[challenge("Bearer", None, &[("b", "2")])]),
            (r#""Bearer a=1, b", Basic c=3"#, &[challenge("Basic", None, &[("c", "3")])]),
            (
                "Bearer abc, x=1, Basic y=2",
                &[challenge("Bearer", Some("abc"), &[]), challenge("Basic", None, &[("y", "2")])],
            ),
            ("Bearer a=, b=2", &[challenge("Bearer", Some("a="), &[])]),
            ("Bearer z=0, a=, b=2", &[challenge("Bearer", None, &[("z", "0"), ("b", "2")])]),
            (r#"Bearer a="1"x, b=2"#, &[challenge("Bearer", None, &[("b", "2")])]),
            (r#"Bearer a="1", b="2"#, &[challenge("Bearer", None, &[("a", "1")])]),
            (r#"Bearer a="1", b="2\"#, &[challenge("Bearer", None, &[("a", "1")])]),
            (r#"Bearer (a "b, c=2", d=3"#, &[challenge("Bearer", None, &[("d", "3")])]),
            (r#"Bearer a(b)=1, c=3"#, &[challenge("Bearer", None, &[("c", "3")])]),
            (r#"Bearer é=1, c="é""#, &[challenge("Bearer", None, &[("c", "é")])]),
            (r#"Bearer claims="{"a":{"b":1}}", error="x""#, &[challenge("Bearer", None, &[("error", "x")])]),
        ];
        for (field, expected) in rows {
            assert_eq!(challenges(field), *expected, "{field}");
        }
    }

    /// A way to write a value: bare if possible, or quoted, without or with needless escapes.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Spelling {
        Bare,
        Quoted,
        Escaped,
    }

    #[derive(Clone, Debug)]
    struct ChallengeSample {
        scheme: String,
        token68: Option<String>,
        parameters: Vec<(String, String)>,
        text: String,
    }

    impl ChallengeSample {
        fn parsed(&self) -> ParsedChallenge<'_> {
            let parameters = self.parameters.iter().map(|(name, value)| (&**name, value.clone())).collect();
            ParsedChallenge { scheme: &self.scheme, token68: self.token68.as_deref(), parameters }
        }
    }

    fn spelled(value: &str, spelling: Spelling) -> String {
        if spelling == Spelling::Bare && !value.is_empty() && value.chars().all(is_token) {
            return value.to_owned();
        }
        let mut quoted = String::from('"');
        for character in value.chars() {
            if spelling == Spelling::Escaped || matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted + "\""
    }

    fn samples() -> impl Strategy<Value = ChallengeSample> {
        const TOKEN: &str = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,6}";
        const SEPARATOR: &str = "[ \t]{0,2},[ \t,]{0,2}";
        let spelling = prop_oneof![Just(Spelling::Bare), Just(Spelling::Quoted), Just(Spelling::Escaped)];
        let value = prop_oneof![TOKEN, "[ -~é]{0,8}"];
        let parameter = (TOKEN, "[ \t]?=[ \t]?", value, spelling, SEPARATOR);
        let token68 = (TOKEN, "[A-Za-z0-9._~+/-]{1,8}={0,2}").prop_map(|(scheme, token68)| ChallengeSample {
            text: format!("{scheme} {token68}"),
            scheme,
            token68: Some(token68),
            parameters: Vec::new(),
        });
        let parameters = (TOKEN, prop::collection::vec(parameter, 0..4)).prop_map(|(scheme, parameters)| {
            let mut text = scheme.clone();
            let mut expected = Vec::new();
            let mut separator = " ".to_owned();
            for (name, equals, value, spelling, next) in parameters {
                text += &format!("{separator}{name}{equals}{}", spelled(&value, spelling));
                expected.push((name, value));
                separator = next;
            }
            ChallengeSample { scheme, token68: None, parameters: expected, text }
        });
        prop_oneof![1 => token68, 3 => parameters]
    }

    proptest! {
        #[test]
        fn written_challenges_are_read_back(samples in prop::collection::vec((samples(), "[ \t]?,[, \t]{0,2}"), 0..4)) {
            let field: String = samples.iter().map(|(one, separator)| format!("{}{separator}", one.text)).collect();
            let expected: Vec<_> = samples.iter().map(|(one, _)| one.parsed()).collect();
            prop_assert_eq!(challenges(&field), expected, "{}", field);
        }

        #[test]
        fn malformed_element_hides_no_challenge(junk in r#"[^",]{0,12}"#, tail in "[a-z]{0,4}") {
            let field = format!(r#"{junk}, Bearer realm="x{tail}""#);
            let realm = format!("x{tail}");
            let expected = challenge("Bearer", None, &[("realm", &realm)]);
            prop_assert_eq!(challenges(&field).pop(), Some(expected));
        }

        #[test]
        fn arbitrary_text_does_not_panic(field in r#"[ -~\t"\\=,é]{0,60}"#) {
            let _challenges = challenges(&field);
        }
    }
}
