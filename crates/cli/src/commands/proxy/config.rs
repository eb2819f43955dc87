//! The file with routes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use symbolon::{Error, ManagedIdentityId};
use toml::Spanned;

use crate::args::values;
use crate::{failure, input_file};

/// The file with routes and users.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyFile {
    /// Users who may use the Unix socket, by id.
    #[serde(default)]
    pub(super) allow_uids: Vec<u32>,
    #[serde(default)]
    routes: Vec<Spanned<RouteTable>>,
}

/// A route in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    #[serde(default = "root")]
    path: String,
    to: String,
    resource: String,
    #[serde(default)]
    pop: bool,
    identity: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Seconds until the head of the response.
    timeout: Option<f64>,
}

/// A route, from the options or the file.
#[derive(Debug)]
pub(super) struct RouteSpec {
    pub(super) path: String,
    pub(super) to: String,
    pub(super) resource: String,
    pub(super) pop: bool,
    pub(super) identity: Option<ManagedIdentityId>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Option<Duration>,
}

fn root() -> String {
    "/".to_owned()
}

/// Reads the file: its users and routes.
pub(super) fn read(path: &Path) -> Result<(Vec<u32>, Vec<RouteSpec>), Error> {
    let unreadable = |error: io::Error| invalid(format!("cannot read --config {}: {error}", path.display()));
    let content = input_file::read(path).map_err(unreadable)?;
    let text = str::from_utf8(&content).map_err(|error| unreadable(io::Error::other(error)))?;
    let at = |offset: usize, message: &str| {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        invalid(format!("--config {}: line {line}, column {column}: {}", path.display(), lines.join("; ")))
    };
    let file: ProxyFile = toml::from_str(text)
        .map_err(|error| at(error.span().map_or(text.len(), |span| span.start), error.message()))?;
    let route = |table: Spanned<RouteTable>| {
        let start = table.span().start;
        table.into_inner().into_spec().map_err(|message| at(start, &message))
    };
    Ok((file.allow_uids, file.routes.into_iter().map(route).collect::<Result<_, _>>()?))
}

impl RouteTable {
    fn into_spec(self) -> Result<RouteSpec, String> {
        let identity = self.identity.as_deref().map(values::identity).transpose();
        let timeout = self.timeout.map(|seconds| values::seconds(&seconds.to_string())).transpose();
        let headers = self.headers.iter().map(|(name, value)| values::header(&format!("{name}: {value}")));
        let headers = headers.collect::<Result<_, _>>();
        Ok(RouteSpec {
            path: self.path,
            to: self.to,
            resource: values::resource(&self.resource).map_err(|error| format!("resource: {error}"))?,
            pop: self.pop,
            identity: identity.map_err(|error| format!("identity: {error}"))?,
            headers: headers.map_err(|error| format!("headers: {error}"))?,
            timeout: timeout.map_err(|error| format!("timeout: {error}"))?,
        })
    }
}

fn invalid(message: String) -> Error {
    failure::request("invalid_usage", message)
}
