//! The processing of a request: endpoint, fault, journal and response.

use std::future::pending;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER, SERVER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::calendar::since_epoch;
use crate::faults::{Fault, FaultEffect, FaultLimit};
use crate::journal::{EntryOutcome, JournalEntry};
use crate::pki::csr;
use crate::protocol::{
    CompactJws, ParsedRequest, Reply, ResponseBody, Server, Step, StreamedBody, token_error,
};
use crate::state::{EmulatorState, TrackedConnection};

use crate::services::{hosts, imds, resource, token};

/// The largest request body that is read.
const REQUEST_LIMIT: usize = 1 << 20;
/// The size that an oversized body exceeds: clients stop reading at 1 MiB
/// (docs/protocol/sources.md#requests-and-answers).
const BODY_LIMIT: usize = 1 << 20;
/// The `Server` header by which clients recognize the metadata service
/// (docs/protocol/imdsv2.md#platform-metadata).
const IMDS_SERVER: &str = "IMDS/150.870.65.1854";

/// The headers in the journal. None of them carries a credential.
const JOURNAL_HEADERS: &[&str] = &[
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
/// The form parameters whose values are in the journal. Of all others it contains the names.
const JOURNAL_PARAMETERS: &[&str] = &[
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

/// Processes one request that follows the stream `previous` of its connection. An error resets the
/// stream in HTTP/2, and closes the connection in HTTP/1.1.
pub(super) async fn respond(
    request: Request<Incoming>,
    previous: u32,
    server: Server,
    connection: Arc<TrackedConnection>,
    state: Arc<EmulatorState>,
) -> Result<Response<ResponseBody>, h2::Error> {
    let at = state.clock.now();
    let (head, body) = request.into_parts();
    let (body, unread) = if server == Server::Resource && resource::echoes(head.uri.path()) {
        (Bytes::new(), Some(body))
    } else if server == Server::Resource {
        discard(body).await;
        (Bytes::new(), None)
    } else if let Ok(body) = Limited::new(body, REQUEST_LIMIT).collect().await {
        (body.to_bytes(), None)
    } else {
        let mut refused = Response::new(ResponseBody::whole(Bytes::new()));
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refused);
    };
    let request = ParsedRequest::new(head, body, connection.certificate());
    let step = match server {
        Server::Imds => imds::step(&request.path),
        Server::Token => token::service::step(&request.path),
        Server::Resource => Step::Resource,
        Server::Hosts => hosts::step(&request.path),
        Server::ServiceFabric => hosts::fabric_step(&request.path),
    };
    let satisfied = |fault: &Fault| match (&fault.effect, fault.limit) {
        (FaultEffect::ClaimsChallenge(claims), FaultLimit::UntilSatisfied) => {
            resource::has_claims(&request, claims)
        }
        _ => false,
    };
    let fault = state.faults.take(step, at, |fault| !satisfied(fault));
    let effect = fault.as_ref().map_or(&FaultEffect::None, |fault| &fault.effect);
    apply_side_effects(effect, &request, &state);
    let (reply, issued) = match scripted_reply(effect, &request, step, &state) {
        // A scripted body is not a token, even if it resembles one.
        Some(reply) => (reply, None),
        None => {
            let reply = match server {
                Server::Imds => imds::reply(step, &request, effect, &state).await,
                Server::Token => token::service::reply(step, &request, effect, &state).await,
                Server::Resource => resource::reply(&request, &state).await,
                Server::Hosts | Server::ServiceFabric => hosts::reply(step, &request, effect, &state).await,
            };
            let issued = issued_claims(&reply);
            (reply, issued)
        }
    };
    let reply = corrupt_reply(reply, effect);

    let outcome = match effect {
        FaultEffect::Reset | FaultEffect::Reboot => EntryOutcome::Reset,
        FaultEffect::Stall => EntryOutcome::Stalled,
        FaultEffect::GoAway => EntryOutcome::GoAway,
        FaultEffect::RefuseStream => EntryOutcome::StreamRefused,
        FaultEffect::TornBody => EntryOutcome::Torn(reply.status.as_u16()),
        _ => EntryOutcome::Status(reply.status.as_u16()),
    };
    let entry = journal_entry(&request, &connection, step, outcome, reply.reason, fault.as_ref(), at);
    state.recorder.record(JournalEntry { issued, ..entry });

    if let Some(fault) = fault.as_ref().filter(|fault| !fault.delay.is_zero()) {
        state.clock.sleep(fault.delay).await;
    }
    match outcome {
        EntryOutcome::Reset => {
            connection.reset.notify_one();
            pending().await
        }
        EntryOutcome::Stalled => pending().await,
        EntryOutcome::GoAway if connection.is_http2() => {
            connection.go_away.send_replace(Some(previous));
            pending().await
        }
        EntryOutcome::GoAway | EntryOutcome::StreamRefused => Err(h2::Reason::REFUSED_STREAM.into()),
        _ => {
            let torn = matches!(outcome, EntryOutcome::Torn(_));
            Ok(response(reply, server, effect, &state, unread, torn))
        }
    }
}

/// Reads a body of any length to its end.
async fn discard(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Applies the effects of a fault on the machine and on certificates.
fn apply_side_effects(effect: &FaultEffect, request: &ParsedRequest, state: &EmulatorState) {
    match (effect, request.certificate) {
        (FaultEffect::RevokeCertificate, Some(certificate)) => state.revoked.insert(certificate),
        (FaultEffect::RenewCertificate, Some(certificate)) => {
            // A certificate of another authority cannot be renewed; it is revoked all the same.
            let _renewed = state.renew(certificate);
            state.revoked.insert(certificate);
        }
        (FaultEffect::Reboot, _) => state.reboot(),
        _ => {}
    }
}

/// Returns the reply of a fault that replaces the endpoint.
fn scripted_reply(
    effect: &FaultEffect,
    request: &ParsedRequest,
    step: Step,
    state: &EmulatorState,
) -> Option<Reply> {
    let reply = match effect {
        // Without the endpoint, so that nothing is issued for a response that is not sent.
        FaultEffect::Reset
        | FaultEffect::Stall
        | FaultEffect::Reboot
        | FaultEffect::GoAway
        | FaultEffect::RefuseStream => Reply::json(StatusCode::OK, &Value::Null),
        FaultEffect::Status { status, headers, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut reply =
                Reply { status, headers: HeaderMap::new(), body: body.clone(), streamed: None, reason: None };
            if !body.is_empty() {
                reply = reply.header(CONTENT_TYPE, "application/json; charset=utf-8");
            }
            replace_headers(reply, headers)
        }
        FaultEffect::OAuthError { status, error, codes, headers } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            let now = state.clock.now();
            replace_headers(
                token_error::error_reply(request, now, status, error, codes, "Scripted."),
                headers,
            )
        }
        FaultEffect::ClaimsChallenge(claims) if step == Step::Resource => {
            let (error, reason) = ("insufficient_claims", "claims_challenge");
            let challenge = resource::challenge(state, error, reason, Some(claims));
            Reply::refusal(StatusCode::UNAUTHORIZED, error, reason, "More claims are needed.")
                .header(WWW_AUTHENTICATE, &challenge)
        }
        FaultEffect::ClaimsChallenge(claims) => {
            token_error::claims_challenge(request, state.clock.now(), claims)
        }
        FaultEffect::Throttle { per_second } => Reply::refusal(
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

/// Adds scripted headers, replacing those with the same name.
fn replace_headers(mut reply: Reply, headers: &[(String, String)]) -> Reply {
    for (name, value) in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            reply.headers.remove(&name);
            reply = reply.header(name, value);
        }
    }
    reply
}

/// Applies the faults that corrupt the body of a correct reply.
fn corrupt_reply(mut reply: Reply, effect: &FaultEffect) -> Reply {
    match effect {
        FaultEffect::OversizedBody => {
            let mut body = reply.body.to_vec();
            body.resize(body.len() + BODY_LIMIT + 1, b' ');
            reply.body = body.into();
        }
        FaultEffect::MalformedJson => {
            reply.body.truncate(reply.body.len().saturating_sub(1));
        }
        _ => {}
    }
    reply
}

fn response(
    reply: Reply,
    server: Server,
    effect: &FaultEffect,
    state: &EmulatorState,
    unread: Option<Incoming>,
    torn: bool,
) -> Response<ResponseBody> {
    let body = match (reply.streamed, unread) {
        (Some(StreamedBody::Octets(length)), _) => {
            ResponseBody::octets(length, if torn { length.div_ceil(2) } else { 0 })
        }
        (Some(StreamedBody::Echo), Some(unread)) => ResponseBody::Echo(unread),
        _ if torn => ResponseBody::torn(reply.body),
        _ => ResponseBody::whole(reply.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    if server == Server::Imds
        && !matches!(effect, FaultEffect::WithoutServerHeader)
        && !headers.contains_key(SERVER)
    {
        headers.insert(SERVER, HeaderValue::from_static(IMDS_SERVER));
    }
    // hyper would insert the machine's time instead of the emulator's.
    let date = httpdate::fmt_http_date(UNIX_EPOCH + since_epoch(state.clock.now()));
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.entry(DATE).or_insert(date);
    }
    response
}

fn journal_entry(
    request: &ParsedRequest,
    connection: &TrackedConnection,
    step: Step,
    outcome: EntryOutcome,
    reason: Option<&'static str>,
    fault: Option<&Fault>,
    at: SystemTime,
) -> JournalEntry {
    let header = |name: &&'static str| request.header(name).map(|value| (*name, value.to_owned()));
    let issuance = (step == Step::IssueCredential).then(|| imds::IssuanceRequest::parse(request)).flatten();
    JournalEntry {
        sequence: 0,
        at,
        connection: connection.number,
        step,
        method: request.method.to_string(),
        target: request.target.clone(),
        query: request.query.clone(),
        headers: JOURNAL_HEADERS.iter().filter_map(header).collect(),
        authorization: request.header("authorization").map(scheme),
        form: if matches!(step, Step::Token | Step::CloudShell) {
            without_secrets(request.form())
        } else {
            Vec::new()
        },
        attested: issuance.as_ref().is_some_and(|issuance| issuance.attested),
        csr: issuance.and_then(|issuance| csr::decode(&issuance.csr).ok()),
        tls: connection.tls,
        outcome,
        fault: fault.map(|fault| fault.name),
        reason,
        issued: None,
    }
}

/// Returns the claims of the access token in a reply.
fn issued_claims(reply: &Reply) -> Option<Value> {
    if reply.status != StatusCode::OK {
        return None;
    }
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(CompactJws::parse(body["access_token"].as_str()?)?.unverified_claims().clone())
}

fn scheme(authorization: &str) -> &'static str {
    let scheme = authorization.split(' ').next().unwrap_or_default();
    let schemes = ["Bearer", "mtls_pop", "Basic"];
    schemes.into_iter().find(|name| name.eq_ignore_ascii_case(scheme)).unwrap_or("other")
}

fn without_secrets(form: Vec<(String, String)>) -> Vec<(String, Option<String>)> {
    let redact = |(name, value): (String, String)| {
        let value = JOURNAL_PARAMETERS.contains(&name.as_str()).then_some(value);
        (name, value)
    };
    form.into_iter().map(redact).collect()
}
