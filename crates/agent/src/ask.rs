//! What a client asks for, read from the query as App Service has it (managed-identity sources §2.1).

use http::StatusCode;
use symbolon::ManagedIdentityId;
use url::form_urlencoded;

use crate::refusal::Refusal;

/// The version that is documented for App Service, Functions and Container Apps.
const API_VERSION: &str = "2019-08-01";

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) resource: String,
    /// `None` for the agent's own default.
    pub(crate) identity: Option<ManagedIdentityId>,
}

impl Ask {
    pub(crate) fn read(query: &str) -> Result<Self, Refusal> {
        let (mut version, mut resource, mut identity) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "api-version" => once(&mut version, value, "api_version", "api-version")?,
                "resource" => once(&mut resource, value, "resource", "resource")?,
                "client_id" => named(&mut identity, ManagedIdentityId::client_id(value))?,
                "principal_id" | "object_id" => named(&mut identity, ManagedIdentityId::object_id(value))?,
                "mi_res_id" => named(&mut identity, ManagedIdentityId::resource_id(value))?,
                "token_type" if value.eq_ignore_ascii_case("bearer") => {}
                "token_type" | "req_cnf" => return Err(bound()),
                // Neither dropped nor obeyed: a client that sends them has been refused a token with others.
                "claims" => {
                    let message =
                        "This agent takes no claims; what App Service has as its endpoint takes none";
                    return Err(bad("claims", message));
                }
                _ => {}
            }
        }
        if version.as_deref() != Some(API_VERSION) {
            return Err(bad("api_version", "The parameter api-version must be 2019-08-01"));
        }
        match resource.filter(|resource: &String| !resource.trim().is_empty()) {
            Some(resource) => Ok(Self { resource, identity }),
            None => Err(bad("resource", "The parameter resource is required")),
        }
    }
}

fn once(
    slot: &mut Option<String>,
    value: String,
    reason: &'static str,
    name: &'static str,
) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(reason, format!("The parameter {name} was given twice"))),
    }
}

fn named(
    slot: &mut Option<ManagedIdentityId>,
    id: Result<ManagedIdentityId, symbolon::Error>,
) -> Result<(), Refusal> {
    let id = id.map_err(|_| bad("identity", "The identity that was named is empty"))?;
    match slot.replace(id) {
        None => Ok(()),
        Some(_) => Err(bad("identities", "At most one identity may be named")),
    }
}

fn bound() -> Refusal {
    bad(
        "bound_token",
        "This agent gives out bearer tokens only: a token that is bound to a key is of no use in a process that does not \
         have the key; use the symbolon library or command in the process that calls the resource",
    )
}

fn bad(reason: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_and_identity_are_read() {
        let id = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
        for (more, identity) in [
            (String::new(), None),
            ("&unknown=1&token_type=Bearer".to_owned(), None),
            (format!("&client_id={id}"), ManagedIdentityId::client_id(id).ok()),
            (format!("&principal_id={id}"), ManagedIdentityId::object_id(id).ok()),
            (format!("&object_id={id}"), ManagedIdentityId::object_id(id).ok()),
            (
                "&mi_res_id=%2Fsubscriptions%2Fx".to_owned(),
                ManagedIdentityId::resource_id("/subscriptions/x").ok(),
            ),
        ] {
            let ask = Ask::read(&format!("resource=https%3A%2F%2Fx.example&api-version=2019-08-01{more}"));
            let Ok(ask) = ask else { panic!("{more} was refused") };
            assert_eq!(ask, Ask { resource: "https://x.example".to_owned(), identity }, "{more}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_its_reason() {
        for (query, reason) in [
            ("", "api_version"),
            ("api-version=2017-09-01&resource=x", "api_version"),
            ("api-version=2019-08-01&api-version=2019-08-01&resource=x", "api_version"),
            ("api-version=2019-08-01", "resource"),
            ("api-version=2019-08-01&resource=%20", "resource"),
            ("api-version=2019-08-01&resource=x&resource=y", "resource"),
            ("api-version=2019-08-01&resource=x&client_id=", "identity"),
            ("api-version=2019-08-01&resource=x&client_id=a&object_id=b", "identities"),
            ("api-version=2019-08-01&resource=x&token_type=mtls_pop", "bound_token"),
            ("api-version=2019-08-01&resource=x&req_cnf=e30", "bound_token"),
            ("api-version=2019-08-01&resource=x&claims=%7B%7D", "claims"),
        ] {
            let Err(refusal) = Ask::read(query) else { panic!("{query} was taken") };
            assert_eq!((refusal.status, &*refusal.reason), (StatusCode::BAD_REQUEST, reason), "{query}");
        }
    }
}
