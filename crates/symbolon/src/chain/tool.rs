//! A tool that a developer is logged in to: asked for a token by running it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use symbolon_token::{
    CacheKey, Error, ErrorKind, Expiry, IssuedToken, Partition, Token, TokenCache, resource_name,
};
use symbolon_transport::timeout;
use symbolon_types::{Context, CorrelationId, Env, Secret, SharedClock};

use super::link::Miss;
use super::process::{self, Ended};
use super::{ChainLink, ChainRequest};
use crate::source::expiry::lifetime;

/// As the Azure SDK for .NET waits for a tool; the Azure CLI takes seconds to start.
const TIMEOUT: Duration = Duration::from_secs(13);
/// The most AADSTS numbers that are taken over from what a tool says.
const MOST_CODES: usize = 8;

/// How a tool is called, and what is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    pub(super) link: ChainLink,
    /// Its file, by any of these names.
    pub(super) programs: &'static [&'static str],
    pub(super) command: &'static [&'static str],
    /// The option that says what the token is for, and what stands behind a resource there.
    pub(super) audience: &'static str,
    pub(super) audience_suffix: &'static str,
    /// The command that logs in: a tool names it to whoever is not.
    pub(super) log_in: &'static str,
    /// The codes of its errors: it is not there, and it failed.
    pub(super) unavailable: &'static str,
    pub(super) failed: &'static str,
}

/// What a caller says about a tool.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    tool: Tool,
    /// Whose tokens, besides those of the account that the tool has selected: an option and its value.
    selection: Option<(&'static str, String)>,
    timeout: Duration,
}

impl Settings {
    pub(super) fn of(tool: Tool) -> Self {
        Self { tool, selection: None, timeout: TIMEOUT }
    }

    pub(super) fn selecting(mut self, option: &'static str, value: String) -> Self {
        self.selection = Some((option, value));
        self
    }

    pub(super) fn giving_up_after(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A value that goes on a command line. A first `-` would make it an option.
pub(super) fn checked(what: &str, value: &str, also: impl Fn(char) -> bool) -> Result<String, Error> {
    let is_usable = !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || also(c));
    if is_usable {
        return Ok(value.to_owned());
    }
    let error = format!("{what} cannot be put on the command line of a tool");
    Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
        .with_advice("use its id: letters, digits and hyphens"))
}

/// A tool, and where its tokens are kept.
#[derive(Debug)]
pub(super) struct DeveloperTool {
    settings: Settings,
    context: Context,
    cache: TokenCache,
    partition: Partition,
}

impl DeveloperTool {
    pub(super) fn new(settings: Settings, context: Context, cache: TokenCache) -> Self {
        let (option, value) =
            settings.selection.as_ref().map_or(("", ""), |(option, value)| (*option, value));
        // Where the tool keeps its logins: other users of this machine, and of its stores, have others.
        let homes = ["AZURE_CONFIG_DIR", "AZD_CONFIG_DIR", "HOME", "USERPROFILE"];
        let home = homes.map(|name| context.env().var(name).unwrap_or_default()).join("\0");
        let name = settings.tool.link.as_str();
        let value = value.to_ascii_lowercase();
        let partition = Partition::machine_bound(format!("tool\0{name}\0{option}\0{value}\0{home}"));
        Self { settings, context, cache, partition }
    }

    pub(super) fn name(&self) -> ChainLink {
        self.settings.tool.link
    }

    pub(super) async fn ask(&self, request: &ChainRequest<'_>) -> Result<Token, Miss> {
        let resource = resource_name(request.resource);
        let tool = self.settings.tool;
        let id = request.correlation_id.unwrap_or_else(CorrelationId::random);
        check(request, resource, tool).map_err(Miss::Failed)?;
        let key = CacheKey::bearer(&self.partition, resource);
        let fetch = || {
            let (settings, context) = (self.settings.clone(), self.context.clone());
            let resource = resource.to_owned();
            async move { fetch(&settings, context.env(), context.clock(), &resource, id).await }
        };
        let outcome = if request.force_refresh {
            self.cache.renew(&key, "", fetch).await
        } else {
            self.cache.obtain(&key, fetch).await
        };
        outcome.map_err(|error| match error.code() == tool.unavailable {
            true => Miss::Skipped(error),
            false => Miss::Failed(error),
        })
    }
}

fn check(request: &ChainRequest<'_>, resource: &str, tool: Tool) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if resource.is_empty() || resource.starts_with('-') || !resource.chars().all(is_plain) {
        let error = "the resource cannot be put on the command line of a tool; nothing was run";
        return Err(Error::new(ErrorKind::Request, "invalid_scope", error)
            .with_advice("name the resource as its URI, for example https://vault.azure.net"));
    }
    if request.claims.is_some() {
        let error = format!("{} passes no claims on; nothing was run", tool.link);
        return Err(Error::new(ErrorKind::Request, "claims_not_supported", error).with_advice(format!(
            "log in anew with `{}`, then force a refresh without claims",
            tool.log_in
        )));
    }
    Ok(())
}

