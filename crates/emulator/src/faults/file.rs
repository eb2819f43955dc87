//! Faults and settings in text form: a TOML file, or the JSON of the admin API, with the same
//! names.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::error::Error;
use crate::faults::fault::Fault;
pub(crate) use crate::faults::fault_table::EXAMPLES;
use crate::faults::fault_table::FaultTable;
use crate::faults::host_table::HostTable;
use crate::settings::EmulatorSettings;

/// A file for an emulator that has not started.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    #[serde(default)]
    host: HostTable,
    #[serde(default)]
    fault: Vec<Spanned<FaultTable>>,
}

/// A file for a running emulator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultList {
    fault: Vec<Spanned<FaultTable>>,
}

/// Applies the settings of a file, and returns its faults.
pub(crate) fn apply_toml(text: &str, settings: &mut EmulatorSettings) -> Result<Vec<Fault>, Error> {
    let file: FaultFile = parse(text)?;
    let faults = faults(text, file.fault)?;
    file.host.apply(settings);
    Ok(faults)
}

/// Parses a file that contains only faults.
pub(crate) fn from_toml(text: &str) -> Result<Vec<Fault>, Error> {
    parse(text).and_then(|file: FaultList| faults(text, file.fault))
}

/// Parses one fault.
pub(crate) fn from_json(text: &[u8]) -> Result<Fault, Error> {
    let table: FaultTable = serde_json::from_slice(text).map_err(|error| {
        let message = error.to_string();
        // The error has fields for the position.
        let message = message.split(" at line ").next().unwrap_or_default();
        Error::Faults { line: error.line(), column: error.column(), message: one_line(message) }
    })?;
    table.into_fault().map_err(|message| Error::Faults { line: 1, column: 1, message })
}

/// Returns a fault of this kind in TOML.
pub(crate) fn example(kind: &str, members: &str) -> String {
    format!("[[fault]]\nkind = \"{kind}\"\n{members}").trim_end().to_owned()
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let at = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    toml::from_str(text).map_err(|error| error_at(text, at(&error), error.message()))
}

fn faults(text: &str, tables: Vec<Spanned<FaultTable>>) -> Result<Vec<Fault>, Error> {
    let fault = |table: Spanned<FaultTable>| {
        let start = table.span().start;
        table.into_inner().into_fault().map_err(|message| error_at(text, start, &message))
    };
    tables.into_iter().map(fault).collect()
}

/// Returns an error at an octet of the text. The column counts characters.
fn error_at(text: &str, offset: usize, message: &str) -> Error {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Error::Faults {
        line: before.matches('\n').count() + 1,
        column: before[start..].chars().count() + 1,
        message: one_line(message),
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml_error(text: &str) -> String {
        let result = apply_toml(text, &mut EmulatorSettings::default());
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn toml_error_has_its_position_on_one_line() {
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
            let error = toml_error(text);
            assert!(error.contains(expected) && !error.contains('\n'), "{text}\n{error}\n{expected}");
        }
    }

    #[test]
    fn json_has_the_names_and_errors_of_toml() {
        assert!(
            from_json(br#"{"kind":"status","step":"token","status":503,"headers":{"retry-after":"1"}}"#)
                .is_ok()
        );
        for (text, expected) in [
            (r#"{"kind":"reset"}"#, "line 1, column 1: a fault of the kind `reset` needs `step`"),
            ("{\"kind\":\"reset\",\n\"step\":\"tokn\"}", "line 2, column 14: there is no step `tokn`"),
            (r#"{"kind":"rset"}"#, "unknown variant `rset`"),
        ] {
            let error = from_json(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{error}\n{expected}");
        }
    }

    #[test]
    fn journal_uses_the_kinds_of_fault_files() {
        for (kind, members) in EXAMPLES {
            let text = example(kind, members);
            assert_eq!(toml_error(&text), "", "{text}");
            let name = from_toml(&text).unwrap()[0].name;
            // The journal lists these kinds as a status.
            let expected =
                if ["redirect", "identity-not-found", "gone"].contains(kind) { "status" } else { kind };
            assert_eq!(name, expected);
        }
    }
}
