//! DATA: gRPC with tonic.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use symbolon_tests::RESOURCE;
use tokio::sync::mpsc;
use tonic::Streaming;

use self::codec::BytesCodec;
use crate::resource_server::{HTTP2, Reaction, ResourceServer};
use crate::test_env::TestEnv;

/// The messages of the example.
#[path = "../../../crates/symbolon/examples/tonic/codec.rs"]
pub(crate) mod codec;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Starts a call that streams both ways.
async fn start(
    client: symbolon::Client,
    url: &str,
) -> (mpsc::UnboundedSender<&'static str>, Streaming<Bytes>) {
    let mut grpc = tonic::client::Grpc::with_origin(client, url.parse().unwrap());
    grpc.ready().await.unwrap();
    let (parts, receiver) = mpsc::unbounded_channel();
    let messages =
        stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<&'static str>| async move {
            Some((Bytes::from(receiver.recv().await?), receiver))
        });
    let method = PathAndQuery::from_static("/symbolon.Example/Echo");
    let response = grpc.streaming(tonic::Request::new(messages), method, BytesCodec).await.unwrap();
    (parts, response.into_inner())
}

#[tokio::test]
async fn data_34_grpc_streams_across_a_rotation() {
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(HOUR).token_not_after(None).token_lifetime(HOUR)
    })
    .await;
    let server = ResourceServer::start(HTTP2).await;
    server.script([Reaction::EchoGrpc; 2]);
    let identity = test_env.identity();
    let connections = crate::data::connections(&test_env, Some(&server)).build().unwrap();
    let client = identity.client(RESOURCE).proof_of_possession().connections(connections).build().unwrap();

    let (parts, mut replies) = start(client.clone(), server.url()).await;
    for part in ["first", "second"] {
        parts.send(part).unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), part);
    }
    let before = test_env.last_certificate();
    for _ in 0..5 {
        test_env.manual_clock.advance(HOUR / 5);
        test_env.bound_token(&identity).await;
        // A renewal in the background needs the test to wait.
        symbolon::SharedClock::system().sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(test_env.bound_token(&identity).await.bound_to().unwrap().thumbprint(), before);

    let (next_parts, mut next_replies) = start(client, server.url()).await;
    for (parts, replies) in [(&parts, &mut replies), (&next_parts, &mut next_replies)] {
        parts.send("after the rotation").unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), "after the rotation");
    }
    drop((parts, next_parts));
    assert!(replies.message().await.unwrap().is_none() && next_replies.message().await.unwrap().is_none());
    let received = server.received();
    assert_eq!(received[0].certificate, Some(before));
    assert_ne!(received[1].certificate, Some(before));
    assert!(received.iter().all(|request| request.scheme() == Some("mtls_pop")));
}
