//! The service: authorizes, reads and answers one request.

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use symbolon::SharedClock;

use crate::guard::RequestGuard;
use crate::limits::ConnectionSlot;
use crate::policy::Policy;
use crate::query::TokenQuery;
use crate::record::{Peer, Record};
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
    pub(crate) policy: Policy,
    pub(crate) clock: SharedClock,
    pub(crate) observer: Observer,
}

impl AgentService {
    /// Answers one request and reports it to the observer. Only a request with the secret keeps its
    /// connection open.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        slot: &ConnectionSlot,
    ) -> AgentResponse {
        let mut progress = RequestProgress::default();
        let mut response = match self.handle(&request, peer, slot, &mut progress).await {
            Ok(response) => response,
            Err(rejection) => {
                let resource = progress.resource.as_deref();
                (self.observer)(&Record::rejected(peer, resource, &rejection));
                response::rejection(&rejection)
            }
        };
        if !progress.is_authenticated || slot.is_wanted() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn handle(
        &self,
        request: &Request<Incoming>,
        peer: Peer,
        slot: &ConnectionSlot,
        progress: &mut RequestProgress,
    ) -> Result<AgentResponse, Rejection> {
        self.guard.check_host(request.uri(), request.headers())?;
        let path = request.uri().path();
        if ![TOKEN_PATH, HEALTH_PATH].contains(&path) {
            let message = "Unknown path: use the URL in IDENTITY_ENDPOINT";
            return Err(Rejection::new(StatusCode::NOT_FOUND, "path", message));
        }
        if request.method() != Method::GET {
            return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Only GET is allowed"));
        }
        if !request.body().is_end_stream() {
            let message = "A GET request must not have a body";
            return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "body", message));
        }
        if path == HEALTH_PATH {
            return Ok(response::healthy());
        }
        self.guard.check_secret(request.headers())?;
        slot.authenticate().await?;
        progress.is_authenticated = true;
        let query = TokenQuery::parse(request.uri().query().unwrap_or_default())?;
        let resource = progress.resource.insert(query.resource.clone());
        let identity = self.policy.authorize(&query)?;
        let token = self.policy.token(identity, resource).await?;
        (self.observer)(&Record::served(peer, resource, &token, self.clock.now()));
        Ok(response::token(&token, resource))
    }
}

/// The facts about a request that are known before its response.
#[derive(Default)]
struct RequestProgress {
    is_authenticated: bool,
    resource: Option<String>,
}
