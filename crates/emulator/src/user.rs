//! The users of the machine's tenant: made up, and never asked for a password.

use serde_json::Value;

use crate::error::Error;
use crate::fault::Effect;
use crate::grant::{Grant, Subject, mint};
use crate::random::guid_of;
use crate::state::State;

/// Who signs in where nobody else is named.
pub(crate) const DEFAULT: &str = "adele@emulator.example";
/// The application in which users sign in, before it calls the application under test.
const SIGN_IN_CLIENT: &str = "5161e1e0-0000-4000-8000-000000000000";
/// What that application may do at the other: the scope that the documentation of Entra names so.
const SCOPE: &str = "access_as_user";

/// A user.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) object_id: String,
    /// How they sign in.
    pub(crate) name: String,
}

impl User {
    /// The user of that name: the same one each time, whatever the case.
    fn named(name: &str, tenant_id: &str) -> Self {
        let object_id = guid_of(&format!("{tenant_id} {}", name.to_lowercase()));
        Self { object_id, name: name.to_owned() }
    }

    /// The user whom an access token of this service is about; none for a token of an application.
    pub(crate) fn of(claims: &Value) -> Option<Self> {
        // An ID token has no scopes, and is no access token.
        claims["scp"].as_str()?;
        let text = |name: &str| claims[name].as_str().map(str::to_owned);
        Some(Self { object_id: text("oid")?, name: text("preferred_username")? })
    }
}

/// The token with which another application, in which this user signed in, calls the one of this audience.
pub(crate) async fn sign_in(name: &str, audience: &str, state: &State) -> Result<String, Error> {
    let tenant = &state.machine.tenant_id;
    let user = User::named(name, tenant);
    let grant = Grant {
        tenant,
        client_id: SIGN_IN_CLIENT,
        subject: Subject::User { user: &user, scopes: SCOPE },
        audience,
        bound_to: None,
        claims: None,
    };
    mint(&grant, &Effect::None, state).await.ok_or_else(|| Error::certificate(aws_lc_rs::error::Unspecified))
}
