//! Compute unit of a certificate request (docs/protocol/imdsv2.md#compute-unit-attribute).

use std::fmt::{self, Write};

use serde::Deserialize;

/// Ids of the machine: `cuId` of the platform metadata.
#[derive(Deserialize)]
pub(crate) struct ComputeUnitId {
    #[serde(rename = "vmId")]
    vm_id: Option<String>,
    #[serde(rename = "vmssId")]
    vmss_id: Option<String>,
}

impl ComputeUnitId {
    /// Returns true if at least one id is not empty.
    pub(crate) fn is_named(&self) -> bool {
        [&self.vm_id, &self.vmss_id].into_iter().flatten().any(|id| !id.is_empty())
    }

    /// Returns the value of the attribute: compact JSON, `vmId` before `vmssId`, without absent
    /// members and with empty ones.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (name, value) in [("vmId", &self.vm_id), ("vmssId", &self.vmss_id)] {
            let Some(value) = value else { continue };
            if json.len() > 1 {
                json.push(',');
            }
            let escaped = Escaped(value);
            // Writing into a `String` cannot fail.
            let _written = write!(json, "\"{name}\":\"{escaped}\"");
        }
        json.push('}');
        json
    }
}

/// Content of a JSON string, escaped like the default of .NET's `System.Text.Json`: everything
/// except printable ASCII, and the characters that are special in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\u{8}' => f.write_str("\\b")?,
                '\t' => f.write_str("\\t")?,
                '\n' => f.write_str("\\n")?,
                '\u{c}' => f.write_str("\\f")?,
                '\r' => f.write_str("\\r")?,
                '\\' => f.write_str("\\\\")?,
                '"' | '\'' | '&' | '+' | '<' | '>' | '`' => write!(f, "\\u{:04X}", u32::from(character))?,
                ' '..='~' => f.write_char(character)?,
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04X}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl ComputeUnitId {
    pub(super) fn new(vm_id: Option<&str>, vmss_id: Option<&str>) -> Self {
        Self { vm_id: vm_id.map(Into::into), vmss_id: vmss_id.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out() {
        for (vm_id, vmss_id, json) in [
            (Some("a"), None, r#"{"vmId":"a"}"#),
            (Some("a"), Some("b"), r#"{"vmId":"a","vmssId":"b"}"#),
            (None, Some("b"), r#"{"vmssId":"b"}"#),
            (Some(""), Some("b"), r#"{"vmId":"","vmssId":"b"}"#),
        ] {
            assert_eq!(ComputeUnitId::new(vm_id, vmss_id).to_json(), json);
        }
    }

    #[test]
    fn characters_are_escaped_like_dotnet() {
        for (character, escaped) in [
            ("\"", r"\u0022"),
            ("\\", r"\\"),
            ("/", "/"),
            ("<>&'+`", r"\u003C\u003E\u0026\u0027\u002B\u0060"),
            ("é", r"\u00E9"),
            ("漢", r"\u6F22"),
            ("😀", r"\uD83D\uDE00"),
            ("\u{8}\t\n\u{c}\r", r"\b\t\n\f\r"),
            ("\u{0}\u{1f}\u{7f}", r"\u0000\u001F\u007F"),
            (" !#$%()*,-.:;=?@[]^_{|}~", " !#$%()*,-.:;=?@[]^_{|}~"),
        ] {
            assert_eq!(Escaped(character).to_string(), escaped);
        }
    }

    #[test]
    fn escaped_text_reads_back() {
        let text: String = ('\0'..='\u{2ff}').chain("😀漢".chars()).collect();
        let json = format!("\"{}\"", Escaped(&text));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn empty_ids_do_not_name_a_compute_unit() {
        for (vm_id, vmss_id, named) in [
            (None, None, false),
            (Some(""), None, false),
            (Some(""), Some("b"), true),
            (Some("a"), None, true),
        ] {
            assert_eq!(ComputeUnitId::new(vm_id, vmss_id).is_named(), named, "{vm_id:?} {vmss_id:?}");
        }
    }
}