async fn fetch(
    settings: &Settings,
    env: &Env,
    clock: &SharedClock,
    resource: &str,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let tool = settings.tool;
    let program = find(env, tool.programs).ok_or_else(|| {
        let error = format!("there is no `{}` in the absolute folders of PATH", tool.programs[0]);
        Error::new(ErrorKind::Environment, tool.unavailable, error)
            .with_advice(format!("install it and run `{}`, if it is meant to be used here", tool.log_in))
    })?;
    let began = clock.now();
    let running = process::run(command(settings, &program, env, resource));
    let Some(outcome) = timeout(clock, settings.timeout, running).await else {
        let error =
            format!("`{}` did not end within {:?}, and was killed", tool.programs[0], settings.timeout);
        return Err(Error::new(ErrorKind::Network, "timeout", error)
            .with_transient(true)
            .with_advice("run it by hand to see what it waits for, or allow more time"));
    };
    let ended = outcome.map_err(|error| {
        let told = format!("`{}` could not be run", program.display());
        failed(tool, told).with_advice("run it by hand to see why").with_source(error)
    })?;
    let now = clock.now();
    let took = now.duration_since(began).unwrap_or_default();
    Ok(read(tool, &ended, now, id)?.after(1, took))
}

/// The first file of that name in `PATH` that may be run. A relative folder is whatever the current one
/// makes of it, so it is passed over.
fn find(env: &Env, names: &[&str]) -> Option<PathBuf> {
    let path = env.var("PATH")?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).find(|file| may_be_run(file))
}

#[cfg(unix)]
fn may_be_run(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_be_run(file: &Path) -> bool {
    file.is_file()
}

fn command(settings: &Settings, program: &Path, env: &Env, resource: &str) -> Command {
    let Settings { tool, selection, .. } = settings;
    let mut command = Command::new(program);
    command.args(tool.command).arg(tool.audience);
    command.arg(format!("{}{}", resource.trim_end_matches('/'), tool.audience_suffix));
    if let Some((option, value)) = selection {
        command.arg(option).arg(value);
    }
    if let Some(variables) = env.given() {
        command.env_clear().envs(variables);
    }
    // Older versions say when a token ends in local time, without a zone: let that be UTC.
    command.env("TZ", "UTC0");
    command
}

/// What the tools print; of the Azure CLI, `expires_on` is newer than `expiresOn`.
#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "accessToken", alias = "token")]
    token: Option<String>,
    #[serde(default)]
    expires_on: Value,
    #[serde(default, rename = "expiresOn")]
    expires_on_date: Value,
}

fn read(tool: Tool, ended: &Ended, now: SystemTime, id: CorrelationId) -> Result<IssuedToken, Error> {
    let program = tool.programs[0];
    if ended.is_too_long {
        let error = format!("`{program}` printed more than a token can be, and was killed");
        return Err(Error::new(ErrorKind::Response, "response_too_large", error)
            .with_advice("check that it is the tool of that name"));
    }
    if !ended.is_success {
        return Err(refused(tool, &ended.errors));
    }
    let unusable = |what: &str| {
        Error::new(ErrorKind::Response, "invalid_response", format!("`{program}` {what}"))
            .with_advice("check that it is the tool of that name, and update it")
    };
    let printed: Printed = serde_json::from_str(ended.output.expose())
        .map_err(|_| unusable("printed something that is not a token"))?;
    let secret = printed.token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| unusable("printed no token"))?;
    let nothing = Value::Null;
    let ends = if printed.expires_on.is_null() { &printed.expires_on_date } else { &printed.expires_on };
    let lifetime = lifetime(ends, &nothing, now).filter(|lifetime| !lifetime.is_zero());
    let lifetime =
        lifetime.ok_or_else(|| unusable("did not say how long its token lives, or its life has ended"))?;
    Ok(IssuedToken::bearer(secret, Expiry::after(lifetime), id))
}

/// The exit status says no more than that it failed: whether somebody is logged in is in the text alone.
fn refused(tool: Tool, errors: &str) -> Error {
    let codes = server_codes(errors);
    // A session that the token service ended is told with the same advice, and is somebody's.
    if codes.is_empty() && errors.contains(tool.log_in) {
        let error = format!("nobody is logged in to the {}", tool.link);
        return Error::new(ErrorKind::Environment, tool.unavailable, error)
            .with_advice(format!("run `{}`, if it is meant to be used here", tool.log_in));
    }
    let advice = if codes.is_empty() {
        format!("see the excerpt of what it printed, and run `{}` by hand", tool.programs[0])
    } else {
        format!("run `{}`: the token service refused the session", tool.log_in)
    };
    failed(tool, format!("`{}` printed no token, and ended with an error", tool.programs[0]))
        .with_advice(advice)
        .with_server_codes(codes)
        .with_excerpt(errors)
}

fn failed(tool: Tool, error: String) -> Error {
    Error::new(ErrorKind::Credential, tool.failed, error)
}

/// The numbers behind `AADSTS`.
fn server_codes(text: &str) -> Vec<u32> {
    let mut codes = Vec::new();
    for behind in text.split("AADSTS").skip(1) {
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        if let Ok(code) = behind[..digits].parse()
            && !codes.contains(&code)
            && codes.len() < MOST_CODES
        {
            codes.push(code);
        }
    }
    codes
}
