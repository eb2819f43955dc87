//! The output of a developer tool.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use symbolon_token::{AccessToken, Error, ErrorKind, Expiry, IssuedToken};
use symbolon_types::advice::{aadsts_numbers, entra_advice, requires_sign_in};
use symbolon_types::{ClockReading, CorrelationId, ErrorBody, Secret, Secrets};

use super::process::ProcessOutput;
use super::tool_spec::ToolSpec;
use crate::source::expiry::lifetime;

/// Maximum number of positions in the output at which a token is searched for. Each of them can be
/// the beginning of a value that ends where the output does.
const MAX_STARTS: usize = 64;

/// The token that a tool prints. Of the Azure CLI's members, `expires_on` is newer than
/// `expiresOn`.
#[derive(Deserialize)]
struct PrintedToken {
    #[serde(rename = "accessToken", alias = "token")]
    token: Option<String>,
    #[serde(default)]
    expires_on: Value,
    #[serde(default, rename = "expiresOn")]
    expires_on_date: Value,
}

/// Reads the token from the output of a tool that ended.
pub(super) fn read_token(
    tool: ToolSpec,
    output: &ProcessOutput,
    now: ClockReading,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let program = tool.programs[0];
    if output.is_too_long {
        let error = format!("`{program}` printed more than a token can be, and was killed");
        return Err(Error::new(ErrorKind::Response, "response_too_large", error)
            .with_advice(format!("check that the program in PATH is the {}", tool.link)));
    }
    if !output.is_success {
        return Err(failure(tool, output));
    }
    let invalid = |problem: &str| {
        Error::new(ErrorKind::Response, "invalid_response", format!("`{program}` {problem}"))
            .with_advice(format!("check that the program in PATH is the {}, and update it", tool.link))
    };
    let printed = printed_token(output.stdout.expose());
    let printed = printed.ok_or_else(|| invalid("printed something other than a token"))?;
    let secret = printed.token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| invalid("printed no token"))?;
    let token = AccessToken::parse(secret).ok_or_else(|| {
        invalid("printed a token with characters that are not allowed in an Authorization header")
    })?;
    let expires_on =
        if printed.expires_on.is_null() { &printed.expires_on_date } else { &printed.expires_on };
    let lifetime = lifetime(expires_on, &Value::Null, now.wall).map_err(|error| {
        let (problem, advice) = error.describe(now, None);
        let error = invalid(&format!("printed a token {problem}"));
        match advice {
            Some(advice) => error.with_advice(advice),
            None => error,
        }
    })?;
    Ok(IssuedToken::bearer(token, Expiry::after(lifetime), id))
}

/// Returns the JSON object with a token. A warning can precede it, and a control sequence for a
/// terminal follow it.
fn printed_token(stdout: &str) -> Option<PrintedToken> {
    let mut last = None;
    for (start, _) in stdout.match_indices('{').take(MAX_STARTS) {
        match first_json::<PrintedToken>(&stdout[start..]) {
            Some((printed, _)) if printed.token.is_some() => return Some(printed),
            Some((printed, _)) => last = last.or(Some(printed)),
            None => {}
        }
    }
    last
}

/// Parses the JSON value at the beginning of a text. Returns it with its length.
fn first_json<T: DeserializeOwned>(text: &str) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// Returns the error of a tool that ended with a failure. The exit status does not show if a user
/// is logged in; only the text does.
fn failure(tool: ToolSpec, output: &ProcessOutput) -> Error {
    let message = match message(&output.stderr, true) {
        text if text.trim().is_empty() => message(output.stdout.expose(), false),
        text => text,
    };
    let codes = aadsts_numbers(&message);
    // A tool names the same command after the token service ended a session, which is a failure.
    if codes.is_empty() && tool.is_logged_out(&message) {
        let error = format!("no user is logged in to the {}", tool.link);
        return Error::new(ErrorKind::Environment, tool.unavailable, error)
            .with_advice(format!("run `{}` to use it here", tool.log_in));
    }
    let advice = match entra_advice(&codes) {
        Some(_) if requires_sign_in(&codes) => {
            format!("run `{}`: the token service refused the session", tool.log_in)
        }
        Some(advice) => advice.to_owned(),
        None => format!("see the excerpt of its output, and run `{}` by hand", tool.programs[0]),
    };
    let error = format!("`{}` printed no token and ended with an error", tool.programs[0]);
    Error::new(ErrorKind::Credential, tool.failed, error)
        .with_advice(advice)
        .with_server_codes(codes)
        .with_excerpt(&message, &Secrets::none())
}

