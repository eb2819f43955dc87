//! From connections to answers.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use symbolon::SharedClock;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::agent::{Observer, PATH};
use crate::answer::{self, Answer};
use crate::ask::Ask;
use crate::connection::converse;
use crate::gate::Gate;
use crate::listener::Listener;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::{Peer, Record};

const HEALTH: &str = "/healthz";
/// The most connections at a time; more wait.
const CONNECTIONS: usize = 256;
/// How long requests that are being answered may take at the end.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be taken, for want of file descriptors perhaps.
const BREATHER: Duration = Duration::from_millis(100);

/// What it takes to answer a request.
pub(crate) struct Desk {
    pub(crate) gate: Gate,
    pub(crate) policy: Policy,
    pub(crate) clock: SharedClock,
    pub(crate) observer: Observer,
}

/// Serves until it is told to stop, and then until the last answer.
pub(crate) async fn serve(listener: Listener, desk: Arc<Desk>, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            // An error: the agent is gone, and so is the need to serve.
            _told = stopped.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (desk, stopped) = (Arc::clone(&desk), stopped.clone());
                connections.spawn(async move {
                    converse(stream, peer, desk, stopped).await;
                    drop(slot);
                });
            }
            Err(_) => desk.clock.sleep(BREATHER).await,
        }
    }
    // Nobody connects to what is going away.
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = desk.clock.sleep(GRACE) => {}
    }
}

impl Desk {
    /// Answers one request, and tells what became of it.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        let mut resource = None;
        match self.serve(&request, peer, &mut resource).await {
            Ok(answer) => answer,
            Err(refusal) => {
                (self.observer)(&Record::refused(peer, resource.as_deref(), &refusal));
                answer::refusal(&refusal)
            }
        }
    }

    async fn serve(
        &self,
        request: &Request<Incoming>,
        peer: Peer,
        resource: &mut Option<String>,
    ) -> Result<Answer, Refusal> {
        self.gate.check_host(request.uri(), request.headers())?;
        let path = request.uri().path();
        if ![PATH, HEALTH].contains(&path) {
            let message = "There is nothing here: the endpoint is in IDENTITY_ENDPOINT";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "path", message));
        }
        if request.method() != Method::GET {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Only GET is allowed"));
        }
        if !request.body().is_end_stream() {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body", "A GET has no body"));
        }
        if path == HEALTH {
            return Ok(answer::healthy());
        }
        self.gate.check_secret(request.headers())?;
        let ask = Ask::read(request.uri().query().unwrap_or_default())?;
        let resource = resource.insert(ask.resource.clone());
        let identity = self.policy.permits(&ask)?;
        let token = self.policy.token(identity, resource).await?;
        (self.observer)(&Record::served(peer, resource, &token, self.clock.now()));
        Ok(answer::token(&token, resource))
    }
}
