//! STORE: processes that share tokens through Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use symbolon::{ClientIdentity, Secret, SoftwareKeys, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_redis::{RedisStore, RedisStoreBuilder};
use symbolon_test_programs::Redis;
use symbolon_tests::RESOURCE;
use symbolon_token::{
    CacheStore as _, ClientCertificate, LockOutcome, Precondition, PutOutcome, SealingKey, StoreLock, Token,
    TokenCache, TokenClient, conformance,
};

use crate::test_env::TestEnv;

const MINUTE: Duration = Duration::from_secs(60);

/// Processes with caches of their own.
pub(crate) struct Processes {
    pub(crate) test_env: TestEnv,
    pub(crate) certificate: ClientIdentity,
}

impl Processes {
    pub(crate) async fn new() -> Self {
        Self::over(TestEnv::with_system_clock(|emulator| emulator).await)
    }

    pub(crate) fn over(test_env: TestEnv) -> Self {
        let certificate = test_env.certificate();
        Self { test_env, certificate }
    }

    /// A new process.
    pub(crate) fn start(&self, store: RedisStore) -> TokenClient {
        let credential =
            ClientCertificate::new(self.test_env.application(), self.certificate.clone()).unwrap();
        let cache = TokenCache::new(100, &self.test_env.context()).with_store(store);
        self.test_env.client_builder(credential).cache(cache).build()
    }

    pub(crate) async fn token(&self, process: &TokenClient) -> Token {
        self.test_env.keep(process.token_for_resource(RESOURCE).await.unwrap())
    }

    /// The origin of the token of a new process.
    pub(crate) async fn origin(&self, store: RedisStore) -> TokenOrigin {
        self.token(&self.start(store)).await.origin()
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.test_env.counts().tokens
    }

    /// Waits until processes share tokens.
    pub(crate) async fn wait_until_shared(&self, builder: impl Fn() -> RedisStoreBuilder) {
        for _ in 0..100 {
            self.origin(builder().build().unwrap()).await;
            if self.origin(builder().build().unwrap()).await == TokenOrigin::Cache {
                return;
            }
            self.test_env.clock().sleep(Duration::from_millis(100)).await;
        }
        panic!("processes do not share tokens:\n{}", self.test_env.logs());
    }

    /// Waits until the process has another token than the old one.
    async fn wait_until_renewed(&self, process: &TokenClient, old: &Token) {
        for _ in 0..500 {
            if self.token(process).await.secret().expose() != old.secret().expose() {
                return;
            }
            symbolon::SharedClock::system().sleep(Duration::from_millis(10)).await;
        }
        panic!("the token is not renewed:\n{}", self.test_env.logs());
    }

    /// The number of warnings about Redis so far.
    pub(crate) fn warnings(&self) -> usize {
        let logs = self.test_env.logs();
        logs.lines().filter(|line| line.contains("WARN") && line.contains("Redis")).count()
    }
}

pub(crate) fn sealed() -> RedisStoreBuilder {
    RedisStore::builder(SealingKey::new("one", [1; 32]).unwrap())
}

pub(crate) fn store_at(redis: &Redis) -> RedisStore {
    sealed().server(&redis.url()).build().unwrap()
}

/// A function that returns the settings of a process.
pub(crate) type NewBuilder<'a> = Box<dyn Fn() -> RedisStoreBuilder + 'a>;

/// The codes of failed commands.
#[derive(Clone, Default)]
pub(crate) struct Failures(Arc<Mutex<Vec<String>>>);

impl Failures {
    pub(crate) fn observe(&self, builder: RedisStoreBuilder) -> RedisStoreBuilder {
        let failures = Arc::clone(&self.0);
        builder.on_failure(move |error| failures.lock().unwrap().push(format!("{}: {error}", error.code())))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An authority with a server certificate for 127.0.0.1 and a client certificate, in PEM.
pub(crate) struct TlsFiles {
    pub(crate) authority: String,
    pub(crate) server: (String, String),
    pub(crate) client: (String, Secret),
}

impl TlsFiles {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
        };
        let (client, key) = issue("client.example");
        Self { authority: authority.pem(), server: issue("127.0.0.1"), client: (client, Secret::new(key)) }
    }

