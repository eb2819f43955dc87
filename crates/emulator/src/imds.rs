//! The instance metadata service: IMDSv2's two calls, the bearer token of v1, and compute metadata.

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::ca::{BACKDATED, Leaf};
use crate::calendar::{after, before, unix};
use crate::csr;
use crate::error::Error;
use crate::exchange::{Exchange, Reply};
use crate::fault::{CertificateFault, Effect};
use crate::grant::{Grant, Subject, leave_out, mint};
use crate::identity::{IdKind, Principal};
use crate::random::guid;
use crate::state::State;
use crate::step::Step;
use crate::subject_key::SubjectKey;

/// IMDSv2: `getplatformmetadata`.
const PLATFORM_METADATA: &str = "/metadata/identity/getplatformmetadata";
/// IMDSv2: `issuecredential`.
const ISSUE_CREDENTIAL: &str = "/metadata/identity/issuecredential";
/// IMDS v1: the token request.
const TOKEN: &str = "/metadata/identity/oauth2/token";
/// IMDS: compute metadata.
const COMPUTE: &str = "/metadata/instance/compute";
/// IMDSv2: `cred-api-version`.
const CRED_API_VERSION: &str = "2.0";
/// IMDS v1: `api-version` of MSAL and the newer one of the Azure SDKs.
const TOKEN_API_VERSIONS: &[&str] = &["2018-02-01", "2019-08-01"];
/// By how much an expired or premature certificate misses the present.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// A name that never resolves (RFC 2606 §2): there is no attestation service here.
const ATTESTATION_ENDPOINT: &str = "https://attestation.invalid";

/// Which step a path belongs to.
pub(crate) fn step(path: &str) -> Step {
    // MSAL for Node puts a slash behind it.
    match path.strip_suffix('/').unwrap_or(path) {
        PLATFORM_METADATA => Step::PlatformMetadata,
        ISSUE_CREDENTIAL => Step::IssueCredential,
        TOKEN => Step::ImdsToken,
        COMPUTE => Step::ComputeMetadata,
        _ => Step::Unknown,
    }
}

pub(crate) async fn answer(step: Step, exchange: &Exchange, effect: &Effect, state: &State) -> Reply {
    let method = if step == Step::IssueCredential { Method::POST } else { Method::GET };
    let v2 = matches!(step, Step::PlatformMetadata | Step::IssueCredential);
    if step == Step::Unknown || v2 && state.settings.v1_only {
        return Refused::new(StatusCode::NOT_FOUND, "unknown_path", "The requested resource does not exist")
            .reply();
    }
    if exchange.method != method {
        return Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong HTTP method").reply();
    }
    // Before anything else: the probes rely on it (IMDSv2: probe requests).
    if exchange.header("metadata").is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
        return bad("metadata_header", "Required metadata header not specified").reply();
    }
    let reply = match step {
        Step::PlatformMetadata => platform_metadata(exchange, state),
        Step::IssueCredential => issue_credential(exchange, effect, state),
        Step::ImdsToken => token(exchange, effect, state).await,
        _ => Ok(compute()),
    };
    reply.unwrap_or_else(Refused::reply)
}

fn platform_metadata(exchange: &Exchange, state: &State) -> Result<Reply, Refused> {
    let principal = v2_principal(exchange, state, &[])?;
    Ok(Reply::ok(&json!({
        "clientId": principal.client_id,
        "tenantId": state.machine.tenant_id,
        "cuId": compute_unit(state),
        "attestationEndpoint": ATTESTATION_ENDPOINT,
    })))
}

fn compute_unit(state: &State) -> Value {
    let mut compute_unit = json!({ "vmId": state.machine.vm_id });
    if let Some(vmss_id) = &state.machine.vmss_id {
        compute_unit["vmssId"] = Value::from(vmss_id.as_str());
    }
    compute_unit
}

/// The members of an issuance request that matter.
pub(crate) struct IssuanceRequest {
    pub(crate) csr: String,
    /// Whether there is one that is not empty.
    pub(crate) attestation_token: bool,
}

