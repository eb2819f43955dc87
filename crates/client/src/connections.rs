//! The interface between the client and the connections on which it sends.

use std::fmt;

use bytes::Bytes;
use http_body::Body;
use symbolon_hyper::{Connections, OutgoingBody, ResponseBody, SendFailure};
use symbolon_transport::{TransportError, TransportErrorKind};
use symbolon_types::ClientIdentity;

/// Connections on which a [`Client`](crate::Client) sends its requests: [`Connections`], or those
/// of another HTTP library.
///
/// # Contract
/// - A request with an identity is sent only on a connection that presented it in the TLS
///   handshake, and one without an identity only on a connection that presented none. Connections
///   that [renegotiate](Self::renegotiates) may present it later, where the request permits it; a
///   success without it is an error.
/// - A request is sent once, unless nothing of it was written. Redirects are returned.
/// - Dropping the future cancels the request, and so does dropping the response, whose end is the
///   end of the request. [`UploadBody`](symbolon_hyper::UploadBody) stops an upload.
pub trait HttpConnections: fmt::Debug + Send + Sync + 'static {
    /// The body of a response.
    type Body: Body<Data = Bytes, Error = TransportError> + Send + Unpin + 'static;

    /// Returns true if the certificate can be presented after the handshake, where a request has
    /// the extension [`LateCertificate`](symbolon_transport::LateCertificate). Default: false.
    fn renegotiates(&self) -> bool {
        false
    }

    /// Sends a request with an absolute URI, and receives the head of the response.
    fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, ConnectionFailure>> + Send;

    /// Closes the connections of a certificate that was replaced, each once it has no request.
    /// Default: nothing happens, and they close when they have been idle for too long.
    fn drain(&self, _identity: &ClientIdentity) {}

    /// Returns true if a request whose connection was lost has been sent again already, where that
    /// is permitted. Default: false.
    fn repeats_lost_requests(&self) -> bool {
        false
    }
}

/// The failure of a request on a connection.
#[derive(Clone, Debug)]
pub struct ConnectionFailure {
    pub(crate) error: TransportError,
    pub(crate) is_lost_with_identity: bool,
}

impl ConnectionFailure {
    /// Declares that a new connection was lost without an alert, after the server could have seen
    /// the certificate and before it responded. Some servers refuse a certificate in this way.
    #[must_use]
    pub fn lost_with_identity(error: TransportError) -> Self {
        Self { error, is_lost_with_identity: true }
    }

    /// Returns true if the server refused the certificate with an alert.
    pub(crate) fn is_identity_rejected(&self) -> bool {
        self.error.kind() == TransportErrorKind::IdentityRejected
    }
}

/// Another failure. The error states whether the server has provably not processed the request.
impl From<TransportError> for ConnectionFailure {
    fn from(error: TransportError) -> Self {
        Self { error, is_lost_with_identity: false }
    }
}

impl From<SendFailure> for ConnectionFailure {
    fn from(failure: SendFailure) -> Self {
        let error = failure.error.with_unprocessed(failure.is_unprocessed);
        Self { error, is_lost_with_identity: failure.is_lost_with_identity }
    }
}

impl HttpConnections for Connections {
    type Body = ResponseBody;

    fn renegotiates(&self) -> bool {
        Self::renegotiates(self)
    }

    async fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<ResponseBody>, ConnectionFailure> {
        Self::send(self, request, identity).await.map_err(Into::into)
    }

    fn drain(&self, identity: &ClientIdentity) {
        Self::drain(self, identity);
    }
}
