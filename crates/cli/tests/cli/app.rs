//! An emulator with an application.

use std::path::PathBuf;

use crate::run::{RunResult, TestEnv};

pub(crate) const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
pub(crate) const SCOPE: &str = "https://vault.example/.default";
/// An address at which nobody listens.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

/// An emulator with an application.
pub(crate) struct App {
    pub(crate) env: TestEnv,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) proxy: Option<String>,
    pub(crate) variable: Option<(&'static str, &'static str)>,
}

impl App {
    pub(crate) fn new() -> Self {
        let env = TestEnv::with(|emulator| {
            emulator.application(CLIENT_ID, "p@ss&word").federated_application(CLIENT_ID)
        });
        Self { env, folder: tempfile::tempdir().unwrap(), proxy: None, variable: None }
    }

    pub(crate) fn authority(&self) -> String {
        let emulator = &self.env.emulator;
        format!("{}/{}", emulator.token_url(), emulator.tenant_id())
    }

    pub(crate) fn request_token(&self, more: &[&str]) -> RunResult {
        self.ask_at(&self.authority(), more)
    }

    pub(crate) fn ask_at(&self, authority: &str, more: &[&str]) -> RunResult {
        self.ask(authority, CLIENT_ID, SCOPE, more)
    }

    pub(crate) fn ask(&self, authority: &str, client_id: &str, scope: &str, more: &[&str]) -> RunResult {
        let token_request = [
            "app-token",
            "--authority",
            authority,
            "--client-id",
            client_id,
            "--scope",
            scope,
            "--output",
            "json",
        ];
        let mut command = self.env.symbolon();
        // No other server is reachable.
        command.env("APP_SECRET", "p@ss&word").env("HTTPS_PROXY", self.proxy.as_deref().unwrap_or(NOBODY));
        command.envs(self.variable);
        RunResult::of(command.args([&token_request, more].concat()).output().unwrap())
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A pipe from which this text can be read once.
    #[cfg(unix)]
    pub(crate) fn pipe(&self, name: &str, text: &str) -> PathBuf {
        let (pipe, text) = (self.folder.path().join(name), text.to_owned());
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let writer = pipe.clone();
        std::thread::spawn(move || std::fs::write(writer, text));
        pipe
    }

    /// Returns a client assertion that the emulator accepts.
    pub(crate) fn assertion(&self) -> String {
        let token_request = ["token", "--resource", "api://AzureADTokenExchange", "--output", "json"];
        self.env.run(&token_request).json()[0]["access_token"].as_str().unwrap().to_owned()
    }

    /// Writes a new certificate of the client and its key to a file.
    pub(crate) fn certificate(&self) -> PathBuf {
        let issued = self.env.emulator.issue_client_certificate(CLIENT_ID).unwrap();
        let pem = |label, der| pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap();
        let text = pem("CERTIFICATE", &issued.certificate.der) + &pem("PRIVATE KEY", &issued.pkcs8);
        self.file("client.pem", &text)
    }
}
