//! The API: JSON, and the journal as lines of JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_types::Thumbprint;
use tokio::sync::mpsc;

use super::Answer;
use super::body::Body;
use crate::ca::IssuedCertificate;
use crate::calendar::rfc3339;
use crate::error::Error;
use crate::fault::Limit;
use crate::journal::{Journal, Subscription};
use crate::script::Scripted;
use crate::spec::{self, EXAMPLES};
use crate::state::State;
use crate::user;

const JSON: &str = "application/json";
/// Not registered, but what a file with a key in it is called.
const PEM: &str = "application/x-pem-file";
const TOML: &str = "application/toml";
/// How many lines wait for a reader before the journal is read no further for it.
const LINES: usize = 64;

/// A certificate that something is to be done to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    certificate: String,
    /// Whether TLS refuses it, rather than the endpoints.
    #[serde(default)]
    in_tls: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    skew_seconds: i64,
}

/// A confidential client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    client_id: String,
}

/// Who signs in, to call whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    audience: String,
    user: Option<String>,
}

pub(super) async fn answer(head: &Parts, path: &str, body: &Bytes, state: &Arc<State>) -> Answer {
    let (method, query) = (&head.method, head.uri.query());
    match (path, method) {
        ("about", &Method::GET) => ok(&about(state)),
        ("faults", &Method::GET) => ok(&faults(state)),
        ("faults", &Method::POST) => inject(content_type(head), body, state),
        ("faults", &Method::DELETE) => {
            state.script.clear();
            ok(&faults(state))
        }
        ("certificates", &Method::GET) => ok(&certificates(state)),
        ("revoke", &Method::POST) => with_json(head, body, |named: Named| revoke(&named, state)),
        ("renew", &Method::POST) => with_json(head, body, |named: Named| renew(&named, state)),
        ("reboot", &Method::POST) => with_json(head, body, |_: Value| {
            state.reboot();
            ok(&certificates(state))
        }),
        ("clock", &Method::GET) => ok(&clock(state)),
        ("clock", &Method::POST) => with_json(head, body, |wanted: Clock| {
            state.skew.set(wanted.skew_seconds);
            ok(&clock(state))
        }),
        ("client-certificate", &Method::POST) => {
            with_json(head, body, |client: Client| client_certificate(&client, state))
        }
        ("user-token", &Method::POST) => match read_json(head, body) {
            Ok(wanted) => user_token(&wanted, state).await,
            Err(refusal) => *refusal,
        },
        ("journal", &Method::GET) => journal(query == Some("follow"), state),
        (
            "about" | "faults" | "certificates" | "revoke" | "renew" | "reboot" | "clock"
            | "client-certificate" | "user-token" | "journal" | "",
            _,
        ) => refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong HTTP method."),
        _ => match path.strip_prefix("faults/").map(str::parse) {
            Some(Ok(id)) if method == Method::DELETE && state.script.remove(id) => ok(&faults(state)),
            _ => refusal(StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
        },
    }
}

/// Refuses, in JSON.
pub(super) fn refusal(status: StatusCode, error: &str, message: &str) -> Answer {
    respond(status, &json!({ "error": error, "message": message }))
}

fn ok(body: &Value) -> Answer {
    respond(StatusCode::OK, body)
}

fn respond(status: StatusCode, body: &Value) -> Answer {
    with_type(status, JSON, Body::whole(body.to_string()))
}

fn with_type(status: StatusCode, media_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// The media type, without parameters. One that a form of another site could send is none of ours.
fn content_type(head: &Parts) -> &str {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn with_json<T: for<'de> Deserialize<'de>>(
    head: &Parts,
    body: &[u8],
    act: impl FnOnce(T) -> Answer,
) -> Answer {
    read_json(head, body).map_or_else(|refusal| *refusal, act)
}

fn read_json<T: for<'de> Deserialize<'de>>(head: &Parts, body: &[u8]) -> Result<T, Box<Answer>> {
    if content_type(head) != JSON {
        let message = "The body is application/json.";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message).into());
    }
    serde_json::from_slice(body)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, "invalid_json", &error.to_string()).into())
}

fn about(state: &State) -> Value {
    let machine = &state.machine;
    let user_assigned: Vec<_> = machine
        .user_assigned
        .iter()
        .map(|one| {
            json!({
                "client_id": one.client_id(), "object_id": one.object_id(), "resource_id": one.resource_id(),
            })
        })
        .collect();
    let examples: Vec<_> = EXAMPLES
        .iter()
        .map(|(kind, members)| json!({ "kind": kind, "toml": spec::example(kind, members) }))
        .collect();
    json!({
        "source": state.settings.source.as_str(),
        "imds": state.urls.imds,
        "token_service": state.urls.token,
        "resource": state.urls.resource,
        "tenant_id": machine.tenant_id,
        "client_id": machine.client_id,
        "user_assigned": user_assigned,
        "examples": examples,
    })
}

fn faults(state: &State) -> Value {
    state.script.pending(state.clock.now()).iter().map(fault).collect()
}

