//! Limits on clients, and shutdown.

use std::time::Duration;

use symbolon::parts::types::ManualClock;
use symbolon::{Context, ManagedIdentityId};
use symbolon_agent::Agent;
use symbolon_emulator::{Emulator, Fault, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{AgentEnv, exchange, identity};

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
    assert!(error.to_string().contains(&address.to_string()), "{error}");
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
    let env = AgentEnv::with(|agent, _| agent.context(Context::default().with_clock(&manual_clock))).await;
    env.emulator.inject(Fault::stall(Step::ImdsToken).once());
    let mut silent = env.connect().await;
    let mut halting = env.connect().await;
    halting.write_all(b"GET /msi/token HTTP/1.1\r\nHost: ").await.unwrap();
    let mut waiting = env.connect().await;
    waiting.write_all(env.request("").as_bytes()).await.unwrap();
    // Wait until the agent has accepted all three and the third request has reached the host.
    while manual_clock.sleepers() < 3 || env.emulator.journal().count(Step::ImdsToken) == 0 {
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