impl IssuanceRequest {
    pub(crate) fn read(exchange: &Exchange) -> Option<Self> {
        let body: Value = serde_json::from_slice(&exchange.body).ok()?;
        let attestation_token = body["attestation_token"].as_str().is_some_and(|token| !token.is_empty());
        Some(Self { csr: body["csr"].as_str()?.to_owned(), attestation_token })
    }
}

fn issue_credential(exchange: &Exchange, effect: &Effect, state: &State) -> Result<Reply, Refused> {
    // `bypass_cache` is what the revocation design adds (IMDSv2: revocation spec); nothing is cached here.
    let principal = v2_principal(exchange, state, &["bypass_cache"])?;
    if !exchange.has_content_type("application/json") {
        return Err(bad("content_type", "The body of an issuance request is application/json"));
    }
    let request = IssuanceRequest::read(exchange)
        .ok_or_else(|| bad("csr_missing", "The body is a JSON object with the member csr"))?;
    if state.settings.attestation_required && !request.attestation_token {
        return Err(bad(
            "attestation_token",
            "Attestation Token is missing / empty in the issue credential request",
        ));
    }
    let expected = csr::Expected {
        tenant_id: &state.machine.tenant_id,
        client_id: principal.client_id,
        compute_unit_json: &state.machine.compute_unit_json(),
    };
    let key = csr::decode(&request.csr)
        .and_then(|der| csr::check(&der, &expected))
        .map_err(|violation| bad(violation.rule(), violation.explanation()))?;
    let fault = match effect {
        Effect::Certificate(fault) => Some(*fault),
        _ => None,
    };
    let certificate = certificate(&key, principal, fault, state).map_err(|_| failed())?;
    let endpoint = match fault {
        Some(CertificateFault::InsecureEndpoint) => state.urls.token.replacen("https://", "http://", 1),
        _ => state.urls.token.clone(),
    };
    let client_id = match fault {
        Some(CertificateFault::OtherClientId) => guid(),
        _ => principal.client_id.to_owned(),
    };
    Ok(Reply::ok(&json!({
        "client_id": client_id,
        "tenant_id": state.machine.tenant_id,
        "certificate": Base64::encode_string(&certificate),
        "identity_type": principal.kind,
        "mtls_authentication_endpoint": endpoint,
    })))
}

/// The certificate to hand out, right or wrong, in DER.
fn certificate(
    key: &SubjectKey,
    principal: Principal<'_>,
    fault: Option<CertificateFault>,
    state: &State,
) -> Result<Vec<u8>, Error> {
    let leaf = leaf(principal, fault, state.clock.now(), state);
    Ok(match fault {
        Some(CertificateFault::Garbage) => b"neither a certificate nor DER".to_vec(),
        Some(CertificateFault::WrongKey) => state.ca.issue_with_key(&leaf)?.certificate().der().to_vec(),
        Some(CertificateFault::TrailingData) => {
            let mut der = state.ca.issue(key, &leaf)?.der().to_vec();
            der.push(0);
            der
        }
        _ => state.ca.issue(key, &leaf)?.der().to_vec(),
    })
}

fn leaf<'a>(
    principal: Principal<'a>,
    fault: Option<CertificateFault>,
    now: SystemTime,
    state: &'a State,
) -> Leaf<'a> {
    let lifetime = state.settings.certificate_lifetime;
    let (not_before, not_after) = match fault {
        Some(CertificateFault::Expired) => (before(now, AN_HOUR + lifetime), before(now, AN_HOUR)),
        Some(CertificateFault::NotYetValid) => (after(now, AN_HOUR), after(now, AN_HOUR + lifetime)),
        Some(CertificateFault::Lifetime(lifetime)) => (before(now, BACKDATED), after(now, lifetime)),
        _ => (before(now, BACKDATED), after(now, lifetime)),
    };
    let token_not_after = match fault {
        Some(CertificateFault::TokenNotAfter(lifetime)) => Some(after(now, lifetime)),
        Some(CertificateFault::WithoutTokenNotAfter) => None,
        _ => state.settings.token_not_after.map(|lifetime| after(now, lifetime)),
    };
    Leaf {
        tenant_id: Some(&state.machine.tenant_id),
        client_id: principal.client_id,
        not_before,
        not_after,
        token_not_after,
    }
}

