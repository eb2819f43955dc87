//! METRIC: events for an observer.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use symbolon::{Context, Env, Secret, SharedClock, Strength, TokenOrigin};
use symbolon_emulator::{Fault, Server, Step};
use symbolon_tests::RESOURCE;
use symbolon_token::authority::{Authority, Region, RegionChoice};
use symbolon_token::{
    Application, CacheStore, ClientCertificate, ClientSecret, Error, ErrorKind, LockOutcome, MemoryStore,
    Precondition, PutOutcome, StoredEntry, TokenCache, TokenClient,
};
use symbolon_transport::Response;
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::{
    CacheLevel, Event, FetchError, HandshakeEvent, MintEvent, RefreshReason, RefusalEvent, RefusingParty,
    RegionUse, ServedToken, StoreOperation, TokenFetchEvent, TokenRequestEvent,
};

use crate::data::{client, connections};
use crate::test_env::TestEnv;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The events of one kind since the last call.
macro_rules! events {
    ($test_env:expr, $kind:ident) => {
        $test_env
            .take_events()
            .into_iter()
            .filter_map(|event| if let Event::$kind(event) = event { Some(event) } else { None })
            .collect::<Vec<_>>()
    };
}

/// Tokens are valid for an hour.
async fn one_hour() -> TestEnv {
    TestEnv::with(|emulator| emulator.token_lifetime(HOUR)).await
}

/// The ends of requests since the last call.
fn requests(test_env: &TestEnv) -> Vec<TokenRequestEvent> {
    events!(test_env, TokenRequest).into_iter().map(rounded).collect()
}

/// Returns the event with whole seconds: dates are exact to the microsecond, the clock to the
/// nanosecond.
fn rounded(mut event: TokenRequestEvent) -> TokenRequestEvent {
    if let Ok(token) = &mut event.result {
        token.expires_in = Duration::from_secs(token.expires_in.as_millis().div_ceil(1000) as u64);
    }
    event
}

fn served(origin: TokenOrigin, level: Option<CacheLevel>, reason: RefreshReason) -> ServedToken {
    ServedToken::new(origin, level, reason, HOUR)
}

fn from_network(reason: RefreshReason) -> ServedToken {
    served(TokenOrigin::Network, None, reason)
}

fn from_memory() -> ServedToken {
    served(TokenOrigin::Cache, Some(CacheLevel::Memory), RefreshReason::NotApplicable)
}

#[tokio::test]
async fn metric_01_each_request_is_one_event() {
    let test_env = one_hour().await;
    let client = test_env.certificate_client(test_env.certificate());
    let event = |is_bound, token| TokenRequestEvent::new(is_bound, Ok(token), Duration::ZERO);
    for is_bound in [false, true] {
        let request = || {
            let request = client.token_for_resource(RESOURCE);
            if is_bound { request.proof_of_possession() } else { request }
        };
        request().await.unwrap();
        assert_eq!(requests(&test_env), [event(is_bound, from_network(RefreshReason::Missing))]);
        request().await.unwrap();
        assert_eq!(requests(&test_env), [event(is_bound, from_memory())]);
        request().force_refresh().await.unwrap();
        let forced = from_network(RefreshReason::ForcedOrClaims);
        assert_eq!(requests(&test_env), [event(is_bound, forced)]);
    }
    test_env.manual_clock.advance(HOUR);
    client.token_for_resource(RESOURCE).await.unwrap();
    assert_eq!(requests(&test_env), [event(false, from_network(RefreshReason::Expired))]);

    join_all((0..3).map(|_| client.token_for_resource("https://other.example").into_future())).await;
    let mut origins: Vec<_> = requests(&test_env)
        .into_iter()
        .map(|event| event.result.map(|token| token.origin.as_str()))
        .collect();
    origins.sort();
    assert_eq!(origins, [Ok("joined"), Ok("joined"), Ok("network")]);
}

