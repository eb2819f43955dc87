//! The query string of a token request, as App Service defines it.
//!
//! docs/protocol/sources.md#app-service

use std::borrow::Cow;

use http::StatusCode;
use symbolon::ManagedIdentityId;
use url::form_urlencoded;

use crate::rejection::Rejection;

/// The API version documented for App Service, Functions and Container Apps.
const API_VERSION: &str = "2019-08-01";

/// A parsed token request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenQuery {
    pub(crate) resource: String,
    /// `None` for the agent's default identity.
    pub(crate) identity: Option<ManagedIdentityId>,
}

impl TokenQuery {
    pub(crate) fn parse(query: &str) -> Result<Self, Rejection> {
        let (mut version, mut resource, mut identity) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match normalized(&name).as_str() {
                "apiversion" => set_once(&mut version, value, "api_version", "api-version")?,
                "resource" => set_once(&mut resource, value, "resource", "resource")?,
                "clientid" => set_identity(&mut identity, ManagedIdentityId::client_id(value))?,
                "principalid" | "objectid" => {
                    set_identity(&mut identity, ManagedIdentityId::object_id(value))?;
                }
                "miresid" | "msiresid" => {
                    set_identity(&mut identity, ManagedIdentityId::resource_id(value))?;
                }
                "tokentype" if value.eq_ignore_ascii_case("bearer") => {}
                "tokentype" | "reqcnf" => {
                    let message = "This agent issues bearer tokens only. A bound token cannot be used by another \
                                   process, which does not have its key: request it with the symbolon library or \
                                   command in the process that calls the resource";
                    return Err(invalid_query("bound_token", message));
                }
                // Ignoring claims would return a token that the resource has already refused.
                "claims" => {
                    let message = "This agent does not accept claims, as App Service does not either";
                    return Err(invalid_query("claims", message));
                }
                // Ignoring it would return a token of the default identity.
                other if may_name_identity(other) => {
                    let message = "The query has an unknown parameter that looks like an identity: name the identity \
                                   by client_id, object_id or mi_res_id";
                    return Err(invalid_query("unknown_identity", message));
                }
                _ => {}
            }
        }
        if version.as_deref() != Some(API_VERSION) {
            let message = format!("The parameter api-version must be {API_VERSION}");
            return Err(invalid_query("api_version", message));
        }
        match resource.filter(|resource: &String| !resource.trim().is_empty()) {
            Some(resource) => Ok(Self { resource, identity }),
            None => Err(invalid_query("resource", "The parameter resource is required")),
        }
    }
}

/// Returns the name of a parameter without case and separators, which Azure's sources and clients
/// use differently.
///
/// docs/protocol/sources.md#identity-parameters
fn normalized(name: &str) -> String {
    let letters = name.chars().filter(|character| character.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Returns whether a client may mean an identity by an unknown parameter.
fn may_name_identity(normalized: &str) -> bool {
    let is_trace_id = ["requestid", "correlationid", "sessionid", "traceid"]
        .iter()
        .any(|suffix| normalized.ends_with(suffix));
    let is_identity = ["identity", "principal", "assigned", "uami", "msires", "mires", "clientid"]
        .iter()
        .any(|part| normalized.contains(part));
    let is_name = ["id", "ids", "client", "clients", "object", "application", "app", "account", "user"]
        .iter()
        .any(|suffix| normalized.ends_with(suffix));
    let is_short_name = ["mi", "msi", "sp", "spn", "upn", "sub", "subject"].contains(&normalized);
    is_identity || is_short_name || (is_name && !is_trace_id)
}

fn set_once(
    slot: &mut Option<String>,
    value: String,
    reason: &'static str,
    name: &'static str,
) -> Result<(), Rejection> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid_query(reason, format!("The parameter {name} was given twice"))),
    }
}

fn set_identity(
    slot: &mut Option<ManagedIdentityId>,
    id: Result<ManagedIdentityId, symbolon::Error>,
) -> Result<(), Rejection> {
    let id = id.map_err(|_| invalid_query("identity", "The id of the identity is empty"))?;
    match slot {
        Some(other) if same_identity(other, &id) => Ok(()),
        Some(_) => Err(invalid_query("identities", "At most one identity may be named")),
        None => {
            *slot = Some(id);
            Ok(())
        }
    }
}

