//! The authenticated client of a token request.

use serde_json::{Value, json};
use symbolon_types::Thumbprint;

use crate::faults::FaultEffect;
use crate::protocol::{ParsedRequest, TokenError};
use crate::services::access_token::{AccessTokenSubject, TokenContents, sign_access_token};
use crate::services::token::credential::{RequestCredential, TokenForm};
use crate::state::EmulatorState;

/// The token type of certificate-bound tokens (docs/protocol/token-request.md#proof-of-possession).
const MTLS_POP: &str = "mtls_pop";

/// An authenticated client, and the certificate that its tokens are bound to.
pub(super) struct AuthenticatedClient<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a str,
    bound_to: Option<Thumbprint>,
    claims: Option<Value>,
}

impl<'a> AuthenticatedClient<'a> {
    /// Authenticates the client, and reads the parameters that all grants share.
    pub(super) async fn authenticate(
        tenant: &'a str,
        id: &'a str,
        form: &TokenForm,
        basic: Option<&(String, String)>,
        request: &ParsedRequest,
        state: &EmulatorState,
    ) -> Result<Self, TokenError> {
        let parse = |text| serde_json::from_str(text).ok().filter(Value::is_object);
        let claims = form.value("claims").map(|text| parse(text).ok_or(TokenError::CLAIMS)).transpose()?;
        let bound = match form.value("token_type") {
            Some(MTLS_POP) => true,
            Some(_) => return Err(TokenError::TOKEN_TYPE),
            None => false,
        };
        if !state.declarations().accept_client(id) {
            return Err(TokenError::UNKNOWN_CLIENT);
        }
        let credential = RequestCredential::read(form, basic, bound)?;
        let bound_to = credential.check(tenant, id, request, state).await?.filter(|_| bound);
        Ok(Self { tenant, id, bound_to, claims })
    }

    /// Returns the body of a token response.
    pub(super) async fn token_body(
        &self,
        subject: AccessTokenSubject<'_>,
        audience: &str,
        effect: &FaultEffect,
        state: &EmulatorState,
    ) -> Result<Value, TokenError> {
        if !state.declarations().accept_resource(audience) {
            return Err(TokenError::UNKNOWN_RESOURCE);
        }
        let bound_to = self.bound_to.filter(|_| !matches!(effect, FaultEffect::DowngradeToBearer));
        let contents = TokenContents {
            tenant: self.tenant,
            client_id: self.id,
            subject,
            audience,
            bound_to,
            claims: self.claims.as_ref(),
        };
        let access_token = sign_access_token(&contents, effect, state).await.ok_or(TokenError::SIGNING)?;
        let mut body = json!({
            "token_type": if bound_to.is_some() { MTLS_POP } else { "Bearer" },
            "expires_in": state.settings.token_lifetime.as_secs(),
            "access_token": access_token,
        });
        if let Some(refresh_in) = state.settings.refresh_in {
            body["refresh_in"] = Value::from(refresh_in.as_secs());
        }
        Ok(body)
    }
}
