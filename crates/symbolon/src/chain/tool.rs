//! A developer tool as a link: runs the tool and caches its tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_token::{
    CacheKey, Error, ErrorKind, IssuedToken, Token, TokenCache, check_resource, resource_name,
};
use symbolon_transport::timeout;
use symbolon_types::{Context, CorrelationId, Env};

use super::link::{ChainLink, LinkError, LinkRequest};
use super::process;
use super::tool_account::{CurrentAccount, ToolAccount};
use super::tool_output::read_token;
use super::tool_spec::{ToolSettings, ToolSpec};

/// A tool with the cache of its tokens.
#[derive(Debug)]
pub(super) struct DeveloperTool {
    settings: ToolSettings,
    context: Context,
    cache: TokenCache,
    account: ToolAccount,
}

impl DeveloperTool {
    pub(super) fn new(settings: ToolSettings, context: Context, cache: TokenCache) -> Self {
        Self { settings, context, cache, account: ToolAccount::default() }
    }

    pub(super) fn name(&self) -> ChainLink {
        self.settings.tool.link
    }

    pub(super) async fn token(&self, request: &LinkRequest<'_>) -> Result<Token, LinkError> {
        let started = self.cache.clock().steady_now();
        let result = self.acquire(request).await;
        self.cache.complete(started, false, result).map_err(|error| {
            if error.code() == self.settings.tool.unavailable {
                LinkError::Unavailable(error)
            } else {
                LinkError::Failed(error)
            }
        })
    }

    async fn acquire(&self, request: &LinkRequest<'_>) -> Result<Token, Error> {
        let resource = resource_name(request.resource);
        let tool = self.settings.tool;
        let id = request.options.correlation_id().unwrap_or_else(CorrelationId::random);
        check(request, resource, tool)?;
        let CurrentAccount { partition, is_known } = self.account.current(&self.settings, self.context.env());
        // Where no file shows a change of the account, only simultaneous requests share a token.
        let is_cached = is_known && !request.options.force_refresh();
        let key = CacheKey::bearer(&partition, resource);
        let fetch = || {
            let (settings, context) = (self.settings.clone(), self.context.clone());
            let resource = resource.to_owned();
            async move { fetch(&settings, &context, &resource, id).await }
        };
        match is_cached {
            true => self.cache.obtain(&key, fetch).await,
            false => self.cache.renew(&key, "", fetch).await,
        }
    }
}

fn check(request: &LinkRequest<'_>, resource: &str, tool: ToolSpec) -> Result<(), Error> {
    check_resource(resource)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if resource.starts_with('-') || !resource.chars().all(is_allowed) {
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
    let started = clock.steady_now();
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
    let now = clock.read();
    let elapsed = now.steady.since(started);
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
    command.arg(format!("{resource}{}", tool.audience_suffix));
    if let Some((option, value)) = selection {
        command.arg(option).arg(value);
    }
    if let Some(variables) = env.explicit() {
        command.env_clear().envs(variables);
    }
    command.envs(tool.quiet.iter().copied());
    // Older versions print the expiry in local time without a zone. This makes it UTC.
    command.env("TZ", "UTC0");
    command
}
