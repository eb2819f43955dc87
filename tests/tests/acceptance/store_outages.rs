//! STORE: outages of Redis.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::TokenOrigin;
use symbolon_emulator::{Fault, Step};
use symbolon_test_programs::Redis;

use crate::store::{Failures, Processes, sealed, store_at};

#[tokio::test]
async fn store_05_outage_fails_no_request() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    for outage in ["stopped", "paused", "asleep"] {
        let processes = Processes::new().await;
        let (failures, url) = (Failures::default(), redis.url());
        let builder = || failures.observe(sealed().server(&url).timeout(Duration::from_millis(200)));
        processes.wait_until_shared(builder).await;
        let process = processes.start(builder().build().unwrap());
        assert_eq!(failures.all(), Vec::<String>::new());
        match outage {
            "stopped" => redis.stop(),
            "paused" => redis.pause(),
            _ => {
                // Until the command line client has sent the command.
                let port = redis.port().to_string();
                let sleep = ["-p", &port, "DEBUG", "SLEEP", "2"];
                drop(Command::new("redis-cli").args(sleep).stdout(Stdio::null()).spawn().unwrap());
                processes.test_env.clock().sleep(Duration::from_millis(100)).await;
            }
        }
        // Many tokens, one after the other: the first failure is the only one for a second.
        for number in 0..20 {
            let resource = format!("https://{number}.example");
            processes.test_env.keep(process.token_for_resource(&resource).await.unwrap());
        }
        let failed = failures.all();
        assert!((1..=3).contains(&failed.len()), "{outage}: {failed:?}");
        assert!(
            failed.iter().all(|error| error.starts_with("redis_unavailable: Redis at 127.0.0.1:")),
            "{failed:?}"
        );
        assert!((1..=2).contains(&processes.warnings()), "{outage}: {}", processes.test_env.logs());
        match outage {
            "stopped" => redis.run(),
            "paused" => redis.resume(),
            _ => redis.wait_for(&["PING"], |reply| reply == "PONG"),
        }
        processes.wait_until_shared(builder).await;
        // The process that has seen the outage uses Redis again after its pause.
        let is_used = || processes.test_env.logs().contains("Redis responds again");
        for number in 0..200 {
            if is_used() {
                break;
            }
            processes.test_env.clock().sleep(Duration::from_millis(50)).await;
            let resource = format!("https://after-{number}.example");
            processes.test_env.keep(process.token_for_resource(&resource).await.unwrap());
        }
        assert!(is_used(), "{outage}: {}", processes.test_env.logs());
    }
}

#[tokio::test]
async fn store_05_redis_is_lost_in_the_middle() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    for pauses in [false, true] {
        let processes = Processes::new().await;
        processes.test_env.emulator.inject(Fault::delay(Step::Token, Duration::from_millis(300)).always());
        redis.command(&["FLUSHALL"]);
        let cold: Vec<_> = (0..10).map(|_| processes.start(store_at(&redis))).collect();
        let requests = join_all(cold.iter().map(|process| processes.token(process)));
        let loss = async {
            processes.test_env.wait_until(|| redis.command(&["KEYS", "*:lock"]).contains(":lock")).await;
            if pauses { redis.pause() } else { redis.stop() }
        };
        let (tokens, ()) = futures_util::join!(requests, loss);
        assert_eq!(tokens.len(), 10);
        if pauses { redis.resume() } else { redis.run() }
    }
}

