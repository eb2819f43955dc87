//! The instance metadata service: IMDSv2, the bearer tokens of v1, and compute metadata.

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::calendar::{after, before, unix};
use crate::error::Error;
use crate::faults::{CertificateFault, FaultEffect};
use crate::pki::{BACKDATED, LeafContents, SubjectKey, csr};
use crate::protocol::{ParsedRequest, Reply, Step};
use crate::random::guid;
use crate::services::access_token::{TokenContents, remove_member, sign_access_token};
use crate::state::{EmulatorState, IdField, Principal};

/// Path of the platform metadata (docs/protocol/imdsv2.md#platform-metadata).
const PLATFORM_METADATA: &str = "/metadata/identity/getplatformmetadata";
/// Path of the credential issuance (docs/protocol/imdsv2.md#credential-issuance).
const ISSUE_CREDENTIAL: &str = "/metadata/identity/issuecredential";
/// Path of the v1 token request (docs/protocol/sources.md#instance-metadata-v1).
const TOKEN: &str = "/metadata/identity/oauth2/token";
/// Path of the compute metadata (docs/protocol/imdsv2.md#compute-metadata).
const COMPUTE: &str = "/metadata/instance/compute";
/// The `cred-api-version` of IMDSv2 (docs/protocol/imdsv2.md#platform-metadata).
const CRED_API_VERSION: &str = "2.0";
/// The `api-version` of MSAL, and the newer one of the Azure SDKs
/// (docs/protocol/sources.md#instance-metadata-v1).
const TOKEN_API_VERSIONS: &[&str] = &["2018-02-01", "2019-08-01"];
/// The distance of an expired or premature certificate from the present.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// A name that never resolves (RFC 2606 §2): the emulator has no attestation service.
const ATTESTATION_ENDPOINT: &str = "https://attestation.invalid";

/// Returns the step of a path.
pub(crate) fn step(path: &str) -> Step {
    // MSAL for Node appends a slash.
    match path.strip_suffix('/').unwrap_or(path) {
        PLATFORM_METADATA => Step::PlatformMetadata,
        ISSUE_CREDENTIAL => Step::IssueCredential,
        TOKEN => Step::ImdsToken,
        COMPUTE => Step::ComputeMetadata,
        _ => Step::Unknown,
    }
}

pub(crate) async fn reply(
    step: Step,
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Reply {
    let method = if step == Step::IssueCredential { Method::POST } else { Method::GET };
    let v2 = matches!(step, Step::PlatformMetadata | Step::IssueCredential);
    let reply = if step == Step::Unknown || v2 && state.settings.v1_only {
        let description = "The requested resource does not exist";
        Err(ImdsError { status: StatusCode::NOT_FOUND, reason: "unknown_path", description })
    } else if request.method != method {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Err(ImdsError { status, reason: "method", description: "Wrong HTTP method" })
    } else if request.header("metadata").is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
        // Checked before the parameters: the probes depend on it (docs/protocol/imdsv2.md#probe).
        Err(ImdsError::bad_request("metadata_header", "Required metadata header not specified"))
    } else {
        match step {
            Step::PlatformMetadata => platform_metadata(request, state),
            Step::IssueCredential => issue_credential(request, effect, state),
            Step::ImdsToken => token(request, effect, state).await,
            _ => Ok(compute_metadata()),
        }
    };
    reply.unwrap_or_else(|ImdsError { status, reason, description }| {
        let error = match reason {
            _ if status.is_server_error() => "server_error",
            "resource_unknown" => "invalid_resource",
            _ => "invalid_request",
        };
        Reply::refusal(status, error, reason, description)
    })
}

fn platform_metadata(request: &ParsedRequest, state: &EmulatorState) -> Result<Reply, ImdsError> {
    let principal = v2_principal(request, state, &[])?;
    let mut compute_unit = json!({ "vmId": state.machine.vm_id });
    if let Some(vmss_id) = &state.machine.vmss_id {
        compute_unit["vmssId"] = Value::from(vmss_id.as_str());
    }
    Ok(Reply::ok(&json!({
        "clientId": principal.client_id,
        "tenantId": state.machine.tenant_id,
        "cuId": compute_unit,
        "attestationEndpoint": ATTESTATION_ENDPOINT,
    })))
}

/// The members of an issuance request that the emulator reads.
pub(crate) struct IssuanceRequest {
    pub(crate) csr: String,
    /// True if the attestation token is present and not empty.
    pub(crate) attested: bool,
}

impl IssuanceRequest {
    pub(crate) fn parse(request: &ParsedRequest) -> Option<Self> {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let attested = body["attestation_token"].as_str().is_some_and(|token| !token.is_empty());
        Some(Self { csr: body["csr"].as_str()?.to_owned(), attested })
    }
}

