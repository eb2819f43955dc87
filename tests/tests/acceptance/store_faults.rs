//! STORE: Redis that holds, permits or does something unexpected.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Secret, SharedClock, TokenOrigin};
use symbolon_emulator::{Fault, Step};
use symbolon_redis::{RedisStore, RedisStoreBuilder};
use symbolon_test_programs::Redis;
use symbolon_token::{CacheStore as _, LockOutcome, Precondition, PutOutcome};
use symbolon_transport::timeout;

use crate::store::{Failures, NewBuilder, Processes, TlsFiles, sealed, store_at};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn store_14_tls_with_cluster_and_sentinel() {
    let tls = TlsFiles::new();
    let (certificate, key) = &tls.server;
    let Some(cluster) = Redis::start_cluster_with_tls(&tls.authority, certificate, key) else { return };
    let Some(primary) = Redis::start_with_tls(&tls.authority, certificate, key) else { return };
    let sentinel = Redis::start_sentinel_with_tls(primary.port(), &tls.authority, certificate, key);
    let Some(sentinel) = sentinel else { return };
    let url = |redis: &Redis| format!("rediss://127.0.0.1:{}", redis.port());
    let (client, key) = &tls.client;
    let settings: [(&str, NewBuilder<'_>); 2] = [
        ("cluster", Box::new(|| sealed().cluster([url(&cluster[2]), url(&cluster[0])]))),
        ("sentinel", Box::new(|| sealed().sentinels("main", [url(&sentinel)]))),
    ];
    for (name, builder) in settings {
        let processes = Processes::new().await;
        let failures = Failures::default();
        let trusting = || builder().root_certificates_pem(tls.authority.as_str());
        let store = || {
            let builder = trusting().client_certificate_pem(client.as_str(), key);
            failures.observe(builder).build().unwrap()
        };
        // Many resources, so that each server of the cluster has some.
        for number in 0..12 {
            let resource = format!("https://{number}.example");
            for origin in [TokenOrigin::Network, TokenOrigin::Cache] {
                let token = processes.start(store()).token_for_resource(&resource).await.unwrap();
                assert_eq!(processes.test_env.keep(token).origin(), origin, "{name}: {:?}", failures.all());
            }
        }
        assert_eq!(failures.all(), Vec::<String>::new(), "{name}");
        let without = failures.observe(trusting()).build().unwrap();
        assert_eq!(processes.origin(without).await, TokenOrigin::Network, "{name}");
        let failed = failures.all();
        assert!(failed.iter().any(|error| error.starts_with("redis_unavailable")), "{name}: {failed:?}");
    }
    for redis in &cluster {
        assert_ne!(redis.command(&["KEYS", "*}"]), "", "the entries are on all servers");
    }
}

/// Whatever another party puts under a key that is no entry counts as missing and is replaced.
#[tokio::test]
async fn store_15_foreign_value_is_replaced() {
    let Some(redis) = Redis::start(&[]) else { return };
    // The command, and its arguments behind the key.
    let foreign: [(&str, &[&str]); 5] = [
        ("RPUSH", &["x"]),
        ("HSET", &["field", "x"]),
        ("SET", &["x"]),
        ("SET", &[""]),
        ("SETRANGE", &["300000", "x"]),
    ];
    for (name, arguments) in foreign {
        let put = |key: &str| redis.command(&[&[name, key], arguments].concat());
        redis.command(&["FLUSHALL"]);
        let processes = Processes::new().await;
        processes.test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(100)).always());
        assert_eq!(processes.origin(store_at(&redis)).await, TokenOrigin::Network);
        let key = redis.command(&["KEYS", "*}"]);
        for key in [key.clone(), format!("{key}:lock")] {
            redis.command(&["FLUSHALL"]);
            put(&key);
            let before = processes.exchanges();
            let failures = Failures::default();
            let store = || failures.observe(sealed().server(&redis.url())).build().unwrap();
            let cold: Vec<_> = (0..10).map(|_| processes.start(store())).collect();
            let tokens = join_all(cold.iter().map(|process| processes.token(process))).await;
            assert_eq!(tokens.len(), 10);
            assert_eq!(processes.exchanges(), before + 1, "{name} at {key}");
            assert_eq!(failures.all(), Vec::<String>::new(), "{name} at {key}");
            assert_eq!(processes.origin(store()).await, TokenOrigin::Cache, "{name} at {key}");
        }
    }
    // The same for a write with another condition, as of a refresh token.
    let store = store_at(&redis);
    for (name, arguments) in &foreign[..4] {
        redis.command(&["FLUSHALL"]);
        redis.command(&[&[*name, "symbolon:{k}"], *arguments].concat());
        assert!(store.get("k").await.unwrap().is_none(), "{name}");
        let put = store.put("k", b"entry", MINUTE, Precondition::Absent).await.unwrap();
        assert_eq!(put, PutOutcome::Done, "{name}");
        assert_eq!(store.get("k").await.unwrap().unwrap().bytes(), b"entry", "{name}");
    }
}