#[tokio::test]
async fn store_06_full_redis_still_serves() {
    let Some(redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let failures = Failures::default();
    let builder = || failures.observe(sealed().server(&redis.url()));
    processes.origin(builder().build().unwrap()).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let process = processes.start(builder().build().unwrap());
    assert_eq!(processes.token(&process).await.origin(), TokenOrigin::Cache, "reads succeed");
    for number in 0..3 {
        let resource = format!("https://{number}.example");
        processes.test_env.keep(process.token_for_resource(&resource).await.unwrap());
    }
    let failed = failures.all();
    assert!(
        !failed.is_empty() && failed.iter().all(|error| error.starts_with("redis_refused")),
        "{failed:?}"
    );
    assert!(failed[0].contains("OOM") && failed[0].contains("maxmemory"), "{failed:?}");
    assert_eq!(processes.warnings(), 1, "{}", processes.test_env.logs());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let resource = "https://after.example";
    processes.test_env.keep(process.token_for_resource(resource).await.unwrap());
    let other = processes.start(builder().build().unwrap());
    let token = processes.test_env.keep(other.token_for_resource(resource).await.unwrap());
    assert_eq!(token.origin(), TokenOrigin::Cache);
    assert!(processes.test_env.logs().contains("Redis responds again"));
}

#[tokio::test]
async fn store_07_restart_and_demotion() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let Some(other) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let failures = Failures::default();
    let store = failures.observe(sealed().server(&redis.url())).build().unwrap();
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network);
    redis.stop();
    redis.run();
    // The lost connection is replaced, and no command fails.
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network);
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Cache);
    assert_eq!(failures.all(), Vec::<String>::new());

    let replicate = ["REPLICAOF", "127.0.0.1", &other.port().to_string()];
    redis.command(&replicate);
    redis.wait_for(&["INFO", "replication"], |info| info.contains("master_link_status:up"));
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network);
    let failed = failures.all();
    assert!(failed.iter().any(|error| error.contains("READONLY")), "{failed:?}");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(processes.origin(store.clone()).await, TokenOrigin::Network);
    assert_eq!(processes.origin(store).await, TokenOrigin::Cache);
}

#[tokio::test]
async fn store_07_sentinel_fails_over() {
    let Some(mut primary) = Redis::start(&[]) else { return };
    let Some(replica) = Redis::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]) else {
        return;
    };
    replica.wait_for(&["INFO", "replication"], |info| info.contains("master_link_status:up"));
    let Some(sentinel) = Redis::start_sentinel(primary.port()) else { return };
    sentinel.wait_for(&["SENTINEL", "REPLICAS", "main"], |list| list.contains(&replica.port().to_string()));
    let processes = Processes::new().await;
    let builder = || sealed().sentinels("main", [sentinel.url()]);
    let store = builder().build().unwrap();
    let first = processes.token(&processes.start(store.clone())).await;
    let key = primary.command(&["KEYS", "*}"]);
    replica.wait_for(&["EXISTS", &key], |count| count == "1");
    primary.stop();
    // During the failover, tokens are requested without Redis.
    processes.token(&processes.start(store.clone())).await;
    let address = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
    sentinel.wait_for(&address, |address| address.ends_with(&replica.port().to_string()));
    replica.wait_for(&["ROLE"], |role| role.starts_with("master"));
    let again = processes.token(&processes.start(builder().build().unwrap())).await;
    assert_eq!(again.secret().expose(), first.secret().expose(), "the replica has the token");
    processes.wait_until_shared(builder).await;
}

#[tokio::test]
async fn store_11_chaos_fails_no_request() {
    const PROCESSES: usize = 8;
    let Some(mut redis) = Redis::start(&[]) else { return };
    let processes = Processes::new().await;
    let is_over = std::cell::Cell::new(false);
    let url = redis.url();
    let store = || sealed().server(&url).timeout(Duration::from_millis(100)).build().unwrap();
    let all: Vec<_> = (0..PROCESSES).map(|_| processes.start(store())).collect();
    let traffic = all.iter().enumerate().map(|(number, process)| {
        let (processes, is_over) = (&processes, &is_over);
        async move {
            let mut requests = 0;
            while !is_over.get() {
                let resource = format!("https://{}.example", (requests * (number + 1)) % 100);
                let request = process.token_for_resource(&resource);
                let token = if requests % 7 == 0 { request.force_refresh().await } else { request.await };
                processes.test_env.keep(token.unwrap());
                requests += 1;
                processes.test_env.clock().sleep(Duration::from_millis(5)).await;
            }
            requests
        }
    });
    let traffic = join_all(traffic);
    let clock = processes.test_env.clock();
    let chaos = async {
        for _ in 0..2 {
            clock.sleep(Duration::from_millis(200)).await;
            redis.pause();
            clock.sleep(Duration::from_millis(300)).await;
            redis.resume();
            clock.sleep(Duration::from_millis(200)).await;
            redis.stop();
            clock.sleep(Duration::from_millis(200)).await;
            redis.run();
        }
        is_over.set(true);
    };
    let (requests, ()) = futures_util::join!(traffic, chaos);
    assert!(requests.iter().all(|&requests| requests > 0), "{requests:?}");
}
