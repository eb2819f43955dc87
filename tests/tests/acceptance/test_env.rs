//! The environment of a test: an emulator, clients that trust it, and captured logs.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity, SharedClock, SoftwareKeys, Thumbprint, Token};
use symbolon_emulator::{Emulator, EmulatorBuilder, JournalEntry, Step};
use symbolon_tests::RESOURCE;
use symbolon_transport::{Request, Response, Transport, TransportError};
use symbolon_types::{Event, ManualClock};

use symbolon_test_logs::CapturedLogs;

/// An emulator with clients that trust it. When it is dropped, the captured logs must contain no
/// certificate request and no secret that was given to [`watch`](Self::watch).
pub(crate) struct TestEnv {
    /// The emulator.
    pub(crate) emulator: Emulator,
    /// The clock of the emulator and of all clients, moved by hand.
    pub(crate) manual_clock: ManualClock,
    clock: SharedClock,
    logs: CapturedLogs,
    events: Arc<Mutex<Vec<Event>>>,
    secrets: RefCell<Vec<String>>,
}

impl TestEnv {
    /// Starts an emulator with its defaults.
    pub(crate) async fn new() -> Self {
        Self::with(|emulator| emulator).await
    }

    /// Starts a configured emulator. The clock stands still until the test advances it.
    pub(crate) async fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        Self::start(manual_clock, clock, setup).await
    }

    /// Starts a configured emulator with the clock of the machine, for tests that really wait.
    pub(crate) async fn with_system_clock(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        Self::start(ManualClock::new(), SharedClock::system(), setup).await
    }

    async fn start(
        manual_clock: ManualClock,
        clock: SharedClock,
        setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let logs = CapturedLogs::begin();
        let builder =
            Emulator::builder().clock(clock.clone()).federated_application(crate::clients::CLIENT_ID);
        let emulator = setup(builder).start().await.expect("an emulator");
        let (events, secrets) = Default::default();
        Self { emulator, manual_clock, clock, logs, events, secrets }
    }

    /// The environment variables that direct a client to the emulator.
    pub(crate) fn env(&self) -> Env {
        self.emulator.environment().into_iter().collect()
    }

    /// A transport that trusts the emulator and nothing else.
    pub(crate) fn transport(&self) -> HyperTransport {
        HyperTransport::builder()
            .context(self.context().with_env(Env::empty()))
            .platform_roots(false)
            .root_certificates_pem(self.emulator.ca_pem().as_bytes())
            .build()
            .expect("a transport")
    }

    /// The clock of the emulator and of all clients.
    pub(crate) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    /// The context of clients: the variables of the emulator, the clock, retries without delay, an
    /// observer.
    pub(crate) fn context(&self) -> Context {
        let events = Arc::clone(&self.events);
        Context::default()
            .with_env(self.env())
            .with_clock(self.clock.clone())
            .with_retry_scale(0.0)
            .with_observer(move |event: &Event| events.lock().expect("no panic").push(*event))
    }

    /// The events since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().expect("no panic"))
    }

    /// A managed identity at the emulator, with quick P-256 keys and retries without delay.
    pub(crate) fn builder(&self) -> symbolon::ManagedIdentityBuilder {
        ManagedIdentity::builder()
            .context(self.context())
            .transport(self.transport())
            .key_provider(SoftwareKeys::p256())
            .deadline(Duration::from_secs(60))
    }

    /// A managed identity at the emulator.
    pub(crate) fn identity(&self) -> ManagedIdentity {
        self.builder().build().expect("a managed identity")
    }

    /// A bound token for [`RESOURCE`].
    pub(crate) async fn bound_token(&self, identity: &ManagedIdentity) -> Token {
        self.keep(identity.token(RESOURCE).proof_of_possession().await.expect("a bound token"))
    }

    /// Watches for this token in the logs.
    pub(crate) fn keep(&self, token: Token) -> Token {
        self.watch(token.secret().expose());
        token
    }

    /// Watches for this text in the logs.
    pub(crate) fn watch(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Calls the resource with a token through the library.
    pub(crate) async fn call(&self, identity: &ManagedIdentity, token: &Token) -> http::Response<Bytes> {
        identity.call(token, self.resource_request()).await.expect("an answer")
    }

    /// A request for the resource, without any token.
    pub(crate) fn resource_request(&self) -> http::Request<Bytes> {
        http::Request::get(self.emulator.resource_url()).body(Bytes::new()).expect("a request")
    }

    /// Sends a request over a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.transport().send(request).await
    }

    /// The logs so far.
    pub(crate) fn logs(&self) -> String {
        self.logs.text()
    }

    /// The number of requests for a step so far.
    pub(crate) fn count(&self, step: Step) -> usize {
        self.emulator.journal().count(step)
    }

    /// The numbers of metadata, issuance and token requests so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            metadata: self.count(Step::PlatformMetadata),
            issuances: self.count(Step::IssueCredential),
            tokens: self.count(Step::Token),
        }
    }

    /// The last token request.
    pub(crate) fn last_token_request(&self) -> JournalEntry {
        self.emulator.journal().last(Step::Token).expect("a token request").clone()
    }

    /// The certificate that was issued last.
    pub(crate) fn last_certificate(&self) -> Thumbprint {
        self.emulator.issued().last().expect("a certificate").thumbprint
    }

    /// Waits up to five seconds for background work to make the condition true.
    pub(crate) async fn wait_until(&self, done: impl Fn() -> bool) {
        self.wait_until_with(async || done()).await;
    }

    /// Like [`wait_until`](Self::wait_until), with a condition that takes requests to evaluate.
    pub(crate) async fn wait_until_with(&self, done: impl AsyncFn() -> bool) {
        let clock = SharedClock::system();
        for _ in 0..500 {
            if done().await {
                return;
            }
            clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen in five seconds:\n{}", self.emulator.journal());
    }
}

/// Numbers of requests to the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `getplatformmetadata`.
    pub(crate) metadata: usize,
    /// `issuecredential`.
    pub(crate) issuances: usize,
    /// The token endpoint.
    pub(crate) tokens: usize,
}

impl Counts {
    /// The three counts in the order of the exchange.
    pub(crate) fn of(metadata: usize, issuances: usize, tokens: usize) -> Self {
        Self { metadata, issuances, tokens }
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let logs = self.logs.text();
        let requests = self.emulator.journal();
        let requests = requests
            .of(Step::IssueCredential)
            .filter_map(|entry| entry.csr.as_deref())
            .map(Base64::encode_string);
        let mut secrets = self.secrets.take();
        secrets.extend(requests);
        for secret in secrets {
            // The log may have cut off the rest.
            let prefix = secret.get(..40).unwrap_or(&secret);
            assert!(!logs.contains(prefix), "a secret was logged:\n{logs}");
        }
    }
}
