//! An emulator, a client that trusts it, and a watch over what is logged.

use std::cell::RefCell;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use symbolon::{Context, Env, HyperTransport, ManagedIdentity, SharedClock, SoftwareKeys, Thumbprint, Token};
use symbolon_emulator::{Emulator, EmulatorBuilder, Entry, Step};
use symbolon_transport::{Request, Response, Transport, TransportError};
use symbolon_types::ManualClock;

use crate::CapturedLogs;

/// A resource that the emulator's resource server stands for.
pub const RESOURCE: &str = "https://vault.example";

/// An emulator, a client that trusts it, and a watch over what is logged: when a world ends, no
/// token that was issued in it, no certificate request and no key may be in the logs.
pub struct World {
    /// The emulator.
    pub emulator: Emulator,
    /// The hands of the clock that everybody in this world reads.
    pub hands: ManualClock,
    clock: SharedClock,
    logs: CapturedLogs,
    secrets: RefCell<Vec<String>>,
}

impl World {
    /// A world with an emulator as it comes.
    pub async fn new() -> Self {
        Self::with(|emulator| emulator).await
    }

    /// A world with an emulator set up to taste. Its clock stands still until it is moved.
    pub async fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let hands = ManualClock::new();
        let clock = SharedClock::from(&hands);
        Self::on(hands, clock, setup).await
    }

    /// A world whose clock is the machine's, for what has to do with real waiting.
    pub async fn in_real_time(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        Self::on(ManualClock::new(), SharedClock::system(), setup).await
    }

    async fn on(
        hands: ManualClock,
        clock: SharedClock,
        setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let logs = CapturedLogs::begin();
        let builder = Emulator::builder().clock(clock.clone()).federated_application(crate::CLIENT_ID);
        let emulator = setup(builder).start().await.expect("an emulator");
        Self { emulator, hands, clock, logs, secrets: RefCell::default() }
    }

    /// The variables that point a client at the emulator.
    pub fn env(&self) -> Env {
        self.emulator.environment().into_iter().collect()
    }

    /// A transport that trusts the emulator and nothing else.
    pub fn transport(&self) -> HyperTransport {
        HyperTransport::builder()
            .context(self.context().with_env(Env::empty()))
            .platform_roots(false)
            .root_certificates_pem(self.emulator.ca_pem().as_bytes())
            .build()
            .expect("a transport")
    }

    /// The clock of this world.
    pub fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    /// The context of clients: the emulator's variables, the manual clock, retries that do not wait.
    pub fn context(&self) -> Context {
        Context::default().with_env(self.env()).with_clock(self.clock.clone()).with_retry_scale(0.0)
    }

    /// A managed identity in this world, with keys that are quick to make and retries that do not
    /// wait.
    pub fn builder(&self) -> symbolon::ManagedIdentityBuilder {
        ManagedIdentity::builder()
            .context(self.context())
            .transport(self.transport())
            .key_provider(SoftwareKeys::p256())
            .deadline(Duration::from_secs(60))
    }

    /// A managed identity in this world.
    pub fn identity(&self) -> ManagedIdentity {
        self.builder().build().expect("a managed identity")
    }

    /// A bound token for [`RESOURCE`].
    pub async fn bound(&self, identity: &ManagedIdentity) -> Token {
        self.keep(identity.token(RESOURCE).proof_of_possession().await.expect("a bound token"))
    }

    /// Watches out for this token in the logs.
    pub fn keep(&self, token: Token) -> Token {
        self.watch(token.secret().expose());
        token
    }

    /// Watches out for this text in the logs.
    pub fn watch(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Calls the resource with a token, as the library does it.
    pub async fn call(&self, identity: &ManagedIdentity, token: &Token) -> http::Response<Bytes> {
        identity.call(token, self.resource_request()).await.expect("an answer")
    }

    /// A request for the resource, without any token.
    pub fn resource_request(&self) -> http::Request<Bytes> {
        http::Request::get(self.emulator.resource_url()).body(Bytes::new()).expect("a request")
    }

    /// Sends a request over a connection of its own.
    pub async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.transport().send(request).await
    }

    /// How often a step was asked for so far.
    pub fn count(&self, step: Step) -> usize {
        self.emulator.journal().count(step)
    }

    /// How many certificates, tokens and metadata answers were asked for so far.
    pub fn counts(&self) -> Counts {
        Counts {
            metadata: self.count(Step::PlatformMetadata),
            issuances: self.count(Step::IssueCredential),
            tokens: self.count(Step::Token),
        }
    }

    /// The last token request.
    pub fn last_token_request(&self) -> Entry {
        self.emulator.journal().last(Step::Token).expect("a token request").clone()
    }

    /// The certificate that was issued last.
    pub fn last_certificate(&self) -> Thumbprint {
        self.emulator.issued().last().expect("a certificate").thumbprint()
    }

    /// Lets what runs in the background finish.
    pub async fn settle(&self, done: impl Fn() -> bool) {
        let clock = SharedClock::system();
        for _ in 0..500 {
            if done() {
                return;
            }
            clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen in five seconds:\n{}", self.emulator.journal());
    }
}

/// How often each leg was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// `getplatformmetadata`.
    pub metadata: usize,
    /// `issuecredential`.
    pub issuances: usize,
    /// The token endpoint.
    pub tokens: usize,
}

impl Counts {
    /// The three counts in the order of the exchange.
    #[must_use]
    pub fn of(metadata: usize, issuances: usize, tokens: usize) -> Self {
        Self { metadata, issuances, tokens }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let logs = self.logs.text();
        let requests = self.emulator.journal();
        let requests = requests.of(Step::IssueCredential).filter_map(Entry::csr).map(Base64::encode_string);
        let mut secrets = self.secrets.take();
        secrets.extend(requests);
        for secret in secrets {
            // A prefix long enough to be no accident, in case the rest was cut off.
            let telling = secret.get(..40).unwrap_or(&secret);
            assert!(!logs.contains(telling), "a secret was logged:\n{logs}");
        }
    }
}
