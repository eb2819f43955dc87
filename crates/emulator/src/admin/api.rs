//! The admin API: JSON, and the journal as lines of JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_types::Thumbprint;
use tokio::sync::mpsc;

use crate::admin::response::{self, AdminResponse, error};
use crate::calendar::rfc3339;
use crate::error::Error;
use crate::faults::{FaultLimit, QueuedFault, file};
use crate::journal::{Journal, Subscription};
use crate::pki::IssuedCertificate;
use crate::protocol::ResponseBody;
use crate::services::sign_in::{DEFAULT_USER, sign_in};
use crate::state::EmulatorState;

const JSON: &str = "application/json";
/// The unregistered but usual media type of files with a key.
const PEM: &str = "application/x-pem-file";
const TOML: &str = "application/toml";
/// The number of lines that are buffered for a reader of the journal.
const LINES: usize = 64;

/// The body of `revoke` and `renew`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateAction {
    certificate: String,
    /// TLS refuses the certificate, instead of the endpoints.
    #[serde(default)]
    in_tls: bool,
}

/// The body of `clock`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSetting {
    skew_seconds: i64,
}

/// The body of `client-certificate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientCertificateRequest {
    client_id: String,
}

/// The body of `user-token`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserTokenRequest {
    audience: String,
    user: Option<String>,
}

pub(super) async fn respond(
    head: &Parts,
    path: &str,
    body: &Bytes,
    state: &Arc<EmulatorState>,
) -> AdminResponse {
    match (path, &head.method) {
        ("about", &Method::GET) => ok(&about(state)),
        ("faults", &Method::GET) => ok(&faults(state)),
        ("faults", &Method::POST) => inject(media_type(head), body, state),
        ("faults", &Method::DELETE) => {
            state.faults.clear();
            ok(&faults(state))
        }
        ("certificates", &Method::GET) => ok(&certificates(state)),
        ("revoke", &Method::POST) => with_json(head, body, |action| revoke(&action, state)),
        ("renew", &Method::POST) => with_json(head, body, |action| renew(&action, state)),
        ("reboot", &Method::POST) => with_json(head, body, |_: Value| {
            state.reboot();
            ok(&certificates(state))
        }),
        ("clock", &Method::GET) => ok(&clock(state)),
        ("clock", &Method::POST) => with_json(head, body, |setting: ClockSetting| {
            state.skew.set(setting.skew_seconds);
            ok(&clock(state))
        }),
        ("client-certificate", &Method::POST) => {
            with_json(head, body, |request| client_certificate(&request, state))
        }
        ("user-token", &Method::POST) => match parse_json(head, body) {
            Ok(request) => user_token(&request, state).await,
            Err(response) => *response,
        },
        ("journal", &Method::GET) => journal(head.uri.query() == Some("follow"), state),
        (
            "about" | "faults" | "certificates" | "revoke" | "renew" | "reboot" | "clock"
            | "client-certificate" | "user-token" | "journal" | "",
            _,
        ) => error(StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong HTTP method."),
        _ => match path.strip_prefix("faults/").map(str::parse) {
            Some(Ok(id)) if head.method == Method::DELETE && state.faults.remove(id) => ok(&faults(state)),
            _ => error(StatusCode::NOT_FOUND, "not_found", "Unknown path or fault."),
        },
    }
}

fn ok(body: &Value) -> AdminResponse {
    response::json(StatusCode::OK, body)
}

/// Returns the media type without parameters. Requiring one that HTML forms cannot send protects
/// against cross-site requests.
fn media_type(head: &Parts) -> &str {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn with_json<T: for<'de> Deserialize<'de>>(
    head: &Parts,
    body: &[u8],
    act: impl FnOnce(T) -> AdminResponse,
) -> AdminResponse {
    parse_json(head, body).map_or_else(|response| *response, act)
}

fn parse_json<T: for<'de> Deserialize<'de>>(head: &Parts, body: &[u8]) -> Result<T, Box<AdminResponse>> {
    if media_type(head) != JSON {
        let message = "The body must be application/json.";
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message).into());
    }
    serde_json::from_slice(body)
        .map_err(|invalid| error(StatusCode::BAD_REQUEST, "invalid_json", &invalid.to_string()).into())
}

fn about(state: &EmulatorState) -> Value {
    let machine = &state.machine;
    let user_assigned = machine.user_assigned.iter().map(|identity| {
        json!({
            "client_id": identity.client_id,
            "object_id": identity.object_id,
            "resource_id": identity.resource_id,
        })
    });
    let examples = file::EXAMPLES
        .iter()
        .map(|(kind, members)| json!({ "kind": kind, "toml": file::example(kind, members) }));
    json!({
        "source": state.settings.source.as_str(),
        "imds": state.urls.imds,
        "token_service": state.urls.token,
        "resource": state.urls.resource,
        "tenant_id": machine.tenant_id,
        "client_id": machine.client_id,
        "user_assigned": user_assigned.collect::<Value>(),
        "examples": examples.collect::<Value>(),
    })
}

fn faults(state: &EmulatorState) -> Value {
    state.faults.pending(state.clock.now()).iter().map(fault).collect()
}

fn fault(QueuedFault { id, fault, .. }: &QueuedFault) -> Value {
    let (times, lasting) = match fault.limit {
        FaultLimit::Times(times) => (Value::from(times), Value::Null),
        FaultLimit::Lasting(lasting) => (Value::Null, Value::from(lasting.as_secs_f64())),
        FaultLimit::Always => (Value::from("always"), Value::Null),
        FaultLimit::UntilSatisfied => (Value::from("until-satisfied"), Value::Null),
    };
    let mut listed = json!({
        "id": id,
        "kind": fault.name,
        "step": fault.step.as_str(),
        "detail": fault.effect.detail(),
        "after": fault.delay.as_secs_f64(),
        "times": times,
        "lasting": lasting,
    });
    if let Some(server) = fault.server {
        listed["server"] = server.name().into();
    }
    listed
}

