//! The output of a developer tool.

use serde::Deserialize;
use serde_json::Value;
use symbolon_token::{AccessToken, Error, ErrorKind, Expiry, IssuedToken};
use symbolon_types::{ClockReading, CorrelationId, Secret, Secrets};

use super::process::ProcessOutput;
use super::tool_spec::ToolSpec;
use crate::source::expiry::lifetime;

/// The maximum number of AADSTS codes in an error.
const MAX_SERVER_CODES: usize = 8;

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
        return Err(failure(tool, &output.stderr));
    }
    let invalid = |problem: &str| {
        Error::new(ErrorKind::Response, "invalid_response", format!("`{program}` {problem}"))
            .with_advice(format!("check that the program in PATH is the {}, and update it", tool.link))
    };
    let printed: PrintedToken = serde_json::from_str(output.stdout.expose())
        .map_err(|_| invalid("printed something other than a token"))?;
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

/// Returns the error of a tool that ended with a failure. The exit status does not show if a user
/// is logged in; only the text does.
fn failure(tool: ToolSpec, stderr: &str) -> Error {
    let codes = server_codes(stderr);
    // A tool names the same command after the token service ended a session, which is a failure.
    if codes.is_empty() && stderr.contains(tool.log_in) {
        let error = format!("no user is logged in to the {}", tool.link);
        return Error::new(ErrorKind::Environment, tool.unavailable, error)
            .with_advice(format!("run `{}` to use it here", tool.log_in));
    }
    let advice = if codes.is_empty() {
        format!("see the excerpt of its output, and run `{}` by hand", tool.programs[0])
    } else {
        format!("run `{}`: the token service refused the session", tool.log_in)
    };
    let error = format!("`{}` printed no token and ended with an error", tool.programs[0]);
    Error::new(ErrorKind::Credential, tool.failed, error)
        .with_advice(advice)
        .with_server_codes(codes)
        .with_excerpt(stderr, &Secrets::none())
}

/// Returns the numbers that follow `AADSTS`.
fn server_codes(text: &str) -> Vec<u32> {
    let mut codes = Vec::new();
    for rest in text.split("AADSTS").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if let Ok(code) = rest[..end].parse()
            && !codes.contains(&code)
            && codes.len() < MAX_SERVER_CODES
        {
            codes.push(code);
        }
    }
    codes
}