#[tokio::test]
async fn metric_01_managed_identity_is_observed() {
    let test_env = one_hour().await;
    let identity = test_env.identity();
    for token in [from_network(RefreshReason::Missing), from_memory()] {
        test_env.keep(identity.token(RESOURCE).await.unwrap());
        let [request] = requests(&test_env)[..] else { panic!("one event") };
        let served = request.result.unwrap();
        assert_eq!(
            (request.is_bound, served.origin, served.cache_level, served.refresh_reason),
            (false, token.origin, token.cache_level, token.refresh_reason)
        );
        // The metadata service rounds the lifetime to seconds.
        assert!((3598..=3600).contains(&served.expires_in.as_secs()), "{served:?}");
    }
}

#[tokio::test]
async fn metric_01_token_of_a_store_has_its_level() {
    let test_env = one_hour().await;
    let (store, certificate) = (MemoryStore::new(test_env.clock()), test_env.certificate());
    for (token, operations) in [
        (
            from_network(RefreshReason::Missing),
            &[StoreOperation::Read, StoreOperation::Lock, StoreOperation::Write][..],
        ),
        (
            served(TokenOrigin::Cache, Some(CacheLevel::Store), RefreshReason::NotApplicable),
            &[StoreOperation::Read],
        ),
    ] {
        let cache = TokenCache::new(10, &Context::default().with_clock(test_env.clock()));
        let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
        // The observer of the client's context, because the cache has none.
        let process = test_env.client_builder(credential).cache(cache.with_store(store.clone())).build();
        process.token_for_resource(RESOURCE).await.unwrap();
        let all = test_env.take_events();
        let calls: Vec<_> = all
            .iter()
            .filter_map(|event| {
                if let Event::Store(call) = event { Some((call.operation, call.result)) } else { None }
            })
            .collect();
        let expected: Vec<_> = operations.iter().map(|&operation| (operation, Ok(()))).collect();
        assert_eq!(calls, expected);
        let requests = all.iter().filter_map(|event| match event {
            Event::TokenRequest(request) => Some(rounded(*request)),
            _ => None,
        });
        let request = TokenRequestEvent::new(false, Ok(token), Duration::ZERO);
        assert_eq!(requests.collect::<Vec<_>>(), [request]);
    }
}

#[tokio::test]
async fn metric_02_failure_has_the_type_of_its_error() {
    let test_env = one_hour().await;
    let client = test_env.certificate_client(test_env.certificate());
    for (code, error_type) in [("invalid_request", "invalid_request"), ("made_up_by_a_server", "_OTHER")] {
        test_env.emulator.inject(Fault::oauth_error(code, &[90002]));
        let error = client.token_for_resource(RESOURCE).await.unwrap_err();
        assert_eq!(error.code(), code);
        let all = test_env.take_events();
        let request = Event::TokenRequest(TokenRequestEvent::new(false, Err(error_type), Duration::ZERO));
        let result = Err(FetchError::from(&error));
        assert_eq!(FetchError::from(&error).error_type, error_type);
        let fetch = TokenFetchEvent::new(false, RefreshReason::Missing, result, Duration::ZERO);
        assert!(all.contains(&request) && all.contains(&Event::TokenFetch(fetch)), "{all:?}");
        assert_eq!(FetchError::from(&error).status, Some(400));
    }
    // Before anything is sent.
    let error = client.token_for_resource("").await.unwrap_err();
    let request = TokenRequestEvent::new(false, Err(error.error_type()), Duration::ZERO);
    assert_eq!(test_env.take_events(), [Event::TokenRequest(request)]);
    assert_eq!(error.error_type(), "invalid_scope");

    let identity = test_env.identity();
    test_env.emulator.inject(Fault::status(Step::ImdsToken, 403).always());
    identity.token(RESOURCE).await.unwrap_err();
    let expected = TokenRequestEvent::new(false, Err("managed_identity_request_failed"), Duration::ZERO);
    assert_eq!(requests(&test_env), [expected]);
}

