//! `symbolon inspect`.

mod claims;
mod jwt;

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use symbolon::{Error, SharedClock};

use self::jwt::Jwt;
use crate::failure;
use crate::moment::Moment;
use crate::output::{Format, line};

/// Entra's tokens have a few kilobytes; web servers take no header of this size.
const LIMIT: usize = 64 * 1024;

#[derive(Args)]
pub(crate) struct InspectOptions {
    /// The token, also with its scheme in front (`Bearer eyJ…`), or - for what comes on stdin,
    /// where no list of processes shows it
    // All that follows is taken, so that no message about a surplus argument shows a part of a token.
    #[arg(value_name = "TOKEN", default_value = "-", num_args = 0..)]
    token: Vec<String>,
}

/// Without the token.
impl std::fmt::Debug for InspectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectOptions").finish_non_exhaustive()
    }
}

pub(crate) async fn run(options: &InspectOptions, format: Format) -> Result<ExitCode, Error> {
    let text = match &options.token[..] {
        [word] if word == "-" => from_stdin().await?,
        words => words.join(" "),
    };
    if text.len() > LIMIT {
        return Err(wrong(format!("the token is longer than {} KiB", LIMIT / 1024)));
    }
    let jwt = jwt::parse(&text).map_err(wrong)?;
    let now = SharedClock::system().now();
    match format {
        Format::Json => anstream::println!("{}", json(&jwt, now)),
        _ => anstream::println!("{}", claims::text(&jwt, now)),
    }
    Ok(ExitCode::SUCCESS)
}

/// On a thread of its own, so that `--timeout` is kept while nothing comes.
async fn from_stdin() -> Result<String, Error> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        io::stdin().lock().take(LIMIT as u64 + 1).read_to_string(&mut text).map(|_| text)
    });
    let read = read.await.map_err(|error| failure::local("stdin cannot be read", error))?;
    // Of a text that is cut within a character, the cut is what is wrong with it.
    read.map_err(|_| wrong(format!("stdin is no text of at most {} KiB", LIMIT / 1024)))
}

fn wrong(message: impl Into<String>) -> Error {
    failure::request("invalid_token", message.into())
}

#[derive(Serialize)]
struct Shown<'a> {
    verified: bool,
    scheme: Option<&'a str>,
    header: &'a Map<String, Value>,
    payload: &'a Map<String, Value>,
    times: Map<String, Value>,
}

fn json(jwt: &Jwt, now: SystemTime) -> String {
    let times = claims::times(&jwt.payload).map(|(name, moment)| (name.to_owned(), time(moment, now)));
    line(&Shown {
        verified: false,
        scheme: jwt.scheme.as_deref(),
        header: &jwt.header,
        payload: &jwt.payload,
        times: times.collect(),
    })
}

fn time(moment: Moment, now: SystemTime) -> Value {
    serde_json::json!({ "unix": moment.unix(), "utc": moment.to_string(), "in_seconds": moment.seconds_from(now) })
}
