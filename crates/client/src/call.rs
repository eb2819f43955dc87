//! One call: token, connection, and the reasons to send the request again.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use symbolon_hyper::OutgoingBody;
use symbolon_token::{Token, claims_challenge};
use symbolon_transport::{LateCertificate, PhaseCell, TransportErrorKind, timeout};
use symbolon_types::{Error, Event, RefusalEvent, RefusingParty};
use tracing::Instrument as _;

use crate::body::LimitedBody;
use crate::connections::{ConnectionFailure, HttpConnections};
use crate::destination::Destination;
use crate::replay::ReplayableBody;
use crate::settings::ClientSettings;
use crate::{failure, retries, span};

/// The maximum number of times that a request is sent again because the server certainly did not
/// process it, such as after GOAWAY. Each time is harmless; the limit is for a server that never
/// processes it.
const UNPROCESSED_LIMIT: u32 = 3;
/// The largest body of a response that is read to its end, to keep its connection, before the
/// request is sent again.
const DRAIN_LIMIT: u64 = 64 * 1024;
/// The time limit for that.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The token of a call.
pub(crate) enum CallToken {
    /// One of the provider.
    OfProvider,
    /// The caller's.
    Given(Token),
    /// None: the request is anonymous.
    None,
}

/// One call.
pub(crate) struct Call<C> {
    settings: Arc<ClientSettings<C>>,
    destination: Destination,
    span: tracing::Span,
    head: Parts,
    body: ReplayableBody,
    /// The first token is one of the provider.
    is_of_provider: bool,
    /// `None` for an anonymous request, and before the first token of the provider.
    token: Option<Token>,
    /// The token is the caller's. Only one of the same owner replaces it.
    is_given: bool,
    /// The claims of the challenge that was answered.
    claims: Option<String>,
    was_refused: bool,
    was_lost_with_identity: bool,
    /// The number of repetitions after the server may have processed the request.
    lost: u32,
    /// The number of repetitions after the server certainly did not process it.
    unprocessed: u32,
    retries: u32,
    /// The number of times that the request was sent again.
    resent: u32,
}

impl<C: HttpConnections> Call<C> {
    /// Creates a call, unless its URL is refused.
    pub(crate) fn new(
        settings: Arc<ClientSettings<C>>,
        token: CallToken,
        request: http::Request<OutgoingBody>,
    ) -> Result<Self, Error> {
        let destination = Destination::of(request.uri())?;
        settings.check_host(&destination)?;
        let (mut head, body) = request.into_parts();
        for (name, value) in &settings.headers {
            head.headers.entry(name).or_insert_with(|| value.clone());
        }
        let is_anonymous = matches!(token, CallToken::None);
        if is_anonymous {
            head.headers.remove(AUTHORIZATION);
        }
        let is_of_provider = matches!(token, CallToken::OfProvider);
        let token = match token {
            CallToken::Given(token) => Some(token),
            CallToken::OfProvider | CallToken::None => None,
        };
        Ok(Self {
            span: span::of_call(&head.method, &destination, !is_anonymous && settings.proof_of_possession),
            body: ReplayableBody::new(body, settings.replay_limit, settings.context.clock().clone()),
            settings,
            destination,
            head,
            is_of_provider,
            is_given: token.is_some(),
            token,
            claims: None,
            was_refused: false,
            was_lost_with_identity: false,
            lost: 0,
            unprocessed: 0,
            retries: 0,
            resent: 0,
        })
    }

    /// Sends the request, again where necessary.
    pub(crate) async fn run(&mut self) -> Result<Response<LimitedBody<C::Body>>, Error> {
        let span = self.span.clone();
        let result = self.run_attempts().instrument(span).await;
        span::record(&self.span, result.as_ref().map(Response::status), self.resent);
        result
    }

    async fn run_attempts(&mut self) -> Result<Response<LimitedBody<C::Body>>, Error> {
        if self.is_of_provider {
            self.token = Some(self.settings.token(None).await?);
        }
        loop {
            let again = match self.attempt().await? {
                Ok(response) if !self.may_repeat_after(&response) => return Ok(response),
                Ok(response) => match Box::pin(self.after_response(response)).await? {
                    Some(response) => return Ok(response),
                    None => "a response",
                },
                Err(failure) => {
                    Box::pin(self.after_failure(failure)).await?;
                    "a failure"
                }
            };
            self.resent += 1;
            tracing::debug!(resent = self.resent, after = again, "sending the request again");
        }
    }

    /// Sends the request once.
    async fn attempt(&self) -> Result<Result<Response<LimitedBody<C::Body>>, ConnectionFailure>, Error> {
        let body = self.body.attempt().boxed_unsync();
        let mut request = http::Request::from_parts(self.head.clone(), body);
        if let Some(token) = &self.token {
            request = token.authorize_http(request)?;
        }
        let phase = PhaseCell::new();
        request.extensions_mut().insert(phase.clone());
        let is_bound = self.token.as_ref().is_some_and(|token| token.bound_to().is_some());
        if is_bound && self.settings.late_certificate.prepare(request.headers_mut()) {
            tracing::debug!("the resource may request the certificate late, after x-ms-tokenboundauth: true");
            request.extensions_mut().insert(LateCertificate::permitted());
        }
        let identity = self.token.as_ref().and_then(Token::bound_to);
        identity.inspect(|identity| self.settings.follow(identity));
        let sending = pin!(self.settings.connections.send(request, identity));
        let Some(result) = self.until_deadline(sending).await else {
            let may_repeat = self.head.method.is_idempotent();
            let (deadline, phase) = (self.settings.deadline, phase.phase());
            return Err(failure::deadline_exceeded(&self.destination, deadline, phase, may_repeat));
        };
        let limits = self.settings.body_limits;
        let clock = || self.settings.context.clock().clone();
        Ok(result.map(|response| response.map(|body| LimitedBody::new(body, limits, clock()))))
    }