    fn server(&self) -> Option<Redis> {
        Redis::start_with_tls(&self.authority, &self.server.0, &self.server.1)
    }
}

#[tokio::test]
async fn redis_store_conforms() {
    let Some(redis) = Redis::start(&[]) else { return };
    for builder in [sealed(), RedisStore::unsealed_builder()] {
        let report = conformance::check_store(builder.server(&redis.url()).build().unwrap()).await;
        assert!(report.holds(), "{report}");
        redis.command(&["FLUSHALL"]);
    }
    let Some(nodes) = Redis::start_cluster() else { return };
    let report = conformance::check_store(sealed().cluster([nodes[1].url()]).build().unwrap()).await;
    assert!(report.holds(), "{report}");
}

#[tokio::test]
async fn store_01_processes_share_a_token() {
    let tls = TlsFiles::new();
    let password = Secret::new("s3cr3t-password");
    let Some(with_password) = Redis::start(&["--requirepass", password.expose()]) else { return };
    let Some(with_acl) = Redis::start(&[]) else { return };
    let rules = ["on", ">s3cr3t-password", "~app:*", "+getrange", "+get", "+set", "+del", "+eval"];
    with_acl.command(&[&["ACL", "SETUSER", "app"][..], &rules].concat());
    let Some(with_tls) = tls.server() else { return };
    let Some(cluster) = Redis::start_cluster() else { return };
    let Some(primary) = Redis::start(&[]) else { return };
    let Some(sentinel) = Redis::start_sentinel(primary.port()) else { return };
    let tls_url = format!("rediss://127.0.0.1:{}", with_tls.port());
    let (client, key) = &tls.client;
    let settings: [(&str, &Redis, NewBuilder<'_>); 5] = [
        (
            "password",
            &with_password,
            Box::new(|| sealed().server(&with_password.url()).password(password.clone())),
        ),
        (
            "user",
            &with_acl,
            Box::new(|| {
                sealed().server(&with_acl.url()).user("app").password(password.clone()).key_prefix("app:")
            }),
        ),
        (
            "TLS",
            &with_tls,
            Box::new(|| {
                let builder = sealed().server(&tls_url).root_certificates_pem(tls.authority.as_str());
                builder.client_certificate_pem(client.as_str(), key)
            }),
        ),
        ("cluster", &cluster[0], Box::new(|| sealed().cluster([cluster[2].url()]))),
        ("sentinel", &primary, Box::new(|| sealed().sentinels("main", [sentinel.url()]))),
    ];
    for (name, redis, builder) in settings {
        let processes = Processes::new().await;
        let failures = Failures::default();
        let store = || failures.observe(builder()).build().unwrap();
        let first = processes.token(&processes.start(store())).await;
        assert_eq!(first.origin(), TokenOrigin::Network, "{name}");
        let process = processes.start(store());
        let second = processes.token(&process).await;
        assert_eq!(failures.all(), Vec::<String>::new(), "{name}");
        assert_eq!(second.origin(), TokenOrigin::Cache, "{name}");
        assert_eq!(second.secret().expose(), first.secret().expose(), "{name}");
        assert_eq!(processes.exchanges(), 1, "{name}");
        let calls = || {
            let info = redis.command(&["INFO", "commandstats"]);
            let lines = info.lines().filter(|line| line.contains("getrange") || line.contains("eval"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = calls();
        assert_eq!(processes.token(&process).await.origin(), TokenOrigin::Cache, "{name}");
        assert_eq!(calls(), before, "{name}: a hit in memory");
    }
}

#[tokio::test]
async fn store_02_entry_is_sealed() {
    let Some(redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let store = sealed().server(&redis.url()).key_prefix("one:").build().unwrap();
    let token = processes.token(&processes.start(store.clone())).await;
    let keys = redis.command(&["KEYS", "*"]);
    let entries: Vec<_> = keys.lines().filter(|key| !key.ends_with(":lock")).collect();
    let [key] = entries[..] else { panic!("{keys}") };
    assert!(key.starts_with("one:{symbolon1:") && key.ends_with('}'), "{key}");
    let ttl: u128 = redis.command(&["PTTL", key]).parse().unwrap();
    let life = token.expires_on().duration_since(processes.test_env.clock().now()).unwrap();
    assert!(ttl > 0 && ttl <= life.as_millis() + 2000, "{ttl} of {life:?}");
    let raw = redis.command(&["GET", key]);
    assert!(!raw.contains(&token.secret().expose()[..20]));

    // The same key under another prefix, as a party that can write to Redis could arrange.
    redis.command(&["COPY", key, &key.replace("one:", "two:")]);
    let other = store.with_key_prefix("two:").unwrap();
    assert_eq!(processes.origin(other).await, TokenOrigin::Network);
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Cache);
    redis.command(&["SETRANGE", key, "60", "x"]);
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network, "a changed entry");
    assert_eq!(processes.origin(store).await, TokenOrigin::Cache, "the entry is replaced");
}

#[tokio::test]
async fn store_03_many_processes_one_exchange() {
    const PROCESSES: usize = 40;
    let Some(redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    processes.test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(300)).always());
    let cold: Vec<_> = (0..PROCESSES).map(|_| processes.start(store_at(&redis))).collect();
    let tokens = join_all(cold.iter().map(|process| processes.token(process))).await;
    assert_eq!(processes.exchanges(), 1);
    let first = tokens[0].secret().expose();
    assert!(tokens.iter().all(|token| token.secret().expose() == first));
    let origins = tokens.iter().filter(|token| token.origin() == TokenOrigin::Network).count();
    assert_eq!(origins, 1);
}

/// Without notifications, a process would run more than thirty scripts in this second.
#[tokio::test]
async fn store_13_waiting_processes_are_notified() {
    const PROCESSES: usize = 20;
    let Some(redis) = Redis::start(&[]) else { return };
    let password = Secret::new("s3cr3t-password");
    let user = |name: &str, more: &[&str]| {
        let rules = ["on", ">s3cr3t-password", "~*", "+getrange", "+get", "+set", "+del", "+eval"];
        redis.command(&[&["ACL", "SETUSER", name][..], &rules, more].concat());
    };
    user("notified", &["+subscribe", "+publish", "&symbolon:*"]);
    user("polling", &[]);
    for (name, is_notified) in [("notified", true), ("polling", false)] {
        redis.command(&["FLUSHALL"]);
        redis.command(&["CONFIG", "RESETSTAT"]);
        let processes = Processes::new().await;
        processes.test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_secs(1)).always());
        let store = || sealed().server(&redis.url()).user(name).password(password.clone()).build().unwrap();
        let cold: Vec<_> = (0..PROCESSES).map(|_| processes.start(store())).collect();
        let tokens = join_all(cold.iter().map(|process| processes.token(process))).await;
        let first = tokens[0].secret().expose();
        assert!(tokens.iter().all(|token| token.secret().expose() == first), "{name}");
        assert_eq!(processes.exchanges(), 1, "{name}");
        let statistics = redis.command(&["INFO", "commandstats"]);
        let calls = statistics.split("cmdstat_eval:calls=").nth(1).and_then(|rest| rest.split(',').next());
        let scripts: usize = calls.unwrap().parse().unwrap();
        assert_eq!(scripts < 15 * PROCESSES, is_notified, "{name}: {scripts} scripts");
        let subscriptions = statistics.contains(&format!("cmdstat_subscribe:calls={}", PROCESSES - 1));
        assert_eq!(subscriptions, is_notified, "{name}: {statistics}");
    }
}

