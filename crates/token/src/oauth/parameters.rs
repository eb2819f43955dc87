//! Parameters that are the caller's own.

use symbolon_types::{Error, ErrorKind};

/// What the exchange itself sends: a caller's parameter of the same name would be a second one,
/// which RFC 6749 §3.2 forbids.
const RESERVED: [&str; 20] = [
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_info",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "req_cnf",
    "requested_token_use",
    "response_type",
    "scope",
    "state",
    "token_type",
    "username",
];

/// Whether a parameter changes which token comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Caching {
    /// It does: tokens for different values are cached apart.
    Keyed,
    /// It does not: a token that was asked for with another value will do.
    Unkeyed,
}

/// Where a parameter goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParameterTarget {
    Body,
    Query,
    /// Into the telemetry of the request.
    Telemetry,
}

/// The caller's own parameters of a token request. Most have none, and a request that finds its
/// token in the cache should be little to move.
#[derive(Clone, Default)]
pub(crate) struct Parameters(Option<Box<ParameterList>>);

#[derive(Clone, Default)]
struct ParameterList {
    all: Vec<(ParameterTarget, String, String)>,
    /// Those that are part of the cache key, sorted.
    keyed: Vec<(String, String)>,
}

impl Parameters {
    /// Parameters of the query that are told in the telemetry instead, and make no other token.
    /// (MSAL.NET `Constants`.)
    pub(crate) const CALLER_SDK_ID: &str = "caller-sdk-id";
    pub(crate) const CALLER_SDK_VERSION: &str = "caller-sdk-ver";
    pub(crate) const MANAGED_CERTIFICATE: &str = "ManagedCert";

    pub(crate) fn add_to_body(&mut self, name: &str, value: &str, caching: Caching) {
        self.add(ParameterTarget::Body, name, value, caching);
    }

    pub(crate) fn add_to_query(&mut self, name: &str, value: &str, caching: Caching) {
        match name {
            Self::CALLER_SDK_ID | Self::CALLER_SDK_VERSION | Self::MANAGED_CERTIFICATE => {
                self.add(ParameterTarget::Telemetry, name, value, Caching::Unkeyed);
            }
            _ => self.add(ParameterTarget::Query, name, value, caching),
        }
    }

    /// A later value of the same name replaces the earlier.
    fn add(&mut self, target: ParameterTarget, name: &str, value: &str, caching: Caching) {
        let ParameterList { all, keyed } = &mut **self.0.get_or_insert_default();
        all.retain(|(at, known, _)| (*at, known.as_str()) != (target, name));
        all.push((target, name.to_owned(), value.to_owned()));
        let key = match target {
            ParameterTarget::Body => format!("body {name}"),
            ParameterTarget::Query => format!("query {name}"),
            ParameterTarget::Telemetry => return,
        };
        keyed.retain(|(known, _)| *known != key);
        if caching == Caching::Keyed {
            keyed.push((key, value.to_owned()));
            keyed.sort_unstable();
        }
    }

    /// # Errors
    /// `invalid_parameter` for a name that is empty or not the caller's to set.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (_, name, _) in self.all() {
            if name.is_empty() || RESERVED.contains(&name.as_str()) {
                let error = format!("the request sets the parameter {name:?} itself");
                return Err(Error::new(ErrorKind::Request, "invalid_parameter", error)
                    .with_advice("leave it out, or use the method that is meant for it"));
            }
        }
        Ok(())
    }

    pub(crate) fn in_body(&self) -> impl Iterator<Item = (&str, &str)> {
        self.of(ParameterTarget::Body)
    }

    pub(crate) fn in_query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.of(ParameterTarget::Query)
    }

    /// Returns the value of a parameter that goes into the telemetry header.
    pub(crate) fn for_telemetry(&self, name: &str) -> Option<&str> {
        self.of(ParameterTarget::Telemetry).find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(crate) fn has_query(&self) -> bool {
        self.in_query().next().is_some()
    }

    pub(crate) fn keyed(&self) -> &[(String, String)] {
        self.0.as_ref().map_or(&[], |given| &given.keyed)
    }

    fn all(&self) -> &[(ParameterTarget, String, String)] {
        self.0.as_ref().map_or(&[], |given| &given.all)
    }

    fn of(&self, target: ParameterTarget) -> impl Iterator<Item = (&str, &str)> {
        self.all()
            .iter()
            .filter(move |(at, ..)| *at == target)
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
    }
}
