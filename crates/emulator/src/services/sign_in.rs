//! Tokens of users who have signed in to another application.

use crate::error::Error;
use crate::faults::FaultEffect;
use crate::services::access_token::{AccessTokenSubject, TokenContents, sign_access_token};
use crate::state::{EmulatorState, TenantUser};

/// The user who signs in if the caller names none.
pub(crate) const DEFAULT_USER: &str = "adele@emulator.example";
/// The client id of the application to which users sign in, and which calls the one under test.
const SIGN_IN_CLIENT: &str = "5161e1e0-0000-4000-8000-000000000000";
/// The scope that Entra's documentation uses for calling another application.
const SCOPE: &str = "access_as_user";

/// Returns the token with which another application calls the one with this audience for a user.
pub(crate) async fn sign_in(name: &str, audience: &str, state: &EmulatorState) -> Result<String, Error> {
    let tenant = &state.machine.tenant_id;
    let contents = TokenContents {
        tenant,
        client_id: SIGN_IN_CLIENT,
        subject: AccessTokenSubject::User { user: &TenantUser::named(name, tenant), scopes: SCOPE },
        audience,
        bound_to: None,
        claims: None,
    };
    let token = sign_access_token(&contents, &FaultEffect::None, state).await;
    token.ok_or_else(|| Error::certificate(aws_lc_rs::error::Unspecified))
}
