//! The file with routes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use symbolon::{Error, ManagedIdentityId};
use toml::Spanned;

use crate::args::application::ApplicationOptions;
use crate::args::values;
use crate::{failure, input_file};

/// The file with routes and users.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyFile {
    /// Users who may use the Unix socket, by id or name.
    #[serde(default)]
    allow_uids: Vec<Spanned<toml::Value>>,
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
    application: Option<ApplicationOptions>,
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
    pub(super) identity: RouteIdentity,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Option<Duration>,
    /// The place in the file, for errors.
    pub(super) place: Option<String>,
}

/// The identity of the tokens of a route.
#[derive(Debug)]
pub(super) enum RouteIdentity {
    /// `None`: the system-assigned identity, by default.
    Managed(Option<ManagedIdentityId>),
    Application(ApplicationOptions),
}

impl RouteIdentity {
    /// Returns the application if one of its options is set, otherwise the managed identity.
    pub(super) fn of_options(managed: Option<&ManagedIdentityId>, application: &ApplicationOptions) -> Self {
        match application.is_set() {
            true => Self::Application(application.clone()),
            false => Self::Managed(managed.cloned()),
        }
    }
}

fn root() -> String {
    "/".to_owned()
}

/// Reads the file: its users and routes.
pub(super) fn read(path: &Path) -> Result<(Vec<u32>, Vec<RouteSpec>), Error> {
    let unreadable = |error: io::Error| invalid(format!("cannot read --config {}: {error}", path.display()));
    let content = input_file::read(path).map_err(unreadable)?;
    let text = str::from_utf8(&content).map_err(|error| unreadable(io::Error::other(error)))?;
    let place = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        format!("--config {}: line {line}, column {column}", path.display())
    };
    let at = |offset: usize, message: &str| {
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        invalid(format!("{}: {}", place(offset), lines.join("; ")))
    };
    let file: ProxyFile = toml::from_str(text)
        .map_err(|error| at(error.span().map_or(text.len(), |span| span.start), error.message()))?;
    let route = |table: Spanned<RouteTable>| {
        let start = table.span().start;
        table.into_inner().into_spec(place(start)).map_err(|message| at(start, &message))
    };
    let user = |value: Spanned<toml::Value>| {
        let start = value.span().start;
        user(value.get_ref()).map_err(|message| at(start, &format!("allow_uids: {message}")))
    };
    let users = file.allow_uids.into_iter().map(user).collect::<Result<_, _>>()?;
    Ok((users, file.routes.into_iter().map(route).collect::<Result<_, _>>()?))
}

fn user(value: &toml::Value) -> Result<u32, String> {
    match value {
        toml::Value::Integer(id) => u32::try_from(*id).map_err(|_| format!("{id} is not the id of a user")),
        toml::Value::String(text) => values::user(text),
        _ => Err("use the name of a user, in quotes, or the id".to_owned()),
    }
}

impl RouteTable {
    fn into_spec(self, place: String) -> Result<RouteSpec, String> {
        let identity = match (self.identity, self.application) {
            (Some(_), Some(_)) => {
                return Err("a route has an identity or an application, not both".to_owned());
            }
            (_, Some(application)) => {
                application.validate().map_err(|error| format!("application: {error}"))?;
                RouteIdentity::Application(application)
            }
            (id, None) => {
                let id = id.as_deref().map(values::identity).transpose();
                RouteIdentity::Managed(id.map_err(|error| format!("identity: {error}"))?)
            }
        };
        let timeout = self.timeout.map(|seconds| values::seconds(&seconds.to_string())).transpose();
        let headers = self.headers.iter().map(|(name, value)| values::header(&format!("{name}: {value}")));
        let headers = headers.collect::<Result<_, _>>();
        Ok(RouteSpec {
            path: self.path,
            to: self.to,
            resource: values::resource(&self.resource).map_err(|error| format!("resource: {error}"))?,
            pop: self.pop,
            identity,
            headers: headers.map_err(|error| format!("headers: {error}"))?,
            timeout: timeout.map_err(|error| format!("timeout: {error}"))?,
            place: Some(place),
        })
    }
}

fn invalid(message: String) -> Error {
    failure::request("invalid_usage", message)
}
