//! From a request to its answer: which endpoint, which fault, what the journal keeps.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{DATE, HeaderName, RETRY_AFTER, SERVER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::answer::{Answer, AnswerBody, Role};
use crate::calendar::since_epoch;
use crate::connection::Connection;
use crate::entry::{Entry, Outcome};
use crate::exchange::{Exchange, Reply};
use crate::fault::{Effect, Fault};
use crate::jwt::Jws;
use crate::state::State;
use crate::step::Step;
use crate::{csr, host, imds, oauth, resource, token_service};

/// The largest request body that is read.
const REQUEST_LIMIT: usize = 1 << 20;
/// What an oversized answer is larger than: 1 MiB, where clients stop reading.
const ANSWER_LIMIT: usize = 1 << 20;
/// The `Server` header by which a client knows the metadata service (IMDSv2: test vocabulary).
const IMDS_SERVER: &str = "IMDS/150.870.65.1854";

/// Headers that the journal keeps; none of them carries a credential.
const KEPT_HEADERS: &[&str] = &[
    "accept",
    "client-request-id",
    "content-type",
    "host",
    "metadata",
    "return-client-request-id",
    "user-agent",
    "x-client-current-telemetry",
    "x-client-os",
    "x-client-sku",
    "x-client-ver",
    "x-ms-client-request-id",
    "x-ms-lib-capability",
    "x-ms-tokenboundauth",
];
/// Form parameters whose values the journal keeps; of all others only the names.
const KEPT_PARAMETERS: &[&str] = &[
    "claims",
    "client_assertion_type",
    "client_id",
    "fmi_path",
    "grant_type",
    "requested_token_use",
    "resource",
    "scope",
    "token_type",
];

/// Answers one request.
pub(crate) async fn answer(
    request: Request<Incoming>,
    role: Role,
    connection: Arc<Connection>,
    state: Arc<State>,
) -> Answer {
    let at = state.clock.now();
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_LIMIT).collect().await else {
        let mut refused = Response::new(AnswerBody::whole(Bytes::new()));
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return refused;
    };
    let exchange = Exchange::new(&head, body.to_bytes(), connection);
    let step = match role {
        Role::Imds => imds::step(&exchange.path),
        Role::Token => token_service::step(&exchange.path),
        Role::Resource => Step::Resource,
        Role::Hosts => host::step(&exchange.path),
        Role::Fabric => host::fabric_step(&exchange.path),
    };
    let fault = state.script.take(step, at);
    let effect = fault.as_ref().map_or(&Effect::None, |fault| &fault.effect);
    befall(effect, &exchange, &state);
    let scripted = scripted(effect, &exchange, step, &state);
    let is_scripted = scripted.is_some();
    let reply = match scripted {
        Some(reply) => reply,
        None => match role {
            Role::Imds => imds::answer(step, &exchange, effect, &state).await,
            Role::Token => token_service::answer(step, &exchange, effect, &state).await,
            Role::Resource => resource::answer(&exchange, &state).await,
            Role::Hosts | Role::Fabric => host::answer(step, &exchange, effect, &state).await,
        },
    };
    // What a script sends is not a token, whatever it looks like.
    let issued = if is_scripted { None } else { issued(&reply) };
    let reply = deform(reply, effect);

    let outcome = match effect {
        Effect::Reset | Effect::Reboot => Outcome::Reset,
        Effect::Stall => Outcome::Stalled,
        Effect::TornBody => Outcome::Torn(reply.status.as_u16()),
        _ => Outcome::Status(reply.status.as_u16()),
    };
    let entry = entry(&exchange, step, outcome, reply.reason, fault.as_ref(), at);
    state.recorder.record(Entry { issued, ..entry });

    if let Some(fault) = fault.as_ref().filter(|fault| !fault.delay.is_zero()) {
        state.clock.sleep(fault.delay).await;
    }
    match outcome {
        Outcome::Reset => {
            exchange.connection.cut.notify_one();
            pending().await
        }
        Outcome::Stalled => pending().await,
        Outcome::Torn(_) => respond(reply, role, effect, &state, AnswerBody::torn),
        _ => respond(reply, role, effect, &state, AnswerBody::whole),
    }
}

/// What happens to the machine and to certificates before the request is answered.
fn befall(effect: &Effect, exchange: &Exchange, state: &State) {
    match (effect, exchange.connection.certificate()) {
        (Effect::RevokeCertificate, Some(certificate)) => state.revoke(certificate),
        (Effect::RenewCertificate, Some(certificate)) => {
            // What this authority did not issue has no successor; it is revoked all the same.
            let _renewed = state.renew(certificate);
            state.revoke(certificate);
        }
        (Effect::Reboot, _) => state.reboot(),
        _ => {}
    }
}

