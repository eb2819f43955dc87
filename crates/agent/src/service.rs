//! The service: authorizes, reads and answers one request.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use symbolon::SharedClock;
use symbolon_server::{
    ClientConnection, Handler, Peer, RequestBody, ResponseFuture, ServerBody, StatusEndpoints, StatusReader,
    TransferCodingError, server_body,
};

use crate::guard::RequestGuard;
use crate::policy::Policy;
use crate::query::TokenQuery;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::response::{self, AgentResponse};

/// The path of App Service's token endpoint.
pub(crate) const TOKEN_PATH: &str = "/msi/token";
const HEALTH_PATH: &str = "/healthz";

/// The callback that receives the record of every request.
pub(crate) type Observer = Box<dyn Fn(&Record) + Send + Sync>;

/// The state that all connections share.
pub(crate) struct AgentService {
    pub(crate) guard: RequestGuard,
    pub(crate) policy: Arc<Policy>,
    pub(crate) status: Arc<StatusEndpoints>,
    pub(crate) clock: SharedClock,
    pub(crate) observer: Observer,
}

impl Handler for AgentService {
    /// Answers one request and reports it to the observer. Only a request with the secret keeps its
    /// connection open.
    fn respond(
        self: Arc<Self>,
        request: Request<RequestBody>,
        connection: &Arc<ClientConnection>,
    ) -> ResponseFuture {
        let connection = Arc::clone(connection);
        Box::pin(async move {
            let mut resource = None;
            let response =
                self.handle(request, &connection, &mut resource).await.unwrap_or_else(|rejection| {
                    (self.observer)(&Record::rejected(connection.peer(), resource.as_deref(), &rejection));
                    response::rejection(&rejection)
                });
            response.map(server_body)
        })
    }

    fn refuse(&self, error: TransferCodingError, peer: Peer) -> Response<ServerBody> {
        let message = format!("Transfer-Encoding is refused: {error}; send a GET request without a body");
        let rejection = Rejection::new(error.status(), "transfer_encoding", message);
        (self.observer)(&Record::rejected(peer, None, &rejection));
        response::rejection(&rejection).map(server_body)
    }
}

impl AgentService {
    /// Answers one request. `resource` is set as soon as it is known.
    async fn handle(
        &self,
        request: Request<RequestBody>,
        connection: &ClientConnection,
        resource: &mut Option<String>,
    ) -> Result<AgentResponse, Rejection> {
        let (head, body) = request.into_parts();
        self.guard.check_host(&head)?;
        let path = head.uri.path();
        if ![TOKEN_PATH, HEALTH_PATH].contains(&path) && !StatusEndpoints::has_path(path) {
            let message = "Unknown path: use the URL in IDENTITY_ENDPOINT";
            return Err(Rejection::new(StatusCode::NOT_FOUND, "path", message));
        }
        if head.method != Method::GET {
            return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Only GET is allowed"));
        }
        if !body.is_end_stream() {
            let message = "A GET request must not have a body";
            return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "body", message));
        }
        if path == HEALTH_PATH {
            return Ok(response::healthy());
        }
        if StatusEndpoints::has_path(path) {
            let is_client = self.guard.check_secret(&head.headers).is_ok();
            let reader = if is_client { StatusReader::Client } else { StatusReader::Anyone };
            return Ok(self.status.respond(&head, reader).await);
        }
        self.guard.check_secret(&head.headers)?;
        connection.authenticate().await.map_err(|_busy| busy())?;
        let query = TokenQuery::parse(head.uri.query().unwrap_or_default())?;
        let resource = resource.insert(query.resource.clone());
        let identity = self.policy.authorize(&query)?;
        let token = self.policy.token(identity, resource).await?;
        (self.observer)(&Record::served(connection.peer(), resource, &token, self.clock.now()));
        Ok(response::token(&token, resource))
    }
}

fn busy() -> Rejection {
    let message = "The agent is busy: too many requests are waiting for a response; try again";
    let mut rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
    rejection.retry_after = Some(Duration::from_secs(1));
    rejection
}
