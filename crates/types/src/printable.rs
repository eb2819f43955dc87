//! Text from others, in a form that is safe to show.

use std::fmt::{self, Write};

/// A value whose `Display` escapes the characters that a reader cannot see. Created by
/// [`printable()`].
#[derive(Clone, Copy)]
pub struct Printable<T>(T);

/// Escapes the characters of a value that a terminal interprets or a reader cannot see: control
/// characters, line and paragraph separators, characters that change the direction of text, and all
/// others that are invisible (Unicode: `Cc`, `Cf`, `Zl`, `Zp` and `Default_Ignorable_Code_Point`).
///
/// Everything that another party wrote passes through this function before a person sees it. The
/// result is always a single line.
///
/// ```
/// use symbolon_types::printable;
///
/// assert_eq!(printable("caf\u{e9}\u{1b}[2J\n").to_string(), r"café\u{1b}[2J\u{a}");
/// ```
#[must_use]
pub fn printable<T: fmt::Display>(value: T) -> Printable<T> {
    Printable(value)
}

/// Escapes the same characters in a JSON text, as JSON does (RFC 8259 §7). The value that a parser
/// reads is unchanged.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        // Valid JSON has these as white space between values only.
        if is_shown(character) || matches!(character, '\t' | '\n' | '\r') {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing into a `String` cannot fail.
            let _written = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// Returns whether a reader sees the character, and a terminal prints it.
pub(crate) fn is_shown(character: char) -> bool {
    !matches!(character,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{600}'..='\u{605}'
        | '\u{61c}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'..='\u{891}'
        | '\u{8e2}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}'
        | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

/// The same as `Display`, without quotes.
impl<T: fmt::Display> fmt::Debug for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut shown = 0;
        for (at, character) in text.char_indices().filter(|(_, character)| !is_shown(*character)) {
            self.0.write_str(&text[shown..at])?;
            write!(self.0, "{}", character.escape_unicode())?;
            shown = at + character.len_utf8();
        }
        self.0.write_str(&text[shown..])
    }
}

#[cfg(test)]
mod tests {
    use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
    use icu_properties::{CodePointMapData, CodePointSetData};

    use super::*;

    #[test]
    fn invisible_characters_are_those_of_unicode() {
        let categories = CodePointMapData::<GeneralCategory>::new();
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        for character in '\0'..=char::MAX {
            use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
            let is_invisible =
                matches!(categories.get(character), Control | Format | LineSeparator | ParagraphSeparator)
                    || ignorable.contains(character);
            assert_eq!(is_shown(character), !is_invisible, "U+{:04X}", u32::from(character));
        }
    }

    #[test]
    fn only_invisible_characters_are_escaped() {
        for (text, expected) in [
            ("", ""),
            ("plain, with 'quotes' and \\", "plain, with 'quotes' and \\"),
            ("naïve 漢字 😀 שלום", "naïve 漢字 😀 שלום"),
            ("a\r\nb\tc", r"a\u{d}\u{a}b\u{9}c"),
            ("\u{1b}[31m\u{9b}0m\u{7f}", r"\u{1b}[31m\u{9b}0m\u{7f}"),
            ("\u{202e}txt\u{2066}", r"\u{202e}txt\u{2066}"),
            ("\u{e0041}", r"\u{e0041}"),
        ] {
            assert_eq!(printable(text).to_string(), expected);
            assert_eq!(printable(printable(text)).to_string(), expected, "escaping twice changes nothing");
        }
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let json = "{\"a\":\n\t\"\\u001b \u{7f}\u{9b}\u{202e}\u{feff}\u{e0041}é\"}\r\n";
        let expected = "{\"a\":\n\t\"\\u001b \\u007f\\u009b\\u202e\\ufeff\\udb40\\udc41é\"}\r\n";
        assert_eq!(printable_json(json), expected);
    }
}