fn fault(Scripted { id, fault, .. }: &Scripted) -> Value {
    let (times, lasting) = match fault.limit {
        Limit::Times(times) => (Value::from(times), Value::Null),
        Limit::Lasting(lasting) => (Value::Null, Value::from(lasting.as_secs_f64())),
        Limit::Always => (Value::from("always"), Value::Null),
    };
    json!({
        "id": id,
        "kind": fault.effect.name(),
        "step": fault.step.as_str(),
        "detail": fault.effect.detail(),
        "after": fault.delay.as_secs_f64(),
        "times": times,
        "lasting": lasting,
    })
}

fn inject(media_type: &str, body: &[u8], state: &State) -> Answer {
    let read = match media_type {
        JSON => spec::from_json(body).map(|fault| vec![fault]),
        TOML => spec::from_toml(&String::from_utf8_lossy(body)),
        _ => {
            let message = "The body is application/json or application/toml.";
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message);
        }
    };
    match read {
        Ok(read) => {
            let ids: Vec<_> = read.into_iter().map(|fault| state.script.inject(fault)).collect();
            respond(StatusCode::CREATED, &json!({ "ids": ids }))
        }
        Err(error) => {
            let mut body = json!({ "error": "invalid_fault", "message": error.to_string() });
            if let Error::Faults { line, column, .. } = error {
                (body["line"], body["column"]) = (line.into(), column.into());
            }
            respond(StatusCode::BAD_REQUEST, &body)
        }
    }
}

fn certificates(state: &State) -> Value {
    state.ca.issued().iter().map(|one| certificate(one, state)).collect()
}

fn certificate(one: &IssuedCertificate, state: &State) -> Value {
    json!({
        "x5t#S256": one.thumbprint().to_string(),
        "client_id": one.client_id(),
        "tenant_id": one.tenant_id(),
        "not_before": rfc3339(one.not_before()),
        "not_after": rfc3339(one.not_after()),
        "token_not_after": one.token_not_after().map(rfc3339),
        "revoked": state.revoked.contains(&one.thumbprint()),
        "refused_in_tls": state.refusals.contains(one.thumbprint()),
    })
}

/// The certificate of that thumbprint, if the emulator issued it.
fn find(named: &Named, state: &State) -> Option<Arc<IssuedCertificate>> {
    let thumbprint: Thumbprint = named.certificate.parse().ok()?;
    state.ca.find(thumbprint)
}

fn unknown() -> Answer {
    refusal(StatusCode::NOT_FOUND, "certificate", "No certificate with this x5t#S256 was issued here.")
}

fn revoke(named: &Named, state: &State) -> Answer {
    let Some(known) = find(named, state) else { return unknown() };
    if named.in_tls {
        state.refusals.refuse(known.thumbprint());
    } else {
        state.revoke(known.thumbprint());
    }
    ok(&certificate(&known, state))
}

fn renew(named: &Named, state: &State) -> Answer {
    let Some(known) = find(named, state) else { return unknown() };
    match state.renew(known.thumbprint()) {
        Ok(Some(renewed)) => respond(StatusCode::CREATED, &certificate(&renewed, state)),
        Ok(None) => unknown(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "signing", &error.to_string()),
    }
}

fn clock(state: &State) -> Value {
    json!({ "now": rfc3339(state.clock.now()), "skew_seconds": state.skew.seconds() })
}

/// A certificate with its key, as PEM to be written to a file.
fn client_certificate(client: &Client, state: &State) -> Answer {
    match state.issue_client_certificate(&client.client_id) {
        Ok(issued) => with_type(StatusCode::CREATED, PEM, Body::whole(issued.to_pem())),
        Err(error) => refusal(StatusCode::BAD_REQUEST, "client_id", &error.to_string()),
    }
}

async fn user_token(wanted: &SignIn, state: &State) -> Answer {
    let user = wanted.user.as_deref().unwrap_or(user::DEFAULT);
    match user::sign_in(user, &wanted.audience, state).await {
        Ok(token) => respond(StatusCode::CREATED, &json!({ "access_token": token, "user": user })),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "signing", &error.to_string()),
    }
}

/// What happened, and, if it is followed, what happens from now on, without a gap.
fn journal(follow: bool, state: &State) -> Answer {
    let (sender, lines) = mpsc::channel(LINES);
    let (kept, live) = state.recorder.follow();
    tokio::spawn(tell(kept, follow.then_some(live), sender));
    with_type(StatusCode::OK, "application/x-ndjson", Body::Lines(lines))
}

/// Ends when the reader is gone.
async fn tell(kept: Journal, live: Option<Subscription>, reader: mpsc::Sender<Bytes>) {
    let line = |text: String| Bytes::from(text + "\n");
    if kept.dropped() > 0
        && reader.send(line(json!({ "dropped": kept.dropped() }).to_string())).await.is_err()
    {
        return;
    }
    for entry in kept.entries() {
        if reader.send(line(entry.to_json_with_claims())).await.is_err() {
            return;
        }
    }
    let Some(mut live) = live else { return };
    let mut missed = 0;
    loop {
        let entry = tokio::select! {
            entry = live.next() => entry,
            () = reader.closed() => return,
        };
        let Some(entry) = entry else { return };
        let gap = live.missed() - missed;
        missed = live.missed();
        if gap > 0 && reader.send(line(json!({ "dropped": gap }).to_string())).await.is_err() {
            return;
        }
        if reader.send(line(entry.to_json_with_claims())).await.is_err() {
            return;
        }
    }
}