fn inject(media_type: &str, body: &[u8], state: &EmulatorState) -> AdminResponse {
    let parsed = match media_type {
        JSON => file::from_json(body).map(|fault| vec![fault]),
        TOML => file::from_toml(&String::from_utf8_lossy(body)),
        _ => {
            let message = "The body must be application/json or application/toml.";
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message);
        }
    };
    match parsed {
        Ok(faults) => {
            let ids: Vec<_> = faults.into_iter().map(|fault| state.faults.inject(fault)).collect();
            response::json(StatusCode::CREATED, &json!({ "ids": ids }))
        }
        Err(invalid) => {
            let mut body = json!({ "error": "invalid_fault", "message": invalid.to_string() });
            if let Error::Faults { line, column, .. } = invalid {
                (body["line"], body["column"]) = (line.into(), column.into());
            }
            response::json(StatusCode::BAD_REQUEST, &body)
        }
    }
}

fn certificates(state: &EmulatorState) -> Value {
    state.ca.issued().iter().map(|issued| certificate(issued, state)).collect()
}

fn certificate(issued: &IssuedCertificate, state: &EmulatorState) -> Value {
    json!({
        "x5t#S256": issued.thumbprint.to_string(),
        "client_id": issued.client_id,
        "tenant_id": issued.tenant_id,
        "not_before": rfc3339(issued.not_before),
        "not_after": rfc3339(issued.not_after),
        "token_not_after": issued.token_not_after.map(rfc3339),
        "revoked": state.revoked.contains(&issued.thumbprint),
        "refused_in_tls": state.refused_in_tls.contains(issued.thumbprint),
    })
}

/// Returns the issued certificate with the thumbprint in the request.
fn find(action: &CertificateAction, state: &EmulatorState) -> Option<Arc<IssuedCertificate>> {
    let thumbprint: Thumbprint = action.certificate.parse().ok()?;
    state.ca.find(thumbprint)
}

fn unknown_certificate() -> AdminResponse {
    error(StatusCode::NOT_FOUND, "certificate", "The emulator issued no certificate with this x5t#S256.")
}

fn revoke(action: &CertificateAction, state: &EmulatorState) -> AdminResponse {
    let Some(issued) = find(action, state) else { return unknown_certificate() };
    if action.in_tls {
        state.refused_in_tls.refuse(issued.thumbprint);
    } else {
        state.revoked.insert(issued.thumbprint);
    }
    ok(&certificate(&issued, state))
}

fn renew(action: &CertificateAction, state: &EmulatorState) -> AdminResponse {
    let Some(issued) = find(action, state) else { return unknown_certificate() };
    match state.renew(issued.thumbprint) {
        Ok(Some(renewed)) => response::json(StatusCode::CREATED, &certificate(&renewed, state)),
        Ok(None) => unknown_certificate(),
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, "signing", &failed.to_string()),
    }
}

fn clock(state: &EmulatorState) -> Value {
    json!({ "now": rfc3339(state.clock.now()), "skew_seconds": state.skew.seconds() })
}

/// Issues a client certificate, and returns it with its key in PEM.
fn client_certificate(request: &ClientCertificateRequest, state: &EmulatorState) -> AdminResponse {
    match state.issue_client_certificate(&request.client_id) {
        Ok(issued) => response::text(StatusCode::CREATED, PEM, issued.to_pem()),
        Err(failed) => error(StatusCode::BAD_REQUEST, "client_id", &failed.to_string()),
    }
}

async fn user_token(request: &UserTokenRequest, state: &EmulatorState) -> AdminResponse {
    let user = request.user.as_deref().unwrap_or(DEFAULT_USER);
    match sign_in(user, &request.audience, state).await {
        Ok(token) => response::json(StatusCode::CREATED, &json!({ "access_token": token, "user": user })),
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, "signing", &failed.to_string()),
    }
}

/// Returns the journal; with `follow`, also the entries that follow, without a gap.
fn journal(follow: bool, state: &EmulatorState) -> AdminResponse {
    let (sender, lines) = mpsc::channel(LINES);
    let (recorded, live) = state.recorder.follow();
    tokio::spawn(async move {
        // An error means that the reader has disconnected.
        let _sent = send_journal(&recorded, follow.then_some(live), &sender).await;
    });
    response::with_body(StatusCode::OK, "application/x-ndjson", ResponseBody::Stream(lines))
}

async fn send_journal(
    recorded: &Journal,
    live: Option<Subscription>,
    reader: &mpsc::Sender<Bytes>,
) -> Result<(), mpsc::error::SendError<Bytes>> {
    let line = |text: String| Bytes::from(text + "\n");
    let gap = |dropped: u64| line(json!({ "dropped": dropped }).to_string());
    if recorded.dropped() > 0 {
        reader.send(gap(recorded.dropped())).await?;
    }
    for entry in recorded.entries() {
        reader.send(line(entry.to_json_with_claims())).await?;
    }
    let Some(mut live) = live else { return Ok(()) };
    let mut missed = 0;
    loop {
        let entry = tokio::select! {
            entry = live.next() => entry,
            () = reader.closed() => None,
        };
        let Some(entry) = entry else { return Ok(()) };
        if live.missed() > missed {
            reader.send(gap(live.missed() - missed)).await?;
            missed = live.missed();
        }
        reader.send(line(entry.to_json_with_claims())).await?;
    }
}
