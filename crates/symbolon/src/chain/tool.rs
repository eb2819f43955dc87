//! A developer tool as a link: runs the tool and caches its tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_token::{CacheKey, Error, ErrorKind, IssuedToken, Partition, Token, TokenCache, resource_name};
use symbolon_transport::timeout;
use symbolon_types::{Context, CorrelationId, Env};

use super::link::{ChainLink, LinkError, LinkRequest};
use super::process;
use super::tool_output::read_token;
use super::tool_spec::{ToolSettings, ToolSpec};
use crate::partition::{CurrentPartition, digest};

/// A tool with the cache of its tokens.
#[derive(Debug)]
pub(super) struct DeveloperTool {
    settings: ToolSettings,
    context: Context,
    cache: TokenCache,
    partition: CurrentPartition,
}

/// The variables that select the folder of a tool's logins, and the cloud.
const VARIABLES: [&str; 5] =
    ["AZURE_CONFIG_DIR", "AZD_CONFIG_DIR", "HOME", "USERPROFILE", "AZURE_CLOUD_NAME"];
/// The files that name the account in use: of the Azure CLI, and of the Azure Developer CLI.
const ACCOUNT_FILES: [&str; 4] = ["azureProfile.json", "config", "auth.json", "config.json"];

impl DeveloperTool {
    pub(super) fn new(settings: ToolSettings, context: Context, cache: TokenCache) -> Self {
        Self { settings, context, cache, partition: CurrentPartition::default() }
    }

    pub(super) fn name(&self) -> ChainLink {
        self.settings.tool.link
    }

    pub(super) async fn token(&self, request: &LinkRequest<'_>) -> Result<Token, LinkError> {
        let resource = resource_name(request.resource);
        let tool = self.settings.tool;
        let id = request.options.correlation_id().unwrap_or_else(CorrelationId::random);
        check(request, resource, tool).map_err(LinkError::Failed)?;
        if !request.options.force_refresh()
            && let Some(partition) = self.partition.get()
            && let Some(token) = self.cache.find(&CacheKey::bearer(&partition, resource))
        {
            return Ok(token);
        }
        let partition = partition(&self.settings, self.context.env());
        self.partition.set(&partition);
        let key = CacheKey::bearer(&partition, resource);
        let fetch = || {
            let (settings, context) = (self.settings.clone(), self.context.clone());
            let resource = resource.to_owned();
            async move { fetch(&settings, &context, &resource, id).await }
        };
        let result = if request.options.force_refresh() {
            self.cache.renew(&key, "", fetch).await
        } else {
            self.cache.obtain(&key, fetch).await
        };
        result.map_err(|error| {
            if error.code() == tool.unavailable {
                LinkError::Unavailable(error)
            } else {
                LinkError::Failed(error)
            }
        })
    }
}

/// Returns the partition of the account that the tool uses now. Users who share the cache or its
/// store have other folders, and a login as another user changes a file there.
fn partition(settings: &ToolSettings, env: &Env) -> Partition {
    let (option, value) = settings.selection.as_ref().map_or(("", ""), |(option, value)| (*option, value));
    let variable = |name| env.var(name).unwrap_or_default();
    let folders = [
        PathBuf::from(variable("AZURE_CONFIG_DIR")),
        PathBuf::from(variable("AZD_CONFIG_DIR")),
        Path::new(&variable("HOME")).join(".azure"),
        Path::new(&variable("HOME")).join(".azd"),
        Path::new(&variable("USERPROFILE")).join(".azure"),
        Path::new(&variable("USERPROFILE")).join(".azd"),
    ];
    let folders = folders.iter().filter(|folder| folder.is_absolute());
    let files = folders.flat_map(|folder| ACCOUNT_FILES.map(|name| folder.join(name)));
    let contents = files.map(|file| match file.is_file() {
        true => std::fs::read(file).unwrap_or_default(),
        false => Vec::new(),
    });
    let variables = VARIABLES.map(|name| variable(name).into_bytes());
    let digest = digest(variables.into_iter().chain(contents));
    let (name, value) = (settings.tool.link.as_str(), value.to_ascii_lowercase());
    Partition::machine_bound(format!("tool\0{name}\0{option}\0{value}\0{digest}"))
}

fn check(request: &LinkRequest<'_>, resource: &str, tool: ToolSpec) -> Result<(), Error> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if resource.is_empty() || resource.starts_with('-') || !resource.chars().all(is_allowed) {
        let error = "the resource has characters that are not allowed on the command line of a tool; \
                     nothing was run";
        return Err(Error::new(ErrorKind::Request, "invalid_scope", error)
            .with_advice("name the resource as its URI, for example https://vault.azure.net"));
    }
    if request.options.claims().is_some() {
        let error = format!("the {} does not take claims; nothing was run", tool.link);
        let advice = format!("run `{}` again, then force a refresh without claims", tool.log_in);
        return Err(Error::new(ErrorKind::Request, "claims_not_supported", error).with_advice(advice));
    }
    Ok(())
}

async fn fetch(
    settings: &ToolSettings,
    context: &Context,
    resource: &str,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let (tool, clock) = (settings.tool, context.clock());
    let program = find_program(context.env(), tool.programs).ok_or_else(|| {
        let error = format!("`{}` is not in the absolute folders of PATH", tool.programs[0]);
        Error::new(ErrorKind::Environment, tool.unavailable, error)
            .with_advice(format!("install it and run `{}` to use it here", tool.log_in))
    })?;
    let started = clock.now();
    let run = process::run(command(settings, &program, context.env(), resource));
    let Some(result) = timeout(clock, settings.timeout, run).await else {
        let error =
            format!("`{}` did not end within {:?}, and was killed", tool.programs[0], settings.timeout);
        return Err(Error::new(ErrorKind::Network, "timeout", error)
            .with_transient(true)
            .with_advice("run it by hand to see what it waits for, or allow more time"));
    };
    let output = result.map_err(|error| {
        let summary = format!("`{}` could not be run", program.display());
        Error::new(ErrorKind::Credential, tool.failed, summary)
            .with_advice("run it by hand to see why")
            .with_source(error)
    })?;
    let now = clock.now();
    let elapsed = now.duration_since(started).unwrap_or_default();
    Ok(read_token(tool, &output, now, id)?.after(1, elapsed))
}

/// Returns the first executable file in `PATH` with one of the names. Relative folders are skipped,
/// because they depend on the current directory.
fn find_program(env: &Env, names: &[&str]) -> Option<PathBuf> {
    let path = env.var("PATH")?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

fn command(settings: &ToolSettings, program: &Path, env: &Env, resource: &str) -> Command {
    let ToolSettings { tool, selection, .. } = settings;
    let mut command = Command::new(program);
    command.args(tool.command).arg(tool.audience);
    command.arg(format!("{}{}", resource.trim_end_matches('/'), tool.audience_suffix));
    if let Some((option, value)) = selection {
        command.arg(option).arg(value);
    }
    if let Some(variables) = env.explicit() {
        command.env_clear().envs(variables);
    }
    // Older versions print the expiry in local time without a zone. This makes it UTC.
    command.env("TZ", "UTC0");
    command
}
