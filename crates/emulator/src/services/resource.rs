//! A resource that checks the certificate that a token is bound to.

use base64ct::{Base64, Encoding};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use crate::calendar::unix;
use crate::protocol::{CompactJws, ParsedRequest, Reply, StreamedBody};
use crate::state::EmulatorState;

/// The audience of Azure Key Vault.
const KEY_VAULT: &str = "https://vault.azure.net";
/// The path that returns the body of its request.
const ECHO: &str = "/echo";
/// The path below which a number is the length of the response.
const OCTETS: &str = "/bytes/";

/// Returns true if the response to a request for this path contains the body of the request.
pub(crate) fn echoes(path: &str) -> bool {
    path == ECHO
}

/// Returns the properties of a valid token or a streamed body, or a 401 with the reason.
pub(crate) async fn reply(request: &ParsedRequest, state: &EmulatorState) -> Reply {
    match check(request, state).await {
        Ok(properties) => match request.path.strip_prefix(OCTETS).map(str::parse) {
            Some(Ok(length)) => Reply::stream(StreamedBody::Octets(length)),
            _ if echoes(&request.path) => Reply::stream(StreamedBody::Echo),
            _ => Reply::ok(&properties),
        },
        Err(reason) => {
            let error = if reason == "missing_token" { "invalid_request" } else { "invalid_token" };
            let body = json!({ "error": error, "reason": reason });
            Reply::json(StatusCode::UNAUTHORIZED, &body)
                .because(reason)
                .header(WWW_AUTHENTICATE, &challenge(state, error, reason, None))
        }
    }
}

/// Returns the challenge of a 401 (RFC 6750 §3), with a claims challenge in base64 if given.
pub(crate) fn challenge(state: &EmulatorState, error: &str, reason: &str, claims: Option<&str>) -> String {
    let authority = format!("{}/{}", state.urls.token, state.machine.tenant_id);
    if state.settings.key_vault_challenge && claims.is_none() {
        let audience = state.settings.audience.as_deref().unwrap_or(KEY_VAULT);
        return format!(r#"Bearer authorization="{authority}", resource="{audience}""#);
    }
    let scheme = if claims.is_some() { "Bearer" } else { "mtls_pop" };
    let mut challenge = format!(
        r#"{scheme} realm="", authorization_uri="{authority}", error="{error}", error_description="{reason}""#
    );
    if let Some(claims) = claims {
        challenge.push_str(&format!(r#", claims="{}""#, Base64::encode_string(claims.as_bytes())));
    }
    challenge
}

/// Returns true if the token of a request was issued with these claims, which may be some of those
/// that its request asked for.
pub(crate) fn has_claims(request: &ParsedRequest, claims: &str) -> bool {
    let token = request.header("authorization").and_then(|value| value.split_once(' '));
    let token = token.and_then(|(_, token)| CompactJws::parse(token.trim()));
    let challenge: Option<Value> = serde_json::from_str(claims).ok();
    match (token, challenge) {
        (Some(token), Some(challenge)) => contains(&token.unverified_claims()["claims_request"], &challenge),
        _ => false,
    }
}

/// Returns true if `whole` has every member of `part`.
fn contains(whole: &Value, part: &Value) -> bool {
    match part {
        Value::Object(members) => {
            members.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part)))
        }
        _ => whole == part,
    }
}

/// Returns the properties of a valid token, or the reason of the refusal.
async fn check(request: &ParsedRequest, state: &EmulatorState) -> Result<Value, &'static str> {
    let authorization = request.header("authorization").ok_or("missing_token")?;
    let (scheme, token) = authorization.split_once(' ').ok_or("wrong_scheme")?;
    let bound_scheme = scheme.eq_ignore_ascii_case("mtls_pop");
    if !bound_scheme && !scheme.eq_ignore_ascii_case("bearer") {
        return Err("wrong_scheme");
    }
    let key = state.signer.key().await.ok_or("bad_signature")?;
    let claims =
        CompactJws::parse(token.trim()).and_then(|token| key.verify(&token)).ok_or("bad_signature")?;
    let tenant = claims["tid"].as_str();
    if tenant.is_none_or(|tenant| claims["iss"] != state.access_token_issuer(tenant)) {
        return Err("wrong_issuer");
    }
    if claims["exp"].as_u64().is_none_or(|expires| expires <= unix(state.clock.now())) {
        return Err("expired");
    }
    let audience = claims["aud"].as_str().ok_or("wrong_audience")?;
    let accepted = match &state.settings.audience {
        Some(own) => own == audience,
        None => {
            audience.starts_with("https://")
                && state.audiences.contains(&audience.to_owned())
                && state.declarations().accept_resource(audience)
        }
    };
    if !accepted {
        return Err("wrong_audience");
    }
    let confirmation = claims["cnf"]["x5t#S256"].as_str();
    // A bound token must not be used as a bearer token, and an unbound one proves no possession.
    if bound_scheme != confirmation.is_some() {
        return Err("wrong_scheme");
    }
    if let Some(confirmation) = confirmation {
        let presented = request.certificate.ok_or("certificate_missing")?;
        if presented.to_string() != confirmation {
            return Err("certificate_mismatch");
        }
    }
    if request.certificate.is_some_and(|presented| state.revoked.contains(&presented)) {
        return Err("certificate_revoked");
    }
    Ok(json!({
        "scheme": if bound_scheme { "mtls_pop" } else { "Bearer" },
        "aud": audience,
        "appid": claims["appid"],
        "bound": confirmation.is_some(),
        "x5t#S256": confirmation,
    }))
}