/// A caller that gives up while Redis does not reply leaves no lock behind.
#[tokio::test(flavor = "multi_thread")]
async fn store_16_caller_gives_up_in_the_lock() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = store_at(&redis);
    store.get("k").await.unwrap();
    redis.pause();
    let lock = store.lock("k", None);
    assert!(timeout(&SharedClock::system(), Duration::from_millis(50), lock).await.is_none());
    redis.resume();
    redis.wait_for(&["INFO", "commandstats"], |calls| calls.contains("cmdstat_eval:calls=2"));
    redis.wait_for(&["EXISTS", "symbolon:{k}:lock"], |count| count == "0");
    let statistics = redis.command(&["INFO", "stats"]);
    assert!(statistics.contains("expired_keys:0"), "{statistics}");
}

/// A lock whose end was removed.
#[tokio::test]
async fn store_16_lock_without_an_end() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = store_at(&redis);
    let LockOutcome::Acquired(lock) = store.lock("k", None).await.unwrap() else { panic!() };
    std::mem::forget(lock);
    assert_eq!(redis.command(&["PERSIST", "symbolon:{k}:lock"]), "1");
    let second = store_at(&redis);
    let lock = timeout(&SharedClock::system(), Duration::from_secs(30), second.lock("k", None)).await;
    assert!(matches!(lock, Some(Ok(LockOutcome::Acquired(_)))), "{lock:?}");
}

/// A user without the permission for scripts: no locks, and one warning.
#[tokio::test]
async fn store_17_lasting_refusal_is_logged_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let rules = ["on", ">s3cr3t-password", "~*", "+getrange", "+set", "+del"];
    redis.command(&[&["ACL", "SETUSER", "app"][..], &rules].concat());
    let processes = Processes::new().await;
    let (failures, password) = (Failures::default(), Secret::new("s3cr3t-password"));
    let store = failures.observe(sealed().server(&redis.url()).user("app").password(password));
    let store = store.build().unwrap();
    let process = processes.start(store.clone());
    for number in 0..5 {
        let resource = format!("https://{number}.example");
        processes.test_env.keep(process.token_for_resource(&resource).await.unwrap());
        let other = processes.start(store.clone()).token_for_resource(&resource).await.unwrap();
        assert_eq!(processes.test_env.keep(other).origin(), TokenOrigin::Cache);
    }
    assert!(failures.all().iter().all(|error| error.contains("NOPERM")), "{:?}", failures.all());
    assert_eq!(processes.warnings(), 1, "{}", processes.test_env.logs());
    assert!(!processes.test_env.logs().contains("Redis responds again"), "{}", processes.test_env.logs());
    redis.command(&["ACL", "SETUSER", "app", "+eval"]);
    processes.test_env.keep(process.token_for_resource("https://last.example").await.unwrap());
    assert!(processes.test_env.logs().contains("Redis responds again"), "{}", processes.test_env.logs());
}