/// The answer of a fault that takes the endpoint's place.
fn scripted(effect: &Effect, exchange: &Exchange, step: Step, state: &State) -> Option<Reply> {
    let reply = match effect {
        // No endpoint is asked, so that nothing is issued for an answer that never comes.
        Effect::Reset | Effect::Stall | Effect::Reboot => Reply::json(StatusCode::OK, &Value::Null),
        Effect::Status { status, headers, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut reply = Reply { status, headers: HeaderMap::new(), body: body.clone(), reason: None };
            if !body.is_empty() {
                reply = reply.header(http::header::CONTENT_TYPE, "application/json; charset=utf-8");
            }
            with_headers(reply, headers)
        }
        Effect::OAuthError { status, error, codes, headers } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            with_headers(oauth::error(exchange, state, status, error, codes, "Scripted."), headers)
        }
        Effect::ClaimsChallenge(claims) if step == Step::Resource => {
            let challenge =
                resource::challenge(state, "insufficient_claims", "claims_challenge", Some(claims));
            Reply::refusal(
                StatusCode::UNAUTHORIZED,
                "insufficient_claims",
                "claims_challenge",
                "More claims are needed.",
            )
            .header(WWW_AUTHENTICATE, &challenge)
        }
        Effect::ClaimsChallenge(claims) => oauth::claims_challenge(exchange, state, claims),
        Effect::Throttle { per_second } => Reply::refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "throttled",
            &format!("No more than {per_second} requests a second."),
        )
        .header(RETRY_AFTER, "1"),
        _ => return None,
    };
    Some(reply)
}

/// Sets scripted headers in the place of those the reply has.
fn with_headers(mut reply: Reply, headers: &[(String, String)]) -> Reply {
    for (name, value) in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            reply.headers.remove(&name);
            reply = reply.header(name, value);
        }
    }
    reply
}

/// Applies the faults that spoil a right answer.
fn deform(mut reply: Reply, effect: &Effect) -> Reply {
    match effect {
        Effect::OversizedBody => {
            let mut body = reply.body.to_vec();
            body.resize(body.len() + ANSWER_LIMIT + 1, b' ');
            reply.body = body.into();
        }
        Effect::MalformedJson => {
            reply.body.truncate(reply.body.len().saturating_sub(1));
        }
        _ => {}
    }
    reply
}

fn respond(
    reply: Reply,
    role: Role,
    effect: &Effect,
    state: &State,
    body: fn(Bytes) -> AnswerBody,
) -> Answer {
    let mut response = Response::new(body(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    if role == Role::Imds && !matches!(effect, Effect::WithoutServerHeader) && !headers.contains_key(SERVER) {
        headers.insert(SERVER, http::HeaderValue::from_static(IMDS_SERVER));
    }
    // The emulator's time, not the machine's, which hyper would put here.
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch(state.clock.now()));
    if let Ok(date) = http::HeaderValue::from_str(&date) {
        headers.entry(DATE).or_insert(date);
    }
    response
}

fn entry(
    exchange: &Exchange,
    step: Step,
    outcome: Outcome,
    reason: Option<&'static str>,
    fault: Option<&Fault>,
    at: std::time::SystemTime,
) -> Entry {
    let kept = |name: &&'static str| exchange.header(name).map(|value| (*name, value.to_owned()));
    let issuance = (step == Step::IssueCredential).then(|| imds::IssuanceRequest::read(exchange)).flatten();
    Entry {
        sequence: 0,
        at,
        connection: exchange.connection.number,
        step,
        method: exchange.method.to_string(),
        target: exchange.target.clone(),
        query: exchange.query.clone(),
        headers: KEPT_HEADERS.iter().filter_map(kept).collect(),
        authorization: exchange.header("authorization").map(scheme),
        form: if matches!(step, Step::Token | Step::CloudShell) {
            without_secrets(exchange.form())
        } else {
            Vec::new()
        },
        attested: issuance.as_ref().is_some_and(|request| request.attestation_token),
        csr: issuance.and_then(|request| csr::decode(&request.csr).ok()),
        tls: exchange.connection.tls,
        outcome,
        fault: fault.map(|fault| fault.effect.name()),
        reason,
        issued: None,
    }
}

/// The claims of the token in an answer.
fn issued(reply: &Reply) -> Option<Value> {
    if reply.status != StatusCode::OK {
        return None;
    }
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(Jws::parse(body["access_token"].as_str()?)?.unverified_claims().clone())
}

fn scheme(authorization: &str) -> &'static str {
    let scheme = authorization.split(' ').next().unwrap_or_default();
    ["Bearer", "mtls_pop", "Basic"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))
        .unwrap_or("other")
}

fn without_secrets(form: Vec<(String, String)>) -> Vec<(String, Option<String>)> {
    let keep = |(name, value): (String, String)| {
        let value = KEPT_PARAMETERS.contains(&name.as_str()).then_some(value);
        (name, value)
    };
    form.into_iter().map(keep).collect()
}
