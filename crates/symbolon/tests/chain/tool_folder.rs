//! Fixtures: a folder in `PATH` with scripts in place of the developer tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::types::ManualClock;
use symbolon::{AzureCli, AzureDeveloperCli, Context, CredentialChain, CredentialChainBuilder, Env};
use tempfile::TempDir;

pub(crate) const VAULT: &str = "https://vault.azure.net";
/// The time of the clock in Unix seconds. The scripts print an expiry one hour later.
pub(crate) const NOW: u64 = 1_700_000_000;
/// A token that no excerpt may show.
pub(crate) const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

/// A folder in `PATH`.
pub(crate) struct ToolFolder {
    folder: TempDir,
}

impl ToolFolder {
    pub(crate) fn none() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Creates a folder with this script as the Azure CLI.
    pub(crate) fn az(script: &str) -> Self {
        Self::none().with("az", script)
    }

    /// Creates a folder with this script as the Azure Developer CLI.
    pub(crate) fn azd(script: &str) -> Self {
        Self::none().with("azd", script)
    }

    /// Adds a tool that records its arguments and runs the script. `install` copies the file,
    /// because a child of another test could still hold a file open that this process wrote, and a
    /// file open for writing cannot be run.
    pub(crate) fn with(self, name: &str, script: &str) -> Self {
        let calls = self.path(&format!("{name}.calls"));
        let whole = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{script}\n", calls.display());
        let source = self.path(&format!("{name}.sh"));
        fs::write(&source, whole).unwrap();
        let installed =
            Command::new("install").args(["-m", "755"]).args([&source, &self.path(name)]).status();
        assert!(installed.unwrap().success());
        if !self.path("azureProfile.json").exists() {
            self.log_in("user");
        }
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the arguments of each call of a tool.
    pub(crate) fn calls(&self, name: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path(&format!("{name}.calls"))).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Logs a user in to the Azure CLI: writes the file with its account.
    pub(crate) fn log_in(&self, user: &str) {
        fs::write(self.path("azureProfile.json"), user).unwrap();
    }

    pub(crate) fn env(&self) -> Env {
        self.env_with(&[])
    }

    /// Returns variables with a `PATH` of this folder and the folders that the scripts need.
    pub(crate) fn env_with(&self, variables: &[(&str, &str)]) -> Env {
        let folder = self.folder.path().display();
        let path = format!("{folder}:/usr/bin:/bin");
        let ours = [("PATH", path), ("AZURE_CONFIG_DIR", folder.to_string())];
        ours.into_iter().chain(variables.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
    }

    /// The tools' environment, an hour before the scripts' tokens expire.
    pub(crate) fn context(&self) -> Context {
        Context::default().with_env(self.env()).with_clock(&clock())
    }

    /// Returns a builder without links, with a transport that has no responses.
    pub(crate) fn chain(&self) -> CredentialChainBuilder {
        CredentialChain::builder().context(self.context()).transport(ScriptedTransport::new([]))
    }

    pub(crate) fn azure_cli(&self) -> CredentialChain {
        self.chain().azure_cli(AzureCli::new()).build().unwrap()
    }

    pub(crate) fn azure_developer_cli(&self) -> CredentialChain {
        self.chain().azure_developer_cli(AzureDeveloperCli::new()).build().unwrap()
    }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW))
}

/// The output of the Azure CLI 2.91.0.
pub(crate) fn prints_az_token() -> String {
    format!(
        r#"echo '{{"accessToken": "{TOKEN}", "expiresOn": "2023-11-15 00:13:20.000000", "expires_on": {}, "subscription": "s", "tenant": "t", "tokenType": "Bearer"}}'"#,
        NOW + 3600
    )
}

pub(crate) fn prints_azd_token() -> String {
    format!(r#"echo '{{"token": "{TOKEN}", "expiresOn": "2023-11-14T23:13:20Z"}}'"#)
}

/// The output of the Azure CLI 2.91.0 without a login.
pub(crate) const AZ_LOGGED_OUT: &str = "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1";
/// The output that Azure Identity expects without a login.
pub(crate) const AZD_LOGGED_OUT: &str = r#"echo '{"type":"consoleMessage","data":{"message":"\nERROR: not logged in, run `azd auth login` to login\n"}}' >&2; exit 1"#;

/// Waits until the script has written its process id and that of its child.
pub(crate) async fn read_pids(file: &Path) -> String {
    for _ in 0..100_000 {
        match fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => tokio::task::yield_now().await,
        }
    }
    panic!("the script wrote nothing");
}

/// Waits until a process has ended or is a zombie.
pub(crate) async fn wait_for_exit(pid: &str) {
    for _ in 0..1_000_000 {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => tokio::task::yield_now().await,
            _ => return,
        }
    }
    panic!("process {pid} still runs");
}
