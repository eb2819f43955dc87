//! Replays of a stolen token: from another process, and with another certificate.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use symbolon::parts::transport::{self, Route, Transport};
use symbolon::{ClientIdentity, Context, Env, Error, HyperTransport, Token};
use symbolon_emulator::Emulator;

use super::step::StepError;
use crate::failure;
use crate::output::line;
use crate::stdout::print_line;

/// Maximum size of the input of the replaying process.
const MAX_INPUT: u64 = 64 << 10;

/// A stolen token, with the URL and the root certificate of its resource.
#[derive(Deserialize, Serialize)]
struct StolenToken {
    url: String,
    ca: String,
    scheme: String,
    token: String,
}

/// The response of the resource.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ReplayResponse {
    pub(super) status: u16,
    /// The reason of a rejection.
    pub(super) reason: Option<String>,
}

impl StolenToken {
    fn new(emulator: &Emulator, token: &Token) -> Self {
        Self {
            url: emulator.resource_url().to_owned(),
            ca: emulator.ca_pem().to_owned(),
            scheme: token.token_type().to_owned(),
            token: token.secret().expose().to_owned(),
        }
    }

    /// Calls the resource with the token, and with a certificate if the thief has one.
    async fn send(&self, certificate: Option<ClientIdentity>) -> Result<ReplayResponse, Error> {
        let invalid = |what: &'static str| failure::request("invalid_usage", what);
        let url = self.url.parse().map_err(|_| invalid("the resource has an invalid URL"))?;
        let header = HeaderValue::try_from(format!("{} {}", self.scheme, self.token));
        let mut header = header.map_err(|_| invalid("the token is not a valid header value"))?;
        header.set_sensitive(true);
        let mut request = transport::Request::new(Method::GET, url, Route::Public).with_identity(certificate);
        request.headers_mut().insert(AUTHORIZATION, header);
        let response = trusting(self.ca.as_bytes())?.send(request).await;
        let response = response.map_err(|error| failure::local("the resource did not respond", error))?;
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
        Ok(ReplayResponse {
            status: response.status().as_u16(),
            reason: body["reason"].as_str().map(str::to_owned),
        })
    }
}

/// Replays a token over a connection with the thief's own certificate.
pub(super) async fn with_certificate(
    emulator: &Emulator,
    token: &Token,
    certificate: ClientIdentity,
) -> Result<ReplayResponse, Error> {
    StolenToken::new(emulator, token).send(Some(certificate)).await
}

/// Replays a token from another process without a certificate. The token is passed on stdin,
/// because other processes can read a command line.
pub(super) async fn in_other_process(
    emulator: &Emulator,
    token: &Token,
) -> Result<ReplayResponse, StepError> {
    let stolen = line(&StolenToken::new(emulator, token));
    let replayed = tokio::task::spawn_blocking(move || spawn_process(&stolen)).await;
    replayed.map_err(|error| StepError(error.to_string()))?.map_err(|error| StepError(error.to_string()))
}

fn spawn_process(stolen: &str) -> std::io::Result<ReplayResponse> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("replay")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(stolen.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs in the other process: reads the token from stdin and replays it.
pub(crate) async fn run() -> Result<ExitCode, Error> {
    let mut input = String::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut input);
    read.map_err(|error| failure::local("stdin cannot be read", error))?;
    let Ok(stolen) = serde_json::from_str::<StolenToken>(&input) else {
        let message = "replay is a part of `demo`, which writes a stolen token to its stdin";
        return Err(failure::request("invalid_usage", message));
    };
    print_line(line(&stolen.send(None).await?))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a transport that trusts one root certificate only.
pub(super) fn trusting(ca_pem: &[u8]) -> Result<HyperTransport, Error> {
    let context = Context::default().with_env(Env::empty());
    let builder = HyperTransport::builder().context(context).platform_roots(false);
    let built = builder.root_certificates_pem(ca_pem).build();
    built.map_err(|error| failure::local("the HTTP transport could not be set up", error))
}
