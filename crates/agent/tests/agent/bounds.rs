//! What a client can hold, and how the agent ends.

use std::time::Duration;

use symbolon::parts::types::ManualClock;
use symbolon::{Context, ManagedIdentityId};
use symbolon_agent::Agent;
use symbolon_emulator::{Emulator, Fault, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{World, exchange, identity};

#[tokio::test(flavor = "current_thread")]
async fn addresses_that_other_machines_reach_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"] {
        let agent = Agent::builder(identity(&emulator, ManagedIdentityId::system_assigned()));
        let error = agent.listen(address.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.code(), "invalid_configuration", "{address}");
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let world = World::new().await;
    let address = world.agent.address().unwrap();
    let agent = Agent::builder(identity(&world.emulator, ManagedIdentityId::system_assigned()));
    let error = agent.listen(address).await.unwrap_err();
    assert_eq!(error.code(), "local_error");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn headers_are_bounded_in_size_and_in_number() {
    let world = World::new().await;
    let large = world.request("").replace("Connection", &format!("X: {}\r\nConnection", "x".repeat(20_000)));
    let many = world.request("").replace("Connection", &format!("{}Connection", "X: y\r\n".repeat(100)));
    for request in [large, many] {
        let answer = exchange(world.connect().await, &request).await;
        assert_eq!(answer.status, 431, "{}", answer.head);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_connection_without_a_request_is_closed_and_one_with_a_slow_answer_is_not() {
    let hands = ManualClock::new();
    let world = World::with(|agent, _| agent.context(Context::default().with_clock(&hands))).await;
    world.emulator.inject(Fault::stall(Step::ImdsToken).once());
    let mut silent = world.connect().await;
    let mut halting = world.connect().await;
    halting.write_all(b"GET /msi/token HTTP/1.1\r\nHost: ").await.unwrap();
    let mut waiting = world.connect().await;
    waiting.write_all(world.request("").as_bytes()).await.unwrap();
    // Until the agent has all three, and has asked the host for the third.
    while hands.sleepers() < 3 || world.emulator.journal().count(Step::ImdsToken) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        hands.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut halting] {
        // Closed, or reset where something was left unread.
        let _ended = stream.read_to_end(&mut rest).await;
    }
    assert!(rest.is_empty());
    assert!(waiting.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "current_thread")]
async fn stopping_answers_what_was_asked_and_takes_nothing_more() {
    let world = World::new().await;
    let address = world.agent.address().unwrap();
    // An idle connection holds nothing up.
    let mut idle = world.connect().await;
    let answer = world.send(&world.request("")).await;
    assert_eq!(answer.status, 200);
    world.agent.stop().await;
    let mut rest = Vec::new();
    let _ended = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_the_host_is_answered_before_the_agent_is_gone() {
    let world = World::new().await;
    world.emulator.inject(Fault::delay(Step::ImdsToken, Duration::from_millis(300)).once());
    let (request, stream) = (world.request(""), world.connect().await);
    let asking = tokio::spawn(async move { exchange(stream, &request).await });
    while world.emulator.journal().count(Step::ImdsToken) == 0 {
        tokio::task::yield_now().await;
    }
    world.agent.stop().await;
    assert_eq!(asking.await.unwrap().status, 200);
}