/// Returns the messages in a tool's output, each on a line: those of JSON objects, and with
/// `has_text` all other lines as well. Output without such an object is returned as it is.
fn message(output: &str, has_text: bool) -> String {
    let output = without_control_sequences(output);
    let mut messages = Vec::new();
    let mut has_object = false;
    let mut rest = output.trim_start();
    while !rest.is_empty() {
        let object = rest.starts_with('{').then(|| first_json::<IgnoredAny>(rest)).flatten();
        let length = match object {
            Some((_, length)) => {
                has_object = true;
                let body = ErrorBody::parse(&rest.as_bytes()[..length]);
                messages.extend(body.filter(|body| !body.is_empty()).map(|body| body.to_string()));
                length
            }
            None => {
                let line = rest.lines().next().unwrap_or_default();
                messages.extend(has_text.then(|| line.trim().to_owned()));
                line.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    if has_object || !has_text { messages.join("\n") } else { output }
}

/// Removes the control sequences of a terminal, such as colours: `ESC [`, parameters, a final byte.
fn without_control_sequences(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let parameters = after.trim_start_matches(|c: char| matches!(c, ' '..='?'));
        let mut characters = parameters.chars();
        // The final byte.
        characters.next();
        rest = characters.as_str();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_found_in_other_output() {
        for (stdout, expected) in [
            (r#"{"accessToken": "t"}"#, Some("t")),
            ("{\n  \"accessToken\": \"t\"\n}\n\u{1b}[0m", Some("t")),
            ("\u{feff}{\"token\": \"t\"}", Some("t")),
            ("WARNING: update {now}\n{\"token\": \"t\"}\n", Some("t")),
            ("{\"type\":\"consoleMessage\"}\n{\"token\": \"t\"}", Some("t")),
            ("\u{1b}[33mWARNING\u{1b}[0m{\"token\": \"t\"}", Some("t")),
            (r#"{"expires_on": 1}"#, None),
            ("WARNING {", None),
            ("", None),
        ] {
            let printed = printed_token(stdout).and_then(|printed| printed.token);
            assert_eq!(printed.as_deref(), expected, "{stdout}");
        }
        assert!(printed_token(&"{\"a\":".repeat(40_000)).is_none());
    }

    #[test]
    fn message_is_read_from_text_and_json() {
        for (stderr, expected) in [
            ("ERROR: it broke\n", "ERROR: it broke\n"),
            ("\u{1b}[31mERROR: it broke\u{1b}[0m\n", "ERROR: it broke\n"),
            ("\u{1b}[38;5;196mred\u{1b}[m \u{1b}[", "red "),
            (
                r#"{"type":"consoleMessage","timestamp":"x","data":{"message":"\nERROR: not logged in\n"}}"#,
                "ERROR: not logged in",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"AADSTS50076: no"}"#,
                "invalid_grant; AADSTS50076: no",
            ),
            (
                "WARNING: old\n{\n \"error\": {\"code\": \"c\", \"message\": \"m\"}\n} more",
                "WARNING: old\nc; m\nmore",
            ),
            ("{\"data\": {}}\nfetching {token}", "fetching {token}"),
            ("{not JSON}", "{not JSON}"),
            ("", ""),
        ] {
            assert_eq!(message(stderr, true), expected, "{stderr}");
        }
        assert_eq!(message("a token: t\n{\"error\":\"it broke\"}", false), "it broke");
    }
}
