//! A process of its own that has a stolen token, and nothing else of the one it was stolen from.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use symbolon::parts::transport::{self, Route, Transport};
use symbolon::{Error, Token};
use symbolon_emulator::Emulator;

use super::stage::{self, Broken};
use crate::failure;
use crate::output::line;

/// The largest loot that is read: a token and a certificate are shorter.
const LIMIT: u64 = 64 << 10;

/// What a thief finds: the token, where it is good for, and whom the network trusts there.
#[derive(Deserialize, Serialize)]
struct Loot {
    url: String,
    ca: String,
    scheme: String,
    token: String,
}

/// What the resource answered.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Replayed {
    pub(super) status: u16,
    /// Why it refused.
    pub(super) reason: Option<String>,
}

impl Replayed {
    pub(super) fn of(response: &transport::Response) -> Self {
        let told: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
        Self { status: response.status().as_u16(), reason: told["reason"].as_str().map(str::to_owned) }
    }
}

/// Presents a token from another process. It is handed over on stdin: a command line is for everybody to read.
pub(super) async fn steal(emulator: &Emulator, token: &Token) -> Result<Replayed, Broken> {
    let loot = line(&Loot {
        url: emulator.resource_url().to_owned(),
        ca: emulator.ca_pem().to_owned(),
        scheme: token.token_type().to_owned(),
        token: token.secret().expose().to_owned(),
    });
    let replayed = tokio::task::spawn_blocking(move || send(&loot)).await;
    replayed.map_err(|error| Broken(error.to_string()))?.map_err(|error| Broken(error.to_string()))
}

fn send(loot: &str) -> std::io::Result<Replayed> {
    let mut thief = Command::new(std::env::current_exe()?)
        .arg("replay")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = thief.stdin.take() {
        stdin.write_all(loot.as_bytes())?;
    }
    let output = thief.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The thief: reads the loot and presents it.
pub(crate) async fn run() -> Result<ExitCode, Error> {
    let wrong = |what: &'static str| failure::request("invalid_usage", what);
    let mut loot = String::new();
    let read = std::io::stdin().take(LIMIT).read_to_string(&mut loot);
    read.map_err(|error| failure::local("there is nothing to be read on stdin", error))?;
    let Ok(loot) = serde_json::from_str::<Loot>(&loot) else {
        return Err(wrong("this is a part of `demo`, which writes a stolen token to its stdin"));
    };
    let url = loot.url.parse().map_err(|_| wrong("that is not a URL"))?;
    let mut request = transport::Request::new(Method::GET, url, Route::Public);
    let stolen = HeaderValue::try_from(format!("{} {}", loot.scheme, loot.token));
    let mut stolen = stolen.map_err(|_| wrong("that is not a token"))?;
    stolen.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, stolen);
    let answer = stage::transport(loot.ca.as_bytes())?.send(request).await;
    let answer = answer.map_err(|error| failure::local("the resource did not answer", error))?;
    anstream::println!("{}", line(&Replayed::of(&answer)));
    Ok(ExitCode::SUCCESS)
}
