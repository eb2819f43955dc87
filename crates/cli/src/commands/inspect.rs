//! `symbolon inspect`.

mod claims;
mod jwt;

use std::io::{self, Read};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};
use symbolon::{Error, SharedClock};

use self::jwt::DecodedJwt;
use crate::args::tools::InspectOptions;
use crate::failure;
use crate::output::{OutputFormat, line};
use crate::stdout::print_line;
use crate::timestamp::Timestamp;

/// Maximum size of a token. Entra's tokens have a few kilobytes.
const LIMIT: usize = 64 * 1024;
/// Maximum size of the input: the JSON of a bound token contains its certificates as well.
const INPUT_LIMIT: usize = 256 * 1024;
/// The members with a token in the JSON of this command, of the Azure CLI, of azd, and of a token
/// service.
const TOKEN_MEMBERS: [&str; 4] = ["access_token", "accessToken", "token", "id_token"];
/// The members with its scheme.
const SCHEME_MEMBERS: [&str; 2] = ["token_type", "tokenType"];

pub(super) async fn run(options: &InspectOptions, format: OutputFormat) -> Result<ExitCode, Error> {
    let text = match &options.token[..] {
        [word] if word == "-" => from_stdin().await?,
        words => words.join(" "),
    };
    // Windows begins files with a byte order mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    let text = match text.starts_with(['{', '"']) {
        true => token_in_json(text)?,
        false => text.to_owned(),
    };
    if text.len() > LIMIT {
        return Err(invalid(format!("the token is longer than {} KiB", LIMIT / 1024)));
    }
    let jwt = jwt::parse(&text).map_err(invalid)?;
    let now = Timestamp::from(SharedClock::system().now());
    match format {
        OutputFormat::Json => print_line(json(&jwt, now))?,
        _ => print_line(claims::text(&jwt, now))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns scheme and token of the first JSON value: an object, as `token --output json` prints it,
/// or a string, as the Azure CLI prints the result of a query.
fn token_in_json(text: &str) -> Result<String, Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    // The error of the parser would show a part of the token.
    let object = match values.next().and_then(Result::ok) {
        Some(Value::String(token)) => return Ok(token),
        Some(Value::Object(object)) => object,
        _ => return Err(invalid("the JSON is malformed")),
    };
    let member = |names: &[&str]| names.iter().find_map(|name| object.get(*name)?.as_str());
    let token = member(&TOKEN_MEMBERS);
    let token = token
        .ok_or_else(|| invalid("the JSON has no member `access_token`, in which a token is expected"))?;
    Ok(member(&SCHEME_MEMBERS).map_or_else(|| token.to_owned(), |scheme| format!("{scheme} {token}")))
}

/// Reads stdin on a thread of its own, so that `--timeout` works while nothing arrives.
async fn from_stdin() -> Result<String, Error> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        io::stdin().lock().take(INPUT_LIMIT as u64 + 1).read_to_string(&mut text).map(|_| text)
    });
    let read = read.await.map_err(|error| failure::local("stdin cannot be read", error))?;
    // The limit may cut a character in half.
    read.map_err(|_| invalid(format!("stdin is not UTF-8 text of at most {} KiB", INPUT_LIMIT / 1024)))
}

fn invalid(message: impl Into<String>) -> Error {
    failure::request("invalid_token", message.into())
}

#[derive(Serialize)]
struct InspectJson<'a> {
    verified: bool,
    scheme: Option<&'a str>,
    header: &'a Map<String, Value>,
    payload: &'a Map<String, Value>,
    times: Map<String, Value>,
}

fn json(jwt: &DecodedJwt, now: Timestamp) -> String {
    let times = claims::times(&jwt.payload).map(|(name, time)| (name.to_owned(), time_json(time, now)));
    line(&InspectJson {
        verified: false,
        scheme: jwt.scheme.as_deref(),
        header: &jwt.header,
        payload: &jwt.payload,
        times: times.collect(),
    })
}

fn time_json(time: Timestamp, now: Timestamp) -> Value {
    serde_json::json!({ "unix": time.unix(), "utc": time.to_string(), "in_seconds": time.seconds_from(now) })
}
