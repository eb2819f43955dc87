//! Limits on clients, and shutdown.

use std::time::Duration;

use symbolon::ManagedIdentityId;
use symbolon::parts::types::ManualClock;
use symbolon_agent::Agent;
use symbolon_emulator::{Emulator, Fault, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{AgentEnv, exchange, identity, within};

/// More connections than an agent serves at a time.
const MANY: usize = 300;

#[tokio::test(flavor = "current_thread")]
async fn non_loopback_addresses_are_rejected() {
    let emulator = Emulator::start().await.unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"] {
        let agent = Agent::builder(identity(&emulator, ManagedIdentityId::system_assigned()));
        let error = agent.listen(address.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.code(), "invalid_configuration", "{address}");
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn address_in_use_is_named() {
    let env = AgentEnv::new().await;
    let address = env.agent.address().unwrap();
    let agent = Agent::builder(identity(&env.emulator, ManagedIdentityId::system_assigned()));
    let error = agent.listen(address).await.unwrap_err();
    assert_eq!(error.code(), "local_error");
    let expected = format!("the agent cannot listen on {address}; choose a free port, or port 0");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "current_thread")]
async fn headers_are_limited_in_size_and_number() {
    let env = AgentEnv::new().await;
    let large = env.request("").replace("Connection", &format!("X: {}\r\nConnection", "x".repeat(20_000)));
    let many = env.request("").replace("Connection", &format!("{}Connection", "X: y\r\n".repeat(100)));
    for request in [large, many] {
        let response = exchange(env.connect().await, &request).await;
        assert_eq!(response.status, 431, "{}", response.head);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn only_idle_connections_are_closed() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    env.emulator.inject(Fault::stall(Step::ImdsToken).once());
    let mut silent = env.connect().await;
    let mut halting = env.connect().await;
    halting.write_all(b"GET /msi/token HTTP/1.1\r\nHost: ").await.unwrap();
    let mut waiting = env.connect().await;
    waiting.write_all(env.request("").as_bytes()).await.unwrap();
    // Wait until the agent has accepted all three and the third request has reached the host.
    while manual_clock.sleepers() < 2 || env.emulator.journal().count(Step::ImdsToken) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        manual_clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut halting] {
        // Closed, or reset if unread data was left.
        let _ended = stream.read_to_end(&mut rest).await;
    }
    assert!(rest.is_empty());
    assert!(waiting.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "current_thread")]
async fn stopped_agent_accepts_no_connection() {
    let env = AgentEnv::new().await;
    let address = env.agent.address().unwrap();
    // An idle connection does not delay the shutdown.
    let mut idle = env.connect().await;
    let response = env.send(&env.request("")).await;
    assert_eq!(response.status, 200);
    env.agent.stop().await;
    let mut rest = Vec::new();
    let _ended = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_pending_requests() {
    let env = AgentEnv::new().await;
    env.emulator.inject(Fault::delay(Step::ImdsToken, Duration::from_millis(300)).once());
    let (request, stream) = (env.request(""), env.connect().await);
    let pending = tokio::spawn(async move { exchange(stream, &request).await });
    while env.emulator.journal().count(Step::ImdsToken) == 0 {
        tokio::task::yield_now().await;
    }
    env.agent.stop().await;
    assert_eq!(pending.await.unwrap().status, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn silent_connections_last_one_second() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    let mut silent = env.connect().await;
    while manual_clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    manual_clock.advance(Duration::from_secs(1));
    let mut rest = Vec::new();
    assert_eq!(within(silent.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn silent_clients_do_not_block_others() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(env.connect().await);
    }
    let response = within(env.send(&env.request(""))).await;
    assert_eq!(response.status, 200, "{}", response.head);
}

#[tokio::test(flavor = "current_thread")]
async fn many_clients_can_wait() {
    let env = AgentEnv::new().await;
    let address = env.agent.address().unwrap();
    // The agent, on this thread, accepts none of them meanwhile.
    let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    let waiting: Vec<_> = (0..MANY).map(connect).collect();
    assert_eq!(waiting.len(), MANY);
}

/// Requests a token on a connection that stays open, and reads the status.
async fn request_kept(env: &AgentEnv, stream: &mut TcpStream) {
    let request = env.request("").replace("Connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    within(stream.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "current_thread")]
async fn idle_connections_make_room_for_others() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    let mut kept = Vec::new();
    for _ in 0..MANY {
        let mut stream = env.connect().await;
        request_kept(&env, &mut stream).await;
        kept.push(stream);
    }
    let response = within(env.send(&env.request(""))).await;
    assert_eq!(response.status, 200, "{}", response.head);
}

#[tokio::test(flavor = "current_thread")]
async fn closing_connections_make_room_for_others() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    let mut closing = Vec::new();
    for _ in 0..MANY {
        let mut stream = env.connect().await;
        stream.write_all(env.request("").as_bytes()).await.unwrap();
        let mut response = Vec::new();
        within(stream.read_to_end(&mut response)).await.unwrap();
        assert!(response.starts_with(b"HTTP/1.1 200"));
        closing.push(stream);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn kept_connection_ends_after_its_idle_time() {
    let manual_clock = ManualClock::new();
    let env = AgentEnv::with_clock(&manual_clock).await;
    let mut stream = env.connect().await;
    for _ in 0..2 {
        request_kept(&env, &mut stream).await;
        // The rest of the response.
        assert!(within(stream.read(&mut [0; 8192])).await.unwrap() > 0);
    }
    let mut more = [0; 1];
    let mut ended = std::pin::pin!(within(stream.read(&mut more)));
    let read = loop {
        tokio::select! {
            read = &mut ended => break read.unwrap(),
            () = tokio::task::yield_now() => manual_clock.advance(Duration::from_secs(1)),
        }
    };
    assert_eq!(read, 0, "closed");
}

#[tokio::test(flavor = "current_thread")]
async fn busy_connections_take_turns() {
    let env = AgentEnv::new().await;
    let request = env.request("").replace("Connection: close\r\n", "");
    let busy = || async {
        loop {
            let mut stream = env.connect().await;
            // The agent closes the connection in favor of another.
            while stream.write_all(request.as_bytes()).await.is_ok()
                && stream.read(&mut [0; 8192]).await.is_ok_and(|read| read > 0)
            {}
        }
    };
    let clients = futures_util::future::join_all((0..MANY).map(|_| busy()));
    let owner = async {
        for _ in 0..5 {
            let response = within(env.send(&env.request(""))).await;
            assert_eq!(response.status, 200, "{}", response.head);
        }
    };
    tokio::select! {
        _never = clients => unreachable!("the clients never stop"),
        () = owner => {}
    }
}

// Requests with the secret that wait for the host leave a place for health checks.
#[tokio::test(flavor = "current_thread")]
async fn health_is_served_when_all_are_busy() {
    let env = AgentEnv::new().await;
    env.emulator.inject(Fault::stall(Step::ImdsToken).always());
    let mut waiting = Vec::new();
    for _ in 0..600 {
        let mut stream = env.connect().await;
        stream.write_all(env.request("").as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let health = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", env.port());
    assert_eq!(within(env.send(&health)).await.status, 200);
    // Those for whom there is no place are told so.
    let response = within(env.send(&env.request(""))).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{}", response.head);
    assert!(response.body["message"].as_str().unwrap().contains("busy"), "{}", response.body);
    assert!(env.log.lines().iter().any(|line| line.contains("503 busy")));
}