#[tokio::test]
async fn store_18_connections_are_killed() {
    let Some(redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let failures = Failures::default();
    let store = failures.observe(sealed().server(&redis.url())).build().unwrap();
    let process = processes.start(store.clone());
    for number in 0..5 {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        redis.command(&["SCRIPT", "FLUSH"]);
        let resource = format!("https://{number}.example");
        processes.test_env.keep(process.token_for_resource(&resource).await.unwrap());
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        let other = processes.start(store.clone()).token_for_resource(&resource).await.unwrap();
        assert_eq!(processes.test_env.keep(other).origin(), TokenOrigin::Cache);
    }
    assert_eq!(failures.all(), Vec::<String>::new());
}

/// Each runtime drives its own connections. The first is alive and not driven any more.
#[test]
fn store_18_runtimes_do_not_share_connections() {
    let Some(redis) = Redis::start(&[]) else { return };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let failures = Failures::default();
    let store: RedisStore = failures.observe(sealed().server(&redis.url())).build().unwrap();
    let first = runtime();
    first.block_on(store.put("k", b"entry", MINUTE, Precondition::None)).unwrap();
    let second = runtime();
    for runtime in [&second, &first, &second] {
        let read = runtime.block_on(store.get("k"));
        assert_eq!(read.unwrap().unwrap().bytes(), b"entry", "{:?}", failures.all());
    }
    drop(first);
    assert!(second.block_on(store.get("k")).unwrap().is_some());
    assert_eq!(failures.all(), Vec::<String>::new());
}

/// The password of each new connection is the present one.
#[tokio::test]
async fn store_18_password_changes() {
    let Some(server) = Redis::start(&[]) else { return };
    let Some(cluster) = Redis::start_cluster() else { return };
    let Some(primary) = Redis::start(&[]) else { return };
    let Some(sentinel) = Redis::start_sentinel(primary.port()) else { return };
    let settings: [(&str, &[&Redis], RedisStoreBuilder); 3] = [
        ("server", &[&server], sealed().server(&server.url())),
        ("cluster", &[&cluster[0], &cluster[1], &cluster[2]], sealed().cluster([cluster[0].url()])),
        ("sentinel", &[&primary], sealed().sentinels("main", [sentinel.url()])),
    ];
    for (name, servers, builder) in settings {
        let processes = Processes::new().await;
        let (failures, password) = (Failures::default(), Arc::new(Mutex::new("s3cr3t-old")));
        let present = Arc::clone(&password);
        let builder = builder.password_from(move || Secret::new(*present.lock().unwrap()));
        let change = |old: &str, new: &str| {
            for redis in servers {
                let user = ["ACL", "SETUSER", "default", &format!("<{old}"), &format!(">{new}")];
                let reply =
                    redis.command(&[&["--user", "admin", "--pass", "s3cr3t-admin"], &user[..]].concat());
                assert_eq!(reply, "OK");
                redis.command(&[
                    "--user",
                    "admin",
                    "--pass",
                    "s3cr3t-admin",
                    "CLIENT",
                    "KILL",
                    "TYPE",
                    "normal",
                ]);
            }
        };
        for redis in servers {
            redis.command(&["ACL", "SETUSER", "admin", "on", ">s3cr3t-admin", "+@all", "~*", "&*"]);
            redis.command(&["CONFIG", "SET", "requirepass", "s3cr3t-old"]);
        }
        let store = failures.observe(builder).build().unwrap();
        assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network, "{name}");
        assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Cache, "{name}: {:?}", failures.all());
        *password.lock().unwrap() = "s3cr3t-new";
        change("s3cr3t-old", "s3cr3t-new");
        assert_eq!(processes.origin(store).await, TokenOrigin::Cache, "{name}: {:?}", failures.all());
    }
}

/// A server without RESP3: by default nothing needs it.
#[tokio::test]
async fn store_19_protocol_of_the_server() {
    let Some(old) = Redis::start(&["--rename-command", "HELLO", ""]) else { return };
    let Some(new) = Redis::start(&[]) else { return };
    let resp3 = |redis: &Redis| format!("{}/?protocol=resp3", redis.url());
    // A name with addresses at which nothing listens, on most machines.
    let by_name = new.url().replace("127.0.0.1", "localhost");
    for (url, is_shared) in [(old.url(), true), (by_name, true), (resp3(&new), true), (resp3(&old), false)] {
        let processes = Processes::new().await;
        let failures = Failures::default();
        let store = failures.observe(sealed().server(&url)).build().unwrap();
        assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network);
        let origin = if is_shared { TokenOrigin::Cache } else { TokenOrigin::Network };
        assert_eq!(processes.origin(store).await, origin, "{url}: {:?}", failures.all());
        assert_eq!(failures.all().is_empty(), is_shared, "{url}: {:?}", failures.all());
    }
}

/// The runtime ends while a new token is written in the background.
#[test]
fn store_18_runtime_ends_during_a_write() {
    let Some(redis) = Redis::start(&[]) else { return };
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = sealed().server(&redis.url()).background_writes().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let LockOutcome::Acquired(lock) = store.lock("k", None).await.unwrap() else { panic!() };
        redis.pause();
        let put = store.put("k", b"entry", MINUTE, Precondition::Locked(&lock)).await.unwrap();
        assert_eq!(put, PutOutcome::Done);
    });
    first.shutdown_background();
    redis.resume();
    runtime().block_on(async {
        let lock = store.lock("other", None).await.unwrap();
        assert!(matches!(lock, LockOutcome::Acquired(_)), "{lock:?}");
        assert_eq!(store.put("other", b"entry", MINUTE, Precondition::None).await.unwrap(), PutOutcome::Done);
    });
}
