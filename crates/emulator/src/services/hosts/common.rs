//! The parts that several identity endpoints share.

use http::StatusCode;
use serde_json::{Value, json};

use crate::faults::FaultEffect;
use crate::protocol::{ExpiryFormat, ParsedRequest, Reply};
use crate::random::guid;
use crate::services::access_token::{TokenContents, remove_member, sign_access_token};
use crate::state::{EmulatorState, IdField, Principal};

/// Returns the members that the token responses of all hosts have. `format` is the host's format of
/// the expiry, which a fault may replace.
pub(super) async fn token_body(
    principal: Principal<'_>,
    resource: &str,
    format: ExpiryFormat,
    effect: &FaultEffect,
    state: &EmulatorState,
) -> Option<Value> {
    let contents = TokenContents::of_principal(principal, resource, state);
    let token = sign_access_token(&contents, effect, state).await?;
    let mut body = json!({ "access_token": token, "resource": resource, "token_type": "Bearer" });
    let format = if let FaultEffect::Expiry(format) = effect { *format } else { format };
    let (name, value) = format.member(state.clock.now(), state.settings.token_lifetime);
    body[name] = value;
    remove_member(&mut body, effect);
    Some(body)
}

/// Returns the identity that the query names by one of these parameters, or the system-assigned
/// one.
pub(super) fn principal<'a>(
    request: &ParsedRequest,
    state: &'a EmulatorState,
    parameters: &[(&str, IdField)],
) -> Result<Principal<'a>, &'static str> {
    let mut ids =
        parameters.iter().filter_map(|(name, field)| request.query(name).map(|value| (*field, value)));
    match (ids.next(), ids.next()) {
        (None, _) => Ok(state.machine.system_assigned()),
        (Some((field, value)), None) => state.machine.find(field, value).ok_or("identity"),
        _ => Err("identities"),
    }
}

/// Returns the requested resource if the API version is supported.
pub(super) fn resource<'a>(
    request: &'a ParsedRequest,
    versions: &[&str],
    state: &EmulatorState,
) -> Result<&'a str, &'static str> {
    if !request.query("api-version").is_some_and(|version| versions.contains(&version)) {
        return Err("api_version");
    }
    accepted(request.query("resource"), state)
}

/// Returns a requested resource that is not empty, and in a strict emulator was declared.
pub(super) fn accepted<'a>(
    resource: Option<&'a str>,
    state: &EmulatorState,
) -> Result<&'a str, &'static str> {
    let resource = resource.filter(|resource| !resource.is_empty()).ok_or("resource")?;
    if !state.declarations().accept_resource(resource) {
        return Err("resource_unknown");
    }
    Ok(resource)
}

pub(super) fn has_metadata_header(request: &ParsedRequest) -> bool {
    request.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Returns an error in the format of App Service and Azure Machine Learning.
pub(super) fn flat_error(status: StatusCode, reason: &'static str) -> Reply {
    let (status_code, message) = (status.as_u16(), explanation(reason));
    let body = json!({ "statusCode": status_code, "message": message, "correlationId": guid() });
    Reply::json(status, &body).because(reason)
}

/// Returns an error in the format of Cloud Shell and Service Fabric.
pub(super) fn nested_error(status: StatusCode, reason: &'static str, code: &str) -> Reply {
    let message = explanation(reason);
    let body = json!({ "error": { "correlationId": guid(), "code": code, "message": message } });
    Reply::json(status, &body).because(reason)
}

/// Returns the message for a reason code.
pub(super) fn explanation(reason: &str) -> &'static str {
    match reason {
        "unknown_path" => "Unknown path",
        "method" => "Wrong HTTP method",
        "secret" => "The secret header is missing or wrong",
        "metadata_header" => "Required metadata header not specified",
        "api_version" => "Unsupported api-version",
        "resource" => "Parameter resource is required",
        "resource_unknown" => {
            "The resource was not found in the tenant: declare it with EmulatorBuilder::resource, \
             `emulate --resource`, or `resources` under [host]"
        }
        "identity" => "No such identity is assigned to this host",
        "identities" => "At most one identity may be given",
        "content_type" => "The body must be application/x-www-form-urlencoded",
        "challenge" => "Send the key from the file that the challenge names",
        "key_file" => "Could not write the key file: run the emulator as root, or set its directory",
        _ => "The emulator could not sign",
    }
}