#[tokio::test]
async fn metric_03_renewal_reports_its_outcome() {
    let test_env = TestEnv::with(|emulator| emulator.token_lifetime(DAY).refresh_in(HOUR)).await;
    let client = test_env.certificate_client(test_env.certificate());
    client.token_for_resource(RESOURCE).await.unwrap();
    for is_failing in [true, false] {
        test_env.take_events();
        test_env.manual_clock.advance(2 * HOUR);
        match is_failing {
            true => test_env.emulator.inject(Fault::oauth_error("invalid_request", &[]).always()),
            false => test_env.emulator.clear_faults(),
        }
        let tokens = test_env.counts().tokens;
        client.token_for_resource(RESOURCE).await.unwrap();
        test_env.wait_until(|| test_env.counts().tokens > tokens).await;
        let fetch = loop {
            let all = test_env.take_events();
            let fetch = all
                .iter()
                .find_map(|event| if let Event::TokenFetch(fetch) = event { Some(*fetch) } else { None });
            for event in all {
                if let Event::TokenRequest(request) = event {
                    let token = request.result.unwrap();
                    assert_eq!(
                        (token.origin, token.refresh_reason),
                        (TokenOrigin::Cache, RefreshReason::Due)
                    );
                }
            }
            match fetch {
                Some(fetch) => break fetch,
                None => SharedClock::system().sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!(fetch.refresh_reason, RefreshReason::Due);
        match fetch.result {
            Ok(token) => assert_eq!((is_failing, token.attempts, token.expires_in), (false, 1, DAY)),
            Err(error) => assert_eq!((is_failing, error.error_type), (true, "invalid_request")),
        }
    }
}

#[tokio::test]
async fn metric_04_mint_and_handshakes_are_observed() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::status(Step::IssueCredential, 403));
    identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    test_env.emulator.inject(Fault::status(Step::PlatformMetadata, 403));
    identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    test_env.bound_token(&identity).await;
    let all = test_env.take_events();
    let mints: Vec<_> = all
        .iter()
        .filter_map(|event| if let Event::Mint(mint) = event { Some(*mint) } else { None })
        .collect();
    let failed = MintEvent::new(false, Err("managed_identity_request_failed"), Duration::ZERO);
    assert_eq!(mints, [failed, failed, MintEvent::new(false, Ok(Strength::Software), Duration::ZERO)]);
    let handshakes: Vec<_> = all
        .iter()
        .filter_map(|event| if let Event::Handshake(one) = event { Some(*one) } else { None })
        .collect();
    let [HandshakeEvent { has_identity: true, result: Ok(session), .. }] = handshakes[..] else {
        panic!("{handshakes:?}")
    };
    assert_eq!((session.version, session.is_resumed), ("1.3", false));

    let unknown = symbolon::HyperTransport::builder().context(test_env.context().with_env(Env::empty()));
    let url = test_env.emulator.token_endpoint().parse().unwrap();
    let request = symbolon_transport::Request::new(http::Method::GET, url, symbolon_transport::Route::Public);
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let transport =
        unknown.platform_roots(false).root_certificates_pem(other.cert.pem().as_bytes()).build().unwrap();
    symbolon_transport::Transport::send(&transport, request).await.unwrap_err();
    let failed: Vec<_> =
        events!(test_env, Handshake).into_iter().map(|one| (one.has_identity, one.result)).collect();
    assert_eq!(failed, [(false, Err("tls"))]);
}

#[tokio::test]
async fn metric_04_refusals_are_observed() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[1_000_610]));
    test_env.bound_token(&identity).await;
    assert_eq!(events!(test_env, Refusal), [RefusalEvent::new(RefusingParty::TokenService, true)]);

    let connections = connections(&test_env, None).http2(false).max_idle_connections(0).build().unwrap();
    let client = client(&test_env, None).proof_of_possession().connections(connections).build().unwrap();
    client.get(test_env.emulator.resource_url()).send().await.unwrap();
    test_env.take_events();
    test_env.emulator.inject(Fault::refuse_certificate().at_server(Server::Resource));
    client.get(test_env.emulator.resource_url()).send().await.unwrap();
    assert_eq!(events!(test_env, Refusal), [RefusalEvent::new(RefusingParty::Resource, true)]);
}

/// A store that fails in a way of its own for each kind of call.
#[derive(Debug)]
struct FailingStore(SharedClock);