/// All processes have the token, and it becomes due in all of them at once.
#[tokio::test]
async fn store_03_due_token_is_renewed_once() {
    const PROCESSES: usize = 10;
    let Some(redis) = Redis::start(&[]) else { return };
    // The clock of the clients is moved by hand, that of the stores is the machine's.
    let processes = Processes::over(TestEnv::new().await);
    let all: Vec<_> = (0..PROCESSES).map(|_| processes.start(store_at(&redis))).collect();
    for process in &all {
        processes.token(process).await;
    }
    let old = processes.token(&all[0]).await;
    assert_eq!(processes.exchanges(), 1);
    let due_for = old.expires_on().duration_since(old.refresh_on()).unwrap() / 2;
    let until_due = old.refresh_on().duration_since(processes.test_env.clock().now()).unwrap();
    processes.test_env.manual_clock.advance(until_due + due_for);
    for process in &all {
        let served = processes.token(process).await;
        assert_eq!(served.secret().expose(), old.secret().expose(), "no caller waits for the renewal");
    }
    for process in &all {
        processes.wait_until_renewed(process, &old).await;
    }
    assert_eq!(processes.exchanges(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_04_lock_is_lost_with_its_holder() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (first, second) = (store_at(&redis), store_at(&redis));
    let acquire = async |store: &RedisStore| match store.lock("k", None).await.unwrap() {
        LockOutcome::Acquired(lock) => lock,
        outcome => panic!("{outcome:?}"),
    };
    let held = acquire(&first).await;
    let ttl: i64 = redis.command(&["PTTL", "symbolon:{k}:lock"]).parse().unwrap();
    assert!((1..=5000).contains(&ttl), "{ttl}");
    // The process ends without releasing the lock, or is stopped, and the lease ends.
    let lost = StoreLock::new(()).with_fence(held.fence().unwrap());
    std::mem::forget(held);
    redis.command(&["PEXPIRE", "symbolon:{k}:lock", "1"]);
    let held = acquire(&second).await;
    let put = async |store: &RedisStore, entry: &[u8], lock: &StoreLock| {
        store.put("k", entry, MINUTE, Precondition::Locked(lock)).await.unwrap()
    };
    assert_eq!(put(&first, b"late", &lost).await, PutOutcome::Conflict);
    assert_eq!(put(&second, b"new", &held).await, PutOutcome::Done);
    drop(held);
    redis.wait_for(&["EXISTS", "symbolon:{k}:lock"], |count| count == "0");
    assert_eq!(put(&first, b"late", &lost).await, PutOutcome::Conflict);
    assert_eq!(first.get("k").await.unwrap().unwrap().bytes(), b"new");
}

/// Redis loses its data while the token is requested: the token is stored nevertheless.
#[tokio::test]
async fn store_04_lock_lost_in_a_restart() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let store = store_at(&redis);
    store.put("k", b"old", MINUTE, Precondition::None).await.unwrap();
    let version = store.get("k").await.unwrap().unwrap().version().map(str::to_owned);
    let LockOutcome::Acquired(lock) = store.lock("k", version.as_deref()).await.unwrap() else { panic!() };
    redis.stop();
    redis.run();
    let put = store.put("k", b"new", MINUTE, Precondition::Locked(&lock)).await.unwrap();
    assert_eq!(put, PutOutcome::Done);
    assert_eq!(store.get("k").await.unwrap().unwrap().bytes(), b"new");
    // A waiting process does not wait for a lock of which it sees the result.
    assert!(matches!(store.lock("k", version.as_deref()).await.unwrap(), LockOutcome::Changed));
}

#[tokio::test]
async fn store_08_refusal_names_its_cause() {
    let tls = TlsFiles::new();
    let wrong = Secret::new("s3cr3t-but-wrong");
    let Some(with_password) = Redis::start(&["--requirepass", "s3cr3t-and-right"]) else { return };
    let Some(with_acl) = Redis::start(&[]) else { return };
    let rules = ["on", ">s3cr3t-and-right", "~app:*", "+getrange"];
    with_acl.command(&[&["ACL", "SETUSER", "app"][..], &rules].concat());
    let Some(with_tls) = tls.server() else { return };
    let url = format!("rediss://127.0.0.1:{}", with_tls.port());
    let right = Secret::new("s3cr3t-and-right");
    let app = || sealed().server(&with_acl.url()).user("app");
    for (cause, builder) in [
        ("NOAUTH", sealed().server(&with_password.url())),
        ("WRONGPASS", sealed().server(&with_password.url()).password(wrong.clone())),
        ("WRONGPASS", app().password(wrong)),
        ("NOPERM", app().password(right)),
        // A server of TLS 1.3 refuses the client after its handshake.
        ("cannot be reached", sealed().server(&url).root_certificates_pem(tls.authority.as_str())),
        ("invalid peer certificate", sealed().server(&url).root_certificates_pem(TlsFiles::new().authority)),
        ("cannot be reached", sealed().server(&with_tls.url())),
    ] {
        let processes = Processes::new().await;
        processes.test_env.watch("s3cr3t-and-right");
        processes.test_env.watch("s3cr3t-but-wrong");
        let failures = Failures::default();
        let store = failures.observe(builder).build().unwrap();
        assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network, "{cause}");
        let failed = failures.all();
        assert!(failed.iter().any(|error| error.contains(cause)), "{cause}: {failed:?}");
        assert!(!format!("{failed:?} {store:?}").contains("s3cr3t"), "{failed:?}");
        assert_eq!(processes.exchanges(), 1);
    }
}

