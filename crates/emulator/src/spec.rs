//! Faults and settings as text: a TOML file, or the JSON of the admin API. Both have the same names.

mod fault;
mod host;
mod value;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

pub(crate) use self::fault::EXAMPLES;
use crate::builder::EmulatorBuilder;
use crate::error::Error;
use crate::fault::Fault;

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    host: host::Host,
    #[serde(default)]
    fault: Vec<Spanned<fault::Spec>>,
}

/// A file for an emulator that runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    fault: Vec<Spanned<fault::Spec>>,
}

/// Sets up an emulator as a file says.
pub(crate) fn apply_toml(text: &str, builder: EmulatorBuilder) -> Result<EmulatorBuilder, Error> {
    let file: File = read(text)?;
    let faults = faults(text, file.fault)?;
    Ok(faults.into_iter().fold(file.host.apply(builder), EmulatorBuilder::fault))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let at = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    toml::from_str(text).map_err(|error| wrong(text, at(&error), error.message()))
}

fn faults(text: &str, specs: Vec<Spanned<fault::Spec>>) -> Result<Vec<Fault>, Error> {
    let read = |spec: Spanned<fault::Spec>| {
        let start = spec.span().start;
        spec.into_inner().fault().map_err(|message| wrong(text, start, &message))
    };
    specs.into_iter().map(read).collect()
}

fn wrong(text: &str, offset: usize, message: &str) -> Error {
    let (line, column) = position(text, offset);
    Error::Faults { line, column, message: one_line(message) }
}

/// Reads the faults of a file that has nothing else.
pub(crate) fn from_toml(text: &str) -> Result<Vec<Fault>, Error> {
    read(text).and_then(|file: Faults| faults(text, file.fault))
}

/// A fault of this kind as a file has it.
pub(crate) fn example(kind: &str, members: &str) -> String {
    format!("[[fault]]\nkind = \"{kind}\"\n{members}").trim_end().to_owned()
}

/// Reads one fault.
pub(crate) fn from_json(text: &[u8]) -> Result<Fault, Error> {
    let spec: fault::Spec = serde_json::from_slice(text).map_err(|error| {
        let message = error.to_string();
        // The position is told beside the message.
        let message = message.split(" at line ").next().unwrap_or_default();
        Error::Faults { line: error.line(), column: error.column(), message: one_line(message) }
    })?;
    spec.fault().map_err(|message| Error::Faults { line: 1, column: 1, message })
}

/// Line and column of an octet, from 1, in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        apply_toml(text, EmulatorBuilder::new()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_one_line_with_its_place() {
        for (text, expected) in [
            ("[host]\nv1_onyl = true\n", "line 2, column 1: unknown field `v1_onyl`"),
            ("[[fault]]\nkind = \"reset\"\n", "line 1, column 1: a fault of the kind `reset` needs `step`"),
            (
                "\n[[fault]]\nkind = \"rset\"\n",
                "line 3, column 8: unknown variant `rset`, expected one of `delay`",
            ),
            (
                "[[fault]]\nkind = \"reset\"\nstep = \"tokn\"\n",
                "line 3, column 8: there is no step `tokn`; the steps are metadata",
            ),
            (
                "[[fault]]\nkind = \"stall\"\nstep = \"token\"\n\n[[fault]]\nkind = \"reset\"\nstep = \"token\"\nstatus = 500\n",
                "line 5, column 1: a fault of the kind `reset` has no `status`",
            ),
            (
                "[[fault]]\nkind = \"status\"\nstep = \"token\"\nstatus = 42\n",
                "line 4, column 10: 42 is not an HTTP status",
            ),
            (
                "[[fault]]\nkind = \"delay\"\nstep = \"token\"\nafter = \"soon\"\n",
                "line 4, column 9: `soon` is not a duration",
            ),
            (
                "[[fault]]\nkind = \"wrong-cnf\"\nstep = \"issue\"\n",
                "line 1, column 1: a fault of the kind `wrong-cnf` happens at the step `token` only",
            ),
            (
                "[[fault]]\nkind = \"status\"\nstep = \"handshake\"\nstatus = 500\n",
                "line 1, column 1: a fault of the kind `status` cannot happen in a handshake",
            ),
            (
                "[[fault]]\nkind = \"reset\"\nstep = \"token\"\ntimes = 2\nlasting = 3\n",
                "line 1, column 1: `times` and `lasting` exclude each other",
            ),
            (
                "[[fault]]\nkind = \"reset\"\nstep = \"token\"\ntimes = \"often\"\n",
                "line 4, column 9: `often` is not a number of times",
            ),
            (
                "[[fault]]\nkind = \"status\"\nstep = \"token\"\nstatus = 429\nheaders = { \"retry after\" = \"1\" }\n",
                "line 5, column",
            ),
            (
                "[[fault]]\nkind = \"tls-alert\"\nalert = \"panic\"\n",
                "line 3, column 9: there is no alert `panic`",
            ),
            ("[[fault]\n", "line 1, column"),
            ("[host]\nclock_skew = \"-5x\"\n", "line 2, column 14: `-5x` is not a duration"),
        ] {
            let said = refusal(text);
            assert!(said.contains(expected) && !said.contains('\n'), "{text}\n{said}\n{expected}");
        }
    }

    #[test]
    fn json_has_the_same_names_and_the_same_refusals() {
        assert!(
            from_json(br#"{"kind":"status","step":"token","status":503,"headers":{"retry-after":"1"}}"#)
                .is_ok()
        );
        for (text, expected) in [
            (r#"{"kind":"reset"}"#, "line 1, column 1: a fault of the kind `reset` needs `step`"),
            ("{\"kind\":\"reset\",\n\"step\":\"tokn\"}", "line 2, column 14: there is no step `tokn`"),
            (r#"{"kind":"rset"}"#, "unknown variant `rset`"),
        ] {
            let said = from_json(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(expected), "{said}\n{expected}");
        }
    }

    #[test]
    fn every_kind_is_read_and_called_the_same_in_the_journal() {
        for (kind, members) in EXAMPLES {
            let text = example(kind, members);
            assert_eq!(refusal(&text), "", "{text}");
            let called = from_toml(&text).unwrap()[0].effect.name();
            // These are other words for a status.
            let expected =
                if ["redirect", "identity-not-found", "gone"].contains(kind) { "status" } else { kind };
            assert_eq!(called, expected);
        }
    }
}
