//! `symbolon call`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use symbolon::{Env, Error};

use crate::acquire;
use crate::args::GlobalOptions;
use crate::args::token::CallOptions;
use crate::failure;

pub(super) async fn run(options: &CallOptions, global: &GlobalOptions, env: &Env) -> Result<ExitCode, Error> {
    let request = request(options)?;
    let identity = acquire::identity(&options.acquire, global.ca_file.as_deref(), env)?;
    let token = acquire::token(&identity, &options.acquire, false).await?;
    let response = identity.call(&token, request).await?;
    print(&response, options.include)
        .map_err(|error| failure::local("the response could not be printed", error))?;
    if response.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(failure::refused_by_resource(response.status()))
}

fn request(options: &CallOptions) -> Result<Request<Bytes>, Error> {
    if options.url.scheme() != "https" {
        return Err(failure::request(
            "insecure_endpoint",
            "a token must not be sent without TLS; use an https URL",
        ));
    }
    let body = options.data.clone().map(Bytes::from);
    let method = match (&options.method, &body) {
        (Some(method), _) => method.clone(),
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    let mut request = Request::builder().method(method).uri(options.url.as_str());
    if let Some(headers) = request.headers_mut() {
        headers.extend(options.headers.iter().cloned().collect::<HeaderMap>());
    }
    let request = request.body(body.unwrap_or_default());
    request.map_err(|error| failure::request("invalid_usage", format!("the URL cannot be called: {error}")))
}

fn print(response: &Response<Bytes>, include: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if include {
        writeln!(stdout, "HTTP/1.1 {}", response.status())?;
        for (name, value) in response.headers() {
            write!(stdout, "{name}: ")?;
            stdout.write_all(value.as_bytes())?;
            writeln!(stdout)?;
        }
        writeln!(stdout)?;
    }
    stdout.write_all(response.body())?;
    // Programs get the body unchanged; on a terminal the prompt starts on a new line.
    if stdout.is_terminal() && !response.body().ends_with(b"\n") {
        writeln!(stdout)?;
    }
    stdout.flush()
}
