//! Fixtures: an emulator with all sources, and a scripted transport for tests that depend on time.

use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::transport::{Response, TransportError};
use symbolon::parts::types::ManualClock;
use symbolon::{
    Context, Env, Error, HyperTransport, ManagedIdentity, ManagedIdentityBuilder, ManagedIdentityId,
    ManagedIdentityRequest, SharedClock, Token,
};
use symbolon_emulator::{Emulator, EmulatorBuilder, JournalEntry, Source, Step};
use tempfile::TempDir;

pub(crate) const RESOURCE: &str = "https://management.azure.com";
pub(crate) const VAULT: &str = "https://vault.azure.net";

/// An emulator with all sources. It shares a manual clock with its clients.
pub(crate) struct SourceTestEnv {
    pub(crate) emulator: Emulator,
    pub(crate) manual_clock: ManualClock,
    tokens: TempDir,
}

impl SourceTestEnv {
    pub(crate) async fn new() -> Self {
        Self::with(|emulator| emulator).await
    }

    pub(crate) async fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let manual_clock = ManualClock::new();
        let tokens = tempfile::tempdir().unwrap();
        let directory = tokens.path().canonicalize().unwrap();
        let builder = Emulator::builder().clock(SharedClock::from(&manual_clock)).arc_tokens(directory);
        Self { emulator: setup(builder).start().await.unwrap(), manual_clock, tokens }
    }

    pub(crate) fn now(&self) -> std::time::SystemTime {
        SharedClock::from(&self.manual_clock).now()
    }

    pub(crate) fn env(&self, source: Source) -> Env {
        self.emulator.environment_of(source).into_iter().collect()
    }

    /// The context of a host of this kind, with retries that do not wait.
    pub(crate) fn context(&self, source: Source) -> Context {
        Context::default().with_env(self.env(source)).with_clock(&self.manual_clock).with_retry_scale(0.0)
    }

    /// Returns a builder for an identity on this source, with retries that do not wait.
    pub(crate) fn builder(&self, source: Source) -> ManagedIdentityBuilder {
        let transport = HyperTransport::builder()
            .context(Context::default().with_env(Env::empty()).with_clock(&self.manual_clock))
            .platform_roots(false)
            .root_certificates_pem(self.emulator.ca_pem().as_bytes());
        ManagedIdentity::builder()
            .context(self.context(source))
            .transport(transport.build().unwrap())
            .azure_arc_tokens(self.tokens.path().canonicalize().unwrap())
    }

    pub(crate) fn on(&self, source: Source) -> ManagedIdentity {
        self.builder(source).build().unwrap()
    }

    pub(crate) fn as_id(&self, source: Source, id: ManagedIdentityId) -> ManagedIdentity {
        self.builder(source).identity(id).build().unwrap()
    }

    /// Counts the requests for tokens, without challenges.
    pub(crate) fn request_count(&self, source: Source) -> usize {
        let journal = self.emulator.journal();
        journal.of(step(source)).filter(|entry| entry.reason != Some("challenge")).count()
    }

    /// Returns the last request to this source.
    pub(crate) fn last(&self, source: Source) -> JournalEntry {
        self.emulator.journal().last(step(source)).expect("a request").clone()
    }
}

pub(crate) fn step(source: Source) -> Step {
    match source {
        Source::AppService => Step::AppService,
        Source::ServiceFabric => Step::ServiceFabric,
        Source::MachineLearning => Step::MachineLearning,
        Source::CloudShell => Step::CloudShell,
        Source::AzureArc => Step::AzureArc,
        _ => Step::ImdsToken,
    }
}

/// Returns the resource in the query or the form of a request.
pub(crate) fn resource(entry: &JournalEntry) -> Option<&str> {
    entry.query("resource").or_else(|| entry.form("resource"))
}

/// Returns the variables of this source, for a scripted transport.
pub(crate) fn variables(source: Source) -> Env {
    let variables: &[(&str, &str)] = match source {
        Source::AppService => {
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41564/msi/token"), ("IDENTITY_HEADER", "s3cr3t")]
        }
        Source::ServiceFabric => &[
            ("IDENTITY_ENDPOINT", "https://localhost:2377/metadata/identity/oauth2/token"),
            ("IDENTITY_HEADER", "s3cr3t"),
            ("IDENTITY_SERVER_THUMBPRINT", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ],
        Source::MachineLearning => &[
            ("MSI_ENDPOINT", "http://localhost:7071/msi/token"),
            ("MSI_SECRET", "s3cr3t"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "default-client"),
        ],
        Source::CloudShell => &[("MSI_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token")],
        Source::AzureArc => &[
            ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
            ("IMDS_ENDPOINT", "http://localhost:40342"),
        ],
        _ => &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")],
    };
    variables.iter().copied().collect()
}

/// The result of one request over a scripted transport.
pub(crate) struct ScriptedRun {
    pub(crate) result: Result<Token, Error>,
    /// The waits between attempts, in seconds.
    pub(crate) waits: Vec<f64>,
    pub(crate) transport: ScriptedTransport,
}

impl ScriptedRun {
    /// Requests a token on this source and advances the clock at each wait.
    pub(crate) fn new(source: Source, answers: Vec<Result<Response, TransportError>>) -> Self {
        Self::with_builder(source, answers, |builder| builder)
    }

    pub(crate) fn with_builder(
        source: Source,
        answers: Vec<Result<Response, TransportError>>,
        setup: impl FnOnce(ManagedIdentityBuilder) -> ManagedIdentityBuilder,
    ) -> Self {
        Self::run(variables(source), answers, setup)
    }

    /// Requests a token in another environment.
    pub(crate) fn in_env(env: Env, answers: Vec<Result<Response, TransportError>>) -> Self {
        Self::run(env, answers, |builder| builder)
    }

    fn run(
        env: Env,
        answers: Vec<Result<Response, TransportError>>,
        setup: impl FnOnce(ManagedIdentityBuilder) -> ManagedIdentityBuilder,
    ) -> Self {
        let manual_clock = ManualClock::at(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let transport = ScriptedTransport::new(answers);
        let builder = ManagedIdentity::builder()
            .context(Context::default().with_env(env).with_clock(&manual_clock))
            .transport(transport.clone());
        let identity = setup(builder).build().unwrap();
        let (result, waits) = drive(identity.token(RESOURCE), &manual_clock);
        Self { result, waits, transport }
    }

    pub(crate) fn sent(&self) -> usize {
        self.transport.requests().len()
    }
}

/// Polls a request to its end. Returns the result and the waits in seconds.
pub(crate) fn drive(
    request: ManagedIdentityRequest<'_>,
    manual_clock: &ManualClock,
) -> (Result<Token, Error>, Vec<f64>) {
    let mut future = request.into_future();
    let mut waits = Vec::new();
    loop {
        if let Some(result) = (&mut future).now_or_never() {
            return (result, waits);
        }
        waits.push(manual_clock.advance_to_next().expect("the future sleeps").as_secs_f64());
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
}

pub(crate) fn answer_with(status: u16, headers: &[(&'static str, &str)]) -> Result<Response, TransportError> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), "").with_headers(headers))
}

pub(crate) fn token() -> Result<Response, TransportError> {
    answer(200, r#"{"access_token":"t","expires_in":"3600","resource":"https://management.azure.com/"}"#)
}
