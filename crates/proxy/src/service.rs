//! The service: accepts, sends and answers one request.

use std::sync::{Arc, PoisonError, RwLock};

use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use symbolon_server::{
    ClientConnection, Handler, Peer, RESERVED_PREFIX, RequestBody, ResponseFuture, ServerBody,
    StatusEndpoints, StatusReader, TransferCodingError, server_body,
};

use crate::access::Access;
use crate::failure::ProxyFailure;
use crate::headers;
use crate::record::ProxyRecord;
use crate::route::RouteTable;
use crate::trailers::CleanTrailers;
use crate::upgrade::tunnel;

/// The maximum size of the header fields of a request. Azure's services accept less.
const MAX_HEADERS_SIZE: usize = 64 * 1024;

/// The callback that receives a record of every error of the proxy.
pub(crate) type Observer = Box<dyn Fn(&ProxyRecord) + Send + Sync>;

/// The state that all connections share.
pub(crate) struct ProxyService {
    pub(crate) state: CurrentState,
    pub(crate) status: Arc<StatusEndpoints>,
    pub(crate) observer: Observer,
}

/// The part of the state that can be replaced.
pub(crate) struct ProxyState {
    pub(crate) access: Access,
    pub(crate) routes: RouteTable,
}

/// A state that can be replaced. Clones share it.
#[derive(Clone)]
pub(crate) struct CurrentState(Arc<RwLock<Arc<ProxyState>>>);

impl CurrentState {
    pub(crate) fn new(state: ProxyState) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(state))))
    }

    pub(crate) fn get(&self) -> Arc<ProxyState> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the state. Requests under way end with the old one.
    pub(crate) fn replace(&self, state: ProxyState) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

impl ProxyService {
    async fn handle(
        &self,
        request: Request<RequestBody>,
        connection: &ClientConnection,
    ) -> Result<Response<ServerBody>, ProxyFailure> {
        let state = self.state.get();
        let (mut head, body) = request.into_parts();
        state.access.check_host(&head)?;
        let access = state.access.check_client(connection.peer(), &head);
        if head.uri.path().starts_with(RESERVED_PREFIX) && StatusEndpoints::has_path(head.uri.path()) {
            let reader = if access.is_ok() { StatusReader::Client } else { StatusReader::Anyone };
            return Ok(self.status.respond(&head, reader).await.map(server_body));
        }
        access?;
        connection.authenticate().await.map_err(|_busy| ProxyFailure::busy())?;
        if headers::size(&head.headers) > MAX_HEADERS_SIZE {
            return Err(ProxyFailure::head_too_large(MAX_HEADERS_SIZE));
        }
        // A successful response would end HTTP on the connection (RFC 9110 §9.3.6).
        if head.method == Method::CONNECT {
            return Err(ProxyFailure::invalid_target());
        }
        let (route, url) = state.routes.find(&head.uri)?;
        let upgrade = headers::requested_upgrade(&head.headers, head.version);
        let upgrade = route.upgrade_client.as_ref().zip(upgrade);
        headers::clean_request(&mut head.headers);
        head.uri = url;
        let (client, on_upgrade) = match upgrade {
            Some((client, protocol)) => {
                headers::add_upgrade(&mut head.headers, protocol);
                (client, head.extensions.remove::<OnUpgrade>())
            }
            None => (&route.client, None),
        };
        head.extensions.clear();
        let body = CleanTrailers::new(body, headers::clean_request_trailers);
        let mut response = client.send(Request::from_parts(head, body)).await?;
        TransferCodingError::check(response.headers()).map_err(ProxyFailure::unexpected_coding)?;
        let protocol = response.headers().get(UPGRADE).cloned();
        headers::clean_response(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(protocol), Some(on_upgrade)) = (protocol, on_upgrade) else {
                return Err(ProxyFailure::unexpected_upgrade());
            };
            headers::add_upgrade(response.headers_mut(), protocol);
            connection.continue_with(tunnel(on_upgrade, hyper::upgrade::on(&mut response)));
        }
        Ok(response.map(|body| server_body(CleanTrailers::new(body, headers::clean_response))))
    }
}

impl Handler for ProxyService {
    fn respond(
        self: Arc<Self>,
        request: Request<RequestBody>,
        connection: &Arc<ClientConnection>,
    ) -> ResponseFuture {
        let connection = Arc::clone(connection);
        let is_grpc = headers::is_grpc(request.headers());
        Box::pin(async move {
            self.handle(request, &connection).await.unwrap_or_else(|failure| {
                (self.observer)(&ProxyRecord::new(connection.peer(), &failure));
                failure.response(is_grpc).map(server_body)
            })
        })
    }

    fn refuse(&self, error: TransferCodingError, peer: Peer) -> Response<ServerBody> {
        let failure = ProxyFailure::transfer_encoding(error);
        (self.observer)(&ProxyRecord::new(peer, &failure));
        failure.response(false).map(server_body)
    }

    fn is_trusted(&self, peer: Peer) -> bool {
        self.state.get().access.trusts(peer)
    }
}