async fn token(exchange: &Exchange, effect: &Effect, state: &State) -> Result<Reply, Refused> {
    if !exchange.query("api-version").is_some_and(|version| TOKEN_API_VERSIONS.contains(&version)) {
        return Err(bad("api_version", "Unsupported api-version"));
    }
    let resource = exchange.query("resource").filter(|resource| !resource.is_empty());
    let resource = resource.ok_or_else(|| bad("resource", "Parameter resource is required"))?;
    if exchange.query("mi_res_id").is_some() {
        return Err(bad("unsupported_query", "Unsupported query variables"));
    }
    let principal = principal(exchange, state, "msi_res_id")?;
    let grant = Grant {
        tenant: &state.machine.tenant_id,
        client_id: principal.client_id,
        subject: Subject::Client(principal.object_id),
        audience: resource,
        bound_to: None,
        claims: None,
    };
    let token = mint(&grant, effect, state).await.ok_or_else(failed)?;
    let lifetime = state.settings.token_lifetime;
    // The numbers are strings here, as the real service writes them.
    let mut body = json!({
        "access_token": token,
        "client_id": principal.client_id,
        "expires_in": lifetime.as_secs().to_string(),
        "expires_on": unix(after(state.clock.now(), lifetime)).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    leave_out(&mut body, effect);
    Ok(Reply::ok(&body))
}

fn compute() -> Reply {
    Reply::ok(&json!({
        "osType": "Linux",
        "location": "emulated",
        "securityProfile": { "securityType": "TrustedLaunch" },
    }))
}

/// Who an IMDSv2 call is for, when its version is right and it has no parameter it may not have.
fn v2_principal<'a>(exchange: &Exchange, state: &'a State, more: &[&str]) -> Result<Principal<'a>, Refused> {
    if exchange.query("cred-api-version") != Some(CRED_API_VERSION) {
        return Err(bad("api_version", "Unsupported cred-api-version"));
    }
    let known = ["cred-api-version", "client_id", "object_id", "mi_res_id"];
    if exchange
        .query
        .iter()
        .any(|(name, _)| !known.contains(&name.as_str()) && !more.contains(&name.as_str()))
    {
        return Err(bad("unsupported_query", "Unsupported query variables"));
    }
    principal(exchange, state, "mi_res_id")
}

/// The identity that the query asks for: at most one id, and one that this machine has.
fn principal<'a>(exchange: &Exchange, state: &'a State, resource_id: &str) -> Result<Principal<'a>, Refused> {
    let kind = |name: &str| match name {
        "client_id" => Some(IdKind::Client),
        "object_id" => Some(IdKind::Object),
        _ => (name == resource_id).then_some(IdKind::Resource),
    };
    let mut ids = exchange.query.iter().filter_map(|(name, value)| kind(name).map(|kind| (kind, value)));
    match (ids.next(), ids.next()) {
        (None, _) => Ok(state.machine.system_assigned()),
        (Some((kind, value)), None) => {
            state.machine.find(kind, value).ok_or_else(|| bad("identity", "Identity not found"))
        }
        _ => Err(bad("identity", "At most one identity may be given")),
    }
}

/// Why the metadata service refuses a request.
struct Refused {
    status: StatusCode,
    reason: &'static str,
    description: &'static str,
}

impl Refused {
    fn new(status: StatusCode, reason: &'static str, description: &'static str) -> Self {
        Self { status, reason, description }
    }

    fn reply(self) -> Reply {
        let error = if self.status.is_server_error() { "server_error" } else { "invalid_request" };
        Reply::refusal(self.status, error, self.reason, self.description)
    }
}

fn bad(reason: &'static str, description: &'static str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, reason, description)
}

fn failed() -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "signing", "The emulator could not sign")
}
