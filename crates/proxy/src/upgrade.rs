//! Connections that switch to another protocol (RFC 9110 §7.8), such as WebSocket.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Copies octets both ways until both sides have ended, or one has failed.
pub(crate) async fn tunnel(client: OnUpgrade, resource: OnUpgrade) {
    // An error means that one of the connections has ended, which ends the other as well.
    if let (Ok(client), Ok(resource)) = (client.await, resource.await) {
        let _copied = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(resource)).await;
    }
}
