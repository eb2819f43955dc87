//! A transport as the connections of a client.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt as _, Full};
use symbolon_hyper::OutgoingBody;
use symbolon_transport::{
    LateCertificate, Request, Route, SharedTransport, Transport as _, TransportError, TransportErrorKind,
};
use symbolon_types::ClientIdentity;

use crate::connections::{ConnectionFailure, HttpConnections};

/// A transport as the connections of a client: it sends and receives whole bodies.
#[derive(Clone, Debug)]
pub struct TransportConnections(pub(crate) SharedTransport);

impl HttpConnections for TransportConnections {
    type Body = MapErr<Full<Bytes>, fn(Infallible) -> TransportError>;

    fn renegotiates(&self) -> bool {
        self.0.capabilities().renegotiation()
    }

    async fn send(
        &self,
        request: http::Request<OutgoingBody>,
        identity: Option<&ClientIdentity>,
    ) -> Result<http::Response<Self::Body>, ConnectionFailure> {
        let (head, body) = request.into_parts();
        let is_late = head.extensions.get::<LateCertificate>().is_some();
        let unsent = |error| {
            TransportError::new(TransportErrorKind::Unsupported).with_source(error).with_unprocessed(true)
        };
        let body = body.collect().await.map_err(&unsent)?.to_bytes();
        let request = Request::from_http(http::Request::from_parts(head, body), Route::Public);
        let request = request.map_err(|error| unsent(error.into()))?.with_identity(identity.cloned());
        let response = http::Response::from(self.0.send(request.with_late_certificate(is_late)).await?);
        Ok(response.map(|body| Full::new(body).map_err(never as fn(Infallible) -> TransportError)))
    }

    fn repeats_lost_requests(&self) -> bool {
        true
    }
}

fn never(error: Infallible) -> TransportError {
    match error {}
}
