//! The grammar of challenges (RFC 9110 §11.3, §11.6.1), read so that one malformed element does
//! not take the others with it.

use super::Challenge;

/// The challenges of a field; what is malformed is skipped up to the next comma.
pub(super) fn challenges(field: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut input = FieldReader(field);
    loop {
        // Commas may be missing (MSAL.NET reads that, too) or repeated (RFC 9110 §5.6.1.2).
        input.take_while(|c| c == ',' || is_whitespace(c));
        if input.0.is_empty() {
            return challenges;
        }
        let name = input.take_while(is_token);
        if name.is_empty() {
            input.skip_element();
        } else if let Some(value) = input.after_equals_sign() {
            input = value;
            match (input.value(), challenges.last_mut()) {
                (Some(value), Some(challenge)) if input.is_at_separator() => {
                    challenge.add(name, value);
                }
                _ => input.skip_element(),
            }
        } else if input.is_at_separator() {
            let token68 = input.token68();
            challenges.push(Challenge {
                scheme: name.to_owned(),
                token68: token68.map(str::to_owned),
                parameters: Vec::new(),
            });
        } else {
            input.skip_element();
        }
    }
}

impl Challenge {
    /// A challenge has a token68 or parameters, not both.
    fn add(&mut self, name: &str, value: String) {
        if self.token68.is_none() {
            self.parameters.push((name.to_owned(), value));
        }
    }
}

/// What is still to be read.
#[derive(Clone, Copy)]
struct FieldReader<'a>(&'a str);

impl<'a> FieldReader<'a> {
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn is_at_separator(self) -> bool {
        self.0.chars().next().is_none_or(|c| c == ',' || is_whitespace(c))
    }

    /// The value that follows, if a parameter's name stands before: `BWS "=" BWS`.
    fn after_equals_sign(mut self) -> Option<Self> {
        self.take_while(is_whitespace);
        let mut value = Self(self.0.strip_prefix('=')?);
        value.take_while(is_whitespace);
        Some(value)
    }

    /// A quoted string, or whatever stands before the next separator: URLs and base64 come without
    /// their quotes, too.
    fn value(&mut self) -> Option<String> {
        if let Some(quoted) = self.0.strip_prefix('"') {
            self.0 = quoted;
            return self.quoted();
        }
        let bare = self.take_while(|c| c != ',' && !is_whitespace(c));
        Some(bare.to_owned()).filter(|bare| !bare.is_empty())
    }

    /// The rest of a quoted string; `None` if it does not end (RFC 9110 §5.6.4).
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

    /// The token68 behind a scheme, if that is what there is up to the next comma.
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

    /// Goes to the next comma that is not in a quoted string.
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

/// `tchar` (RFC 9110 §5.6.2).
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// RFC 9110 §11.2.
fn is_token68(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, token68: Option<&str>, parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: scheme.to_owned(),
            token68: token68.map(str::to_owned),
            parameters: parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    /// Challenges as a test can print them: a `Debug` of their own would hide what differs.
    fn shown(challenges: &[Challenge]) -> Vec<String> {
        let one = |it: &Challenge| format!("{} {:?} {:?}", it.scheme, it.token68, it.parameters);
        challenges.iter().map(one).collect()
    }

    #[test]
    fn fields_are_read_as_the_table_says() {
        let newauth = [("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")];
        let rows: &[(&str, &[Challenge])] = &[
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
            // Malformed, and what is around it.
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
            assert_eq!(shown(&challenges(field)), shown(expected), "{field}");
        }
    }

    /// How a value may be written: bare if it can be, or quoted, with needless escapes or without.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Spelling {
        Bare,
        Quoted,
        Escaped,
    }

    #[derive(Clone, Debug)]
    struct ChallengeSample {
        challenge: Challenge,
        text: String,
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

    fn printed() -> impl Strategy<Value = ChallengeSample> {
        const TOKEN: &str = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,6}";
        const SEPARATOR: &str = "[ \t]{0,2},[ \t,]{0,2}";
        let spelling = prop_oneof![Just(Spelling::Bare), Just(Spelling::Quoted), Just(Spelling::Escaped)];
        let value = prop_oneof![TOKEN, "[ -~é]{0,8}"];
        let parameter = (TOKEN, "[ \t]?=[ \t]?", value, spelling, SEPARATOR);
        let token68 = (TOKEN, "[A-Za-z0-9._~+/-]{1,8}={0,2}").prop_map(|(scheme, token68)| ChallengeSample {
            text: format!("{scheme} {token68}"),
            challenge: challenge(&scheme, Some(&token68), &[]),
        });
        let parameters = (TOKEN, prop::collection::vec(parameter, 0..4)).prop_map(|(scheme, parameters)| {
            let mut text = scheme.clone();
            let mut read = challenge(&scheme, None, &[]);
            let mut separator = " ".to_owned();
            for (name, equals, value, spelling, next) in parameters {
                text += &format!("{separator}{name}{equals}{}", spelled(&value, spelling));
                read.parameters.push((name, value));
                separator = next;
            }
            ChallengeSample { challenge: read, text }
        });
        prop_oneof![1 => token68, 3 => parameters]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(printed in prop::collection::vec((printed(), "[ \t]?,[, \t]{0,2}"), 0..4)) {
            let field: String = printed.iter().map(|(one, separator)| format!("{}{separator}", one.text)).collect();
            let expected: Vec<_> = printed.into_iter().map(|(one, _)| one.challenge).collect();
            prop_assert_eq!(shown(&challenges(&field)), shown(&expected), "{}", field);
        }

        #[test]
        fn a_malformed_element_leaves_the_challenge_behind_it(junk in r#"[^",]{0,12}"#, tail in "[a-z]{0,4}") {
            let field = format!(r#"{junk}, Bearer realm="x{tail}""#);
            let expected = challenge("Bearer", None, &[("realm", &format!("x{tail}"))]);
            prop_assert_eq!(challenges(&field).pop(), Some(expected));
        }

        #[test]
        fn no_text_makes_it_panic(field in r#"[ -~\t"\\=,é]{0,60}"#) {
            let _challenges = challenges(&field);
        }
    }
}