impl CacheStore for FailingStore {
    async fn get(&self, _key: &str) -> Result<Option<StoredEntry>, Error> {
        Err(Error::new(ErrorKind::Network, "redis_unavailable", "the store is down"))
    }

    async fn put(
        &self,
        _key: &str,
        _entry: &[u8],
        _ttl: Duration,
        _precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        std::future::pending().await
    }

    async fn remove(&self, _key: &str, _precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        Ok(PutOutcome::Done)
    }

    async fn lock(&self, _key: &str, _read: Option<&str>) -> Result<LockOutcome, Error> {
        self.0.sleep(Duration::from_millis(1)).await;
        Ok(LockOutcome::Unsupported)
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn metric_05_calls_to_a_store_have_outcomes() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let store = FailingStore(test_env.clock());
    let credential = ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap();
    let cache = TokenCache::new(10, &test_env.context()).with_store(store);
    let process = test_env.client_builder(credential).cache(cache).build();
    process.token_for_resource(RESOURCE).await.unwrap();
    let calls = events!(test_env, Store);
    let outcomes: Vec<_> = calls.iter().map(|call| (call.operation, call.result)).collect();
    assert_eq!(
        outcomes,
        [
            (StoreOperation::Read, Err("redis_unavailable")),
            (StoreOperation::Lock, Ok(())),
            (StoreOperation::Write, Err("timeout")),
        ]
    );
    assert!(calls[1].duration >= Duration::from_millis(1), "the wait for the lock");
}

#[tokio::test]
async fn metric_06_panic_of_an_observer_is_harmless() {
    let test_env = TestEnv::new().await;
    let context = test_env.context().with_observer(|_: &Event| panic!("a bug of the observer"));
    let identity = test_env.builder().context(context).build().unwrap();
    for _ in 0..2 {
        test_env.bound_token(&identity).await;
        test_env.keep(identity.token(RESOURCE).await.unwrap());
    }
}

#[tokio::test]
async fn metric_07_token_has_metadata() {
    let test_env = one_hour().await;
    let client = test_env.certificate_client(test_env.certificate());
    let body = r#"{"token_type":"Bearer","access_token":"t0k3n","expires_in":3600,"scope":"s","spa_accountid":"7-8"}"#;
    test_env.emulator.inject(Fault::status(Step::Token, 200).body(body));
    let token = client.token_for_resource(RESOURCE).await.unwrap();
    let endpoint = test_env.emulator.token_endpoint();
    let metadata = token.metadata();
    assert_eq!(metadata.token_endpoint.as_deref(), Some(&*endpoint));
    assert_eq!((metadata.cache_level, metadata.refresh_reason), (None, RefreshReason::Missing));
    assert_eq!(metadata.region, RegionUse::None);
    assert_eq!(token.response_parameter_names().collect::<Vec<_>>(), ["spa_accountid"]);
    assert_eq!(token.response_parameter("spa_accountid").map(Secret::expose), Some("7-8"));
    assert!(token.response_parameter("scope").is_none());

    let hit = client.token_for_resource(RESOURCE).await.unwrap().metadata();
    assert_eq!(hit.token_endpoint, metadata.token_endpoint);
    assert_eq!(
        (hit.cache_level, hit.refresh_reason, hit.total_duration),
        (Some(CacheLevel::Memory), RefreshReason::NotApplicable, Duration::ZERO)
    );

    let identity = test_env.identity();
    let metadata = test_env.bound_token(&identity).await.metadata();
    assert!(metadata.token_endpoint.unwrap().starts_with(test_env.emulator.token_url()));
    assert_eq!(metadata.refresh_reason, RefreshReason::Missing);
    let metadata = test_env.keep(identity.token(RESOURCE).await.unwrap()).metadata();
    assert_eq!((metadata.token_endpoint, metadata.refresh_reason), (None, RefreshReason::Missing));
}

#[tokio::test]
async fn metric_07_durations_are_measured() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let delay = Duration::from_millis(20);
    test_env.emulator.inject(Fault::delay(Step::Token, delay).always());
    let credential = ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap();
    let cache = TokenCache::new(10, &test_env.context()).with_store(SlowStore(test_env.clock()));
    let client = test_env.client_builder(credential).cache(cache).build();
    let metadata = client.token_for_resource(RESOURCE).await.unwrap().metadata();
    assert!(metadata.http_duration >= delay && metadata.cache_duration >= 2 * delay, "{metadata:?}");
    assert!(metadata.total_duration >= metadata.http_duration + metadata.cache_duration, "{metadata:?}");

