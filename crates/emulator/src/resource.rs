//! A resource that checks what a token is bound to.

use base64ct::{Base64, Encoding};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use crate::calendar::unix;
use crate::exchange::{Exchange, Reply};
use crate::jwt::Jws;
use crate::state::State;

/// Why a request is refused.
#[derive(Clone, Copy)]
enum Reason {
    MissingToken,
    WrongScheme,
    BadSignature,
    WrongIssuer,
    Expired,
    WrongAudience,
    CertificateMissing,
    CertificateMismatch,
    CertificateRevoked,
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::WrongScheme => "wrong_scheme",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::Expired => "expired",
            Self::WrongAudience => "wrong_audience",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateMismatch => "certificate_mismatch",
            Self::CertificateRevoked => "certificate_revoked",
        }
    }
}

/// Answers with what it saw, or with 401 and why.
pub(crate) async fn answer(exchange: &Exchange, state: &State) -> Reply {
    match check(exchange, state).await {
        Ok(seen) => Reply::ok(&seen),
        Err(reason) => {
            let code = reason.code();
            let error =
                if matches!(reason, Reason::MissingToken) { "invalid_request" } else { "invalid_token" };
            let body = json!({ "error": error, "reason": code });
            Reply::json(StatusCode::UNAUTHORIZED, &body)
                .because(code)
                .header(WWW_AUTHENTICATE, &challenge(state, error, code, None))
        }
    }
}

/// The challenge of a 401 (RFC 6750 §3), with claims to come back with (as base64) if any.
pub(crate) fn challenge(state: &State, error: &str, reason: &str, claims: Option<&str>) -> String {
    let authority = format!("{}/{}", state.urls.token, state.machine.tenant_id);
    let scheme = if claims.is_some() { "Bearer" } else { "mtls_pop" };
    let mut challenge = format!(
        r#"{scheme} realm="", authorization_uri="{authority}", error="{error}", error_description="{reason}""#
    );
    if let Some(claims) = claims {
        challenge.push_str(&format!(r#", claims="{}""#, Base64::encode_string(claims.as_bytes())));
    }
    challenge
}

async fn check(exchange: &Exchange, state: &State) -> Result<Value, Reason> {
    let authorization = exchange.header("authorization").ok_or(Reason::MissingToken)?;
    let (scheme, token) = authorization.split_once(' ').ok_or(Reason::WrongScheme)?;
    let bound_scheme = scheme.eq_ignore_ascii_case("mtls_pop");
    if !bound_scheme && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::WrongScheme);
    }
    let key = state.signer.key().await.ok_or(Reason::BadSignature)?;
    let claims = Jws::parse(token.trim()).and_then(|token| key.verify(&token)).ok_or(Reason::BadSignature)?;
    let own_issuer = claims["iss"].as_str().is_some_and(|issuer| issuer.starts_with(&state.urls.token));
    if !own_issuer {
        return Err(Reason::WrongIssuer);
    }
    if claims["exp"].as_u64().is_none_or(|expires| expires <= unix(state.clock.now())) {
        return Err(Reason::Expired);
    }
    let audience = claims["aud"].as_str().ok_or(Reason::WrongAudience)?;
    if !accepts(audience, state) {
        return Err(Reason::WrongAudience);
    }
    let confirmation = claims["cnf"]["x5t#S256"].as_str();
    // A bound token is of no use as a bearer token, and an unbound one proves no possession.
    if bound_scheme != confirmation.is_some() {
        return Err(Reason::WrongScheme);
    }
    let presented = exchange.connection.certificate();
    if let Some(confirmation) = confirmation {
        let presented = presented.ok_or(Reason::CertificateMissing)?;
        if presented.to_string() != confirmation {
            return Err(Reason::CertificateMismatch);
        }
    }
    if presented.is_some_and(|presented| state.revoked.contains(&presented)) {
        return Err(Reason::CertificateRevoked);
    }
    Ok(json!({
        "scheme": if bound_scheme { "mtls_pop" } else { "Bearer" },
        "aud": audience,
        "appid": claims["appid"],
        "bound": confirmation.is_some(),
        "x5t#S256": confirmation,
    }))
}

fn accepts(audience: &str, state: &State) -> bool {
    match &state.settings.audience {
        Some(own) => own == audience,
        None => audience.starts_with("https://") && state.audiences.contains(&audience.to_owned()),
    }
}