fn issue_credential(
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Result<Reply, ImdsError> {
    // Clients send `bypass_cache` after a revocation (docs/protocol/imdsv2.md#recovery); the
    // emulator caches nothing.
    let principal = v2_principal(request, state, &["bypass_cache"])?;
    if !request.has_content_type("application/json") {
        return Err(ImdsError::bad_request(
            "content_type",
            "The body of an issuance request must be application/json",
        ));
    }
    let issuance = IssuanceRequest::parse(request)
        .ok_or(ImdsError::bad_request("csr_missing", "The body must be a JSON object with the member csr"))?;
    if state.settings.attestation_required && !issuance.attested {
        return Err(ImdsError::bad_request(
            "attestation_token",
            "Attestation Token is missing / empty in the issue credential request",
        ));
    }
    let expected = csr::ExpectedCsr {
        tenant_id: &state.machine.tenant_id,
        client_id: principal.client_id,
        compute_unit_json: &state.machine.compute_unit_json(),
    };
    let key =
        csr::decode(&issuance.csr).and_then(|der| csr::check(&der, &expected)).map_err(|violation| {
            let (rule, explanation) = violation.rule();
            ImdsError::bad_request(rule, explanation)
        })?;
    let fault = match effect {
        FaultEffect::Certificate(fault) => Some(*fault),
        _ => None,
    };
    let certificate = certificate(&key, principal, fault, state).map_err(|_| SIGNING)?;
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

/// Returns the certificate to issue, with the fault applied, in DER.
fn certificate(
    key: &SubjectKey,
    principal: Principal<'_>,
    fault: Option<CertificateFault>,
    state: &EmulatorState,
) -> Result<Vec<u8>, Error> {
    let leaf = leaf(principal, fault, state.clock.now(), state);
    Ok(match fault {
        Some(CertificateFault::Garbage) => b"neither a certificate nor DER".to_vec(),
        Some(CertificateFault::WrongKey) => state.ca.issue_with_key(&leaf)?.certificate.der.to_vec(),
        Some(CertificateFault::TrailingData) => {
            let mut der = state.ca.issue(key, &leaf)?.der.to_vec();
            der.push(0);
            der
        }
        _ => state.ca.issue(key, &leaf)?.der.to_vec(),
    })
}

fn leaf<'a>(
    principal: Principal<'a>,
    fault: Option<CertificateFault>,
    now: SystemTime,
    state: &'a EmulatorState,
) -> LeafContents<'a> {
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
    LeafContents {
        tenant_id: Some(&state.machine.tenant_id),
        client_id: principal.client_id,
        not_before,
        not_after,
        token_not_after,
    }
}

async fn token(
    request: &ParsedRequest,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Result<Reply, ImdsError> {
    if !request.query("api-version").is_some_and(|version| TOKEN_API_VERSIONS.contains(&version)) {
        return Err(ImdsError::bad_request("api_version", "Unsupported api-version"));
    }
    let resource = request.query("resource").filter(|resource| !resource.is_empty());
    let resource = resource.ok_or(ImdsError::bad_request("resource", "Parameter resource is required"))?;
    if request.query("mi_res_id").is_some() {
        return Err(UNSUPPORTED_QUERY);
    }
    if !state.declarations().accept_resource(resource) {
        return Err(UNKNOWN_RESOURCE);
    }
    let principal = principal(request, state, "msi_res_id")?;
    let contents = TokenContents::of_principal(principal, resource, state);
    let token = sign_access_token(&contents, effect, state).await.ok_or(SIGNING)?;
    let lifetime = state.settings.token_lifetime;
    // The real service sends these numbers as strings (docs/protocol/sources.md#expiry).
    let mut body = json!({
        "access_token": token,
        "client_id": principal.client_id,
        "expires_in": lifetime.as_secs().to_string(),
        "expires_on": unix(after(state.clock.now(), lifetime)).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    remove_member(&mut body, effect);
    Ok(Reply::ok(&body))
}

fn compute_metadata() -> Reply {
    Reply::ok(&json!({
        "osType": "Linux",
        "location": "emulated",
        "securityProfile": { "securityType": "TrustedLaunch" },
    }))
}

/// Returns the identity of an IMDSv2 request, after checking its version and its parameters.
fn v2_principal<'a>(
    request: &ParsedRequest,
    state: &'a EmulatorState,
    more: &[&str],
) -> Result<Principal<'a>, ImdsError> {
    if request.query("cred-api-version") != Some(CRED_API_VERSION) {
        return Err(ImdsError::bad_request("api_version", "Unsupported cred-api-version"));
    }
    let allowed = ["cred-api-version", "client_id", "object_id", "mi_res_id"];
    let mut names = request.query.iter().map(|(name, _)| name.as_str());
    if names.any(|name| !allowed.contains(&name) && !more.contains(&name)) {
        return Err(UNSUPPORTED_QUERY);
    }
    principal(request, state, "mi_res_id")
}

/// Returns the identity that the query names by at most one id.
fn principal<'a>(
    request: &ParsedRequest,
    state: &'a EmulatorState,
    resource_id: &str,
) -> Result<Principal<'a>, ImdsError> {
    let field = |name: &str| match name {
        "client_id" => Some(IdField::Client),
        "object_id" => Some(IdField::Object),
        _ => (name == resource_id).then_some(IdField::Resource),
    };
    let mut ids = request.query.iter().filter_map(|(name, value)| field(name).map(|field| (field, value)));
    match (ids.next(), ids.next()) {
        (None, _) => Ok(state.machine.system_assigned()),
        (Some((field, value)), None) => {
            state.machine.find(field, value).ok_or(ImdsError::bad_request("identity", "Identity not found"))
        }
        _ => Err(ImdsError::bad_request("identity", "At most one identity may be given")),
    }
}

/// An error of the metadata service.
struct ImdsError {
    status: StatusCode,
    reason: &'static str,
    description: &'static str,
}

const UNSUPPORTED_QUERY: ImdsError =
    ImdsError::bad_request("unsupported_query", "Unsupported query variables");
/// The metadata service passes the error of Entra on.
const UNKNOWN_RESOURCE: ImdsError = ImdsError::bad_request(
    "resource_unknown",
    "AADSTS500011: The resource principal was not found in the tenant: declare it with \
     EmulatorBuilder::resource, `emulate --resource`, or `resources` under [host].",
);
const SIGNING: ImdsError = ImdsError {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    reason: "signing",
    description: "The emulator could not sign",
};

impl ImdsError {
    const fn bad_request(reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, description }
    }
}