    test_env.emulator.clear_faults();
    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[]).after(delay));
    let error = client.token_for_resource("https://other.example").await.unwrap_err();
    let metadata = error.metadata();
    assert!(metadata.http_duration >= delay && metadata.cache_duration >= delay, "{metadata:?}");
    assert!(metadata.total_duration >= metadata.http_duration + metadata.cache_duration, "{metadata:?}");
}

#[tokio::test]
async fn metric_08_error_has_metadata() {
    let test_env = one_hour().await;
    let application = test_env.application().region(RegionChoice::Detect);
    let credential = ClientCertificate::new(application, test_env.certificate()).unwrap();
    let client = test_env.client_builder(credential).build();
    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[]));
    let error = client.token_for_resource(RESOURCE).await.unwrap_err();
    let metadata = error.metadata();
    assert_eq!(metadata.token_endpoint.as_deref(), Some(&*test_env.emulator.token_endpoint()));
    assert_eq!((metadata.cache_level, metadata.refresh_reason), (None, RefreshReason::Missing));
    client.token_for_resource(RESOURCE).await.unwrap();
    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[]));
    let error = client.token_for_resource(RESOURCE).force_refresh().await.unwrap_err();
    assert_eq!(error.metadata().refresh_reason, RefreshReason::ForcedOrClaims);
}

#[test]
fn metric_08_region_of_an_error_is_its_own() {
    let responses = [r#"{"error":"invalid_request"}"#; 2]
        .map(|body| Ok(Response::new(http::StatusCode::BAD_REQUEST, body)));
    let transport = ScriptedTransport::new(responses);
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    for (region, used, host) in [
        (RegionChoice::Global, RegionUse::None, "login.microsoftonline.com"),
        (
            RegionChoice::Fixed(Region::parse("westus2").unwrap()),
            RegionUse::Configured("westus2".into()),
            "westus2.login.microsoft.com",
        ),
    ] {
        let application = Application::new(authority.clone(), "client").unwrap().region(region);
        let credential = ClientSecret::new(application, Secret::new("s3cr3t")).unwrap();
        let builder = TokenClient::builder(credential, transport.clone());
        let client = builder.context(Context::default().with_env(Env::empty())).build();
        let request = client.token("https://vault.example/.default").into_future();
        let error = request.now_or_never().unwrap().unwrap_err();
        let metadata = error.metadata();
        assert_eq!(metadata.region, used);
        let endpoint = format!("https://{host}/contoso.example/oauth2/v2.0/token");
        assert_eq!(metadata.token_endpoint.as_deref(), Some(&*endpoint));
    }
}

/// An empty store that takes its time.
#[derive(Debug)]
struct SlowStore(SharedClock);

impl SlowStore {
    async fn pause<T>(&self, result: T) -> Result<T, Error> {
        self.0.sleep(Duration::from_millis(20)).await;
        Ok(result)
    }
}

impl CacheStore for SlowStore {
    async fn get(&self, _key: &str) -> Result<Option<StoredEntry>, Error> {
        self.pause(None).await
    }

    async fn put(
        &self,
        _key: &str,
        _entry: &[u8],
        _ttl: Duration,
        _precondition: Precondition<'_>,
    ) -> Result<PutOutcome, Error> {
        self.pause(PutOutcome::Done).await
    }

    async fn remove(&self, _key: &str, _precondition: Precondition<'_>) -> Result<PutOutcome, Error> {
        Ok(PutOutcome::Done)
    }

    fn is_local_to_machine(&self) -> bool {
        true
    }
}