#[tokio::test]
async fn store_09_machine_tokens_stay_out_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let context = processes.test_env.context();
    let cache = || TokenCache::new(100, &context).with_store(store_at(&redis));
    let identity = || processes.test_env.builder().cache(cache()).key_provider(SoftwareKeys::p256());
    for _ in 0..2 {
        let identity = identity().build().unwrap();
        let bound = processes.test_env.bound_token(&identity).await;
        let bearer = processes.test_env.keep(identity.token(RESOURCE).await.unwrap());
        assert_eq!((bound.origin(), bearer.origin()), (TokenOrigin::Network, TokenOrigin::Network));
    }
    let credential =
        ClientCertificate::new(processes.test_env.application(), processes.certificate.clone()).unwrap();
    let client = processes.test_env.client_builder(credential).cache(cache()).build();
    let bound = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap();
    processes.test_env.keep(bound);
    assert_eq!(redis.command(&["KEYS", "*"]), "");
    assert_eq!(redis.command(&["INFO", "commandstats"]).matches("cmdstat_getrange").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_10_background_writes_delay_nobody() {
    let Some(redis) = Redis::start(&[]) else { return };
    for in_background in [false, true] {
        let processes = Processes::new().await;
        processes.test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(300)).always());
        redis.command(&["FLUSHALL"]);
        let failures = Failures::default();
        let builder = failures.observe(sealed().server(&redis.url()));
        let builder = if in_background { builder.background_writes() } else { builder };
        let process = processes.start(builder.build().unwrap());
        let loss = async {
            processes.test_env.wait_until(|| processes.exchanges() == 1).await;
            redis.pause();
        };
        let (token, ()) = futures_util::join!(processes.token(&process), loss);
        assert_eq!(token.origin(), TokenOrigin::Network);
        // A write in the background has not failed yet.
        assert_eq!(failures.all().is_empty(), in_background, "{:?}", failures.all());
        redis.resume();
        if in_background {
            redis.wait_for(&["KEYS", "*}"], |keys| keys.contains("symbolon1:"));
            redis.wait_for(&["KEYS", "*:lock"], str::is_empty);
            assert_eq!(processes.origin(store_at(&redis)).await, TokenOrigin::Cache);
        }
    }
}