/// Compares ids without case, as Azure does.
pub(crate) fn same_identity(one: &ManagedIdentityId, other: &ManagedIdentityId) -> bool {
    let same_value = match (one.value(), other.value()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _ => false,
    };
    one.kind() == other.kind() && same_value
}

fn invalid_query(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_and_identity_are_parsed() {
        let id = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
        for (more, identity) in [
            (String::new(), None),
            ("&unknown=1&token_type=Bearer".to_owned(), None),
            (format!("&client_id={id}"), ManagedIdentityId::client_id(id).ok()),
            (format!("&clientid={id}"), ManagedIdentityId::client_id(id).ok()),
            (format!("&Client-ID={id}"), ManagedIdentityId::client_id(id).ok()),
            (
                format!("&client_id={id}&clientId={}", id.to_uppercase()),
                ManagedIdentityId::client_id(id).ok(),
            ),
            (format!("&principalId={id}"), ManagedIdentityId::object_id(id).ok()),
            (format!("&objectid={id}"), ManagedIdentityId::object_id(id).ok()),
            ("&msi_res_id=%2Fx".to_owned(), ManagedIdentityId::resource_id("/x").ok()),
            ("&MI-Res-Id=%2Fx".to_owned(), ManagedIdentityId::resource_id("/x").ok()),
            ("&x-ms-client-request-id=1&xms_cc=cp1&bypass_cache=true".to_owned(), None),
            (format!("&principal_id={id}"), ManagedIdentityId::object_id(id).ok()),
            (format!("&object_id={id}"), ManagedIdentityId::object_id(id).ok()),
            (
                "&mi_res_id=%2Fsubscriptions%2Fx".to_owned(),
                ManagedIdentityId::resource_id("/subscriptions/x").ok(),
            ),
        ] {
            let query =
                TokenQuery::parse(&format!("resource=https%3A%2F%2Fx.example&api-version=2019-08-01{more}"));
            let Ok(query) = query else { panic!("{more} was rejected") };
            assert_eq!(query, TokenQuery { resource: "https://x.example".to_owned(), identity }, "{more}");
        }
    }

    #[test]
    fn identities_compare_by_kind_and_value() {
        let client = ManagedIdentityId::client_id("aB").unwrap();
        let system = ManagedIdentityId::system_assigned();
        assert!(same_identity(&client, &ManagedIdentityId::client_id("Ab").unwrap()));
        assert!(same_identity(&system, &ManagedIdentityId::system_assigned()));
        for other in [
            &ManagedIdentityId::object_id("aB").unwrap(),
            &ManagedIdentityId::client_id("a").unwrap(),
            &system,
        ] {
            assert!(!same_identity(&client, other), "{other:?}");
        }
    }

    #[test]
    fn invalid_queries_are_rejected_with_a_reason() {
        for (query, reason) in [
            ("", "api_version"),
            ("api-version=2017-09-01&resource=x", "api_version"),
            ("api-version=2019-08-01&api-version=2019-08-01&resource=x", "api_version"),
            ("api-version=2019-08-01", "resource"),
            ("api-version=2019-08-01&resource=%20", "resource"),
            ("api-version=2019-08-01&resource=x&resource=y", "resource"),
            ("api-version=2019-08-01&resource=x&client_id=", "identity"),
            ("api-version=2019-08-01&resource=x&client_id=a&object_id=b", "identities"),
            ("api-version=2019-08-01&resource=x&client_id=a&clientid=b", "identities"),
            ("api-version=2019-08-01&resource=x&clientid=", "identity"),
            ("api-version=2019-08-01&resource=x&msi_res_id=%20", "identity"),
            ("api-version=2019-08-01&resource=x&identity=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&resource_id=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&user-assigned=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&managedIdentityClientId=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&cIient_id=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&clients=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&msi=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&SPN=a", "unknown_identity"),
            ("api-version=2019-08-01&resource=x&Resource=y", "resource"),
            ("api-version=2019-08-01&resource=x&tokenType=mtls_pop", "bound_token"),
            ("api-version=2019-08-01&resource=x&token_type=mtls_pop", "bound_token"),
            ("api-version=2019-08-01&resource=x&req_cnf=e30", "bound_token"),
            ("api-version=2019-08-01&resource=x&claims=%7B%7D", "claims"),
        ] {
            let Err(rejection) = TokenQuery::parse(query) else { panic!("{query} was accepted") };
            assert_eq!((rejection.status, &*rejection.reason), (StatusCode::BAD_REQUEST, reason), "{query}");
        }
    }
}
