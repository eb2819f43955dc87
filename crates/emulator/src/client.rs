//! The client of a token request, once it has authenticated.

use serde_json::{Value, json};
use symbolon_types::Thumbprint;

use crate::credential::{Credential, Form};
use crate::exchange::Exchange;
use crate::fault::Effect;
use crate::grant::{Grant, Subject, mint};
use crate::oauth::Refusal;
use crate::refusals;
use crate::state::State;

/// The token type of certificate-bound tokens (IMDSv2: token leg).
const MTLS_POP: &str = "mtls_pop";

/// Who asks, and what their token is bound to.
pub(crate) struct Client<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) id: &'a str,
    bound_to: Option<Thumbprint>,
    claims: Option<Value>,
}

impl<'a> Client<'a> {
    /// Reads what is common to all grants, and authenticates the client.
    pub(crate) async fn authenticated(
        tenant: &'a str,
        id: &'a str,
        form: &Form,
        basic: Option<&(String, String)>,
        exchange: &Exchange,
        state: &State,
    ) -> Result<Self, Refusal> {
        let claims = form.value("claims").map(claims).transpose()?;
        let bound = match form.value("token_type") {
            Some(MTLS_POP) => true,
            Some(_) => return Err(refusals::TOKEN_TYPE),
            None => false,
        };
        let credential = Credential::read(form, basic, bound)?;
        let bound_to = credential.check(tenant, id, exchange, state).await?.filter(|_| bound);
        Ok(Self { tenant, id, bound_to, claims })
    }

    /// The body of an answer with a token.
    pub(crate) async fn body(
        &self,
        subject: Subject<'_>,
        audience: &str,
        effect: &Effect,
        state: &State,
    ) -> Result<Value, Refusal> {
        let bound_to = self.bound_to.filter(|_| !matches!(effect, Effect::DowngradeToBearer));
        let grant = Grant {
            tenant: self.tenant,
            client_id: self.id,
            subject,
            audience,
            bound_to,
            claims: self.claims.as_ref(),
        };
        let access_token = mint(&grant, effect, state).await.ok_or(refusals::SIGNING)?;
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

fn claims(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).ok().filter(Value::is_object).ok_or(refusals::CLAIMS)
}