    /// Returns the output of a future, or `None` after the deadline, which begins anew with each
    /// frame of the request body.
    async fn until_deadline<F: Future>(&self, mut sending: Pin<&mut F>) -> Option<F::Output> {
        let clock = self.settings.context.clock();
        let deadline = self.settings.deadline;
        let mut left = deadline;
        loop {
            if let Some(result) = timeout(clock, left, sending.as_mut()).await {
                return Some(result);
            }
            let since_read = clock.timer_now().since(self.body.last_read());
            left = deadline.saturating_sub(since_read);
            if left.is_zero() {
                return None;
            }
        }
    }

    /// Returns true if the request may have to be sent again because of the response.
    fn may_repeat_after(&self, response: &Response<LimitedBody<C::Body>>) -> bool {
        !response.status().is_success() && self.body.can_replay()
    }

    /// Returns the response, unless the request must be sent again because of it.
    async fn after_response(
        &mut self,
        response: Response<LimitedBody<C::Body>>,
    ) -> Result<Option<Response<LimitedBody<C::Body>>>, Error> {
        if response.status() == StatusCode::UNAUTHORIZED
            && self.token.is_some()
            && self.claims.is_none()
            && let Some(claims) = claims_challenge(response.headers())
        {
            let answer = self.settings.token(Some(&claims)).await;
            self.claims = Some(claims);
            match answer {
                Ok(token) if self.may_use(&token) && self.body.rewind() => self.token = Some(token),
                Ok(_) => return Ok(Some(response)),
                Err(error) if error.code() == "claims_not_supported" => {
                    tracing::debug!("the source of the token does not take the claims of the resource");
                    return Ok(Some(response));
                }
                Err(error) => return Err(error),
            }
            self.drain(response).await;
            return Ok(None);
        }
        let settings = &self.settings;
        if self.retries < settings.retries
            && self.head.method.is_idempotent()
            && let Some(delay) =
                retries::delay(self.retries, response.status(), response.headers(), &settings.context)
            && self.body.rewind()
        {
            self.retries += 1;
            self.drain(response).await;
            settings.context.clock().sleep(delay).await;
            if self.token.is_some() {
                let token = settings.token(None).await?;
                if self.may_use(&token) {
                    self.token = Some(token);
                }
            }
            return Ok(None);
        }
        Ok(Some(response))
    }

    /// Returns true if a token may take the place of the present one. A token that the caller gave
    /// is not replaced by that of another client or user.
    fn may_use(&self, token: &Token) -> bool {
        let owner = |token: &Token| {
            (
                token.client_id().map(str::to_owned),
                token.tenant_id().map(str::to_owned),
                token.account().cloned(),
            )
        };
        !self.is_given || self.token.as_ref().map(owner) == Some(owner(token))
    }

    /// Reads a small body, so that its connection can be used again.
    async fn drain(&self, response: Response<LimitedBody<C::Body>>) {
        let mut body = response.into_body();
        if body.size_hint().upper().is_some_and(|size| size <= DRAIN_LIMIT) {
            let drained = async { while let Some(Ok(_)) = body.frame().await {} };
            let _is_drained = timeout(self.settings.context.clock(), DRAIN_TIME, drained).await;
        }
    }

    /// Returns the error, unless the request must be sent again (RFC 9110 §9.2.2).
    async fn after_failure(&mut self, failure: ConnectionFailure) -> Result<(), Error> {
        if let Some(cause) = self.body.take_failure() {
            return Err(failure::request_body_failed(&self.destination, cause));
        }
        let may_repeat = failure.error.is_unprocessed() || self.head.method.is_idempotent();
        // Some servers refuse a certificate by closing the connection. One loss can be an accident.
        let is_refused =
            failure.is_identity_rejected() || failure.is_lost_with_identity && self.was_lost_with_identity;
        self.was_lost_with_identity = failure.is_lost_with_identity;
        if let Some(token) = self.token.as_ref().filter(|_| is_refused) {
            if !self.was_refused {
                self.was_refused = true;
                let has_successor = self.settings.provider.certificate_refused_erased(token).await;
                tracing::warn!(
                    server.address = self.destination.host,
                    has_successor,
                    "the resource refused the client certificate"
                );
                let refusal = || Event::Refusal(RefusalEvent::new(RefusingParty::Resource, has_successor));
                self.settings.context.observer().emit(refusal);
                if has_successor && may_repeat && self.body.can_replay() {
                    let token = self.settings.token(self.claims.as_deref()).await?;
                    if self.may_use(&token) && self.body.rewind() {
                        self.token = Some(token);
                        return Ok(());
                    }
                }
            }
            return Err(failure::certificate_refused(failure.error, &self.destination));
        }
        let is_lost = match failure.error.kind() {
            TransportErrorKind::Interrupted => true,
            TransportErrorKind::Protocol => failure.error.is_unprocessed(),
            _ => false,
        };
        let (count, limit) = match failure.error.is_unprocessed() {
            true => (&mut self.unprocessed, UNPROCESSED_LIMIT),
            false => (&mut self.lost, 1),
        };
        if is_lost
            && may_repeat
            && !self.settings.connections.repeats_lost_requests()
            && *count < limit
            && self.body.rewind()
        {
            *count += 1;
            return Ok(());
        }
        Err(failure::send_failed(failure.error, &self.destination, may_repeat))
    }
}
