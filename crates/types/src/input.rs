//! Mistakes in text that was copied into a variable, an option or a file.

/// Returns the flaw of an id, if it has one, as the end of a sentence: quotes, white space at an
/// end, line breaks or other invisible characters, which no id of Azure has.
///
/// Such text is refused where it enters and not corrected: a service would only report that the id
/// is unknown.
///
/// ```
/// # use symbolon_types::input_flaw;
/// assert_eq!(input_flaw("6731de76-14a6-49ae-97bc-6eba6914391e"), None);
/// assert_eq!(input_flaw("\"6731de76-14a6-49ae-97bc-6eba6914391e\""), Some("is in quotes"));
/// assert_eq!(input_flaw("contoso.example\n"), Some("ends with a line break"));
/// ```
#[must_use]
pub fn input_flaw(text: &str) -> Option<&'static str> {
    let is_invisible =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let is_quote =
        |c: char| matches!(c, '"' | '\'' | '`' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}');
    if text.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if text.ends_with(['\r', '\n']) {
        Some("ends with a line break")
    } else if text.contains(is_invisible) {
        Some("has a control character or another invisible character")
    } else if text.starts_with(is_quote) || text.ends_with(is_quote) {
        Some("is in quotes")
    } else if text.trim() != text {
        Some("begins or ends with white space")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_ids_have_flaws() {
        for (text, flaw) in [
            ("contoso.example", None),
            ("/subscriptions/s/resourceGroups/g_1/providers/p/userAssignedIdentities/i-1", None),
            ("", None),
            ("é", None),
            ("\u{feff}id", Some("begins with a byte order mark")),
            ("id\r\n", Some("ends with a line break")),
            ("i\td", Some("has a control character or another invisible character")),
            ("id\u{200b}", Some("has a control character or another invisible character")),
            ("'id'", Some("is in quotes")),
            ("id\"", Some("is in quotes")),
            ("\u{201c}id\u{201d}", Some("is in quotes")),
            (" id", Some("begins or ends with white space")),
            ("id\u{a0}", Some("begins or ends with white space")),
            ("resource group", None),
        ] {
            assert_eq!(input_flaw(text), flaw, "{text:?}");
        }
    }
}
