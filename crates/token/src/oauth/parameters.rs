//! Parameters of a token request that the caller adds.

use symbolon_types::{Error, ErrorKind};

/// Parameters that the exchange sets: RFC 6749 §3.2 forbids a second one of the same name.
const RESERVED: [&str; 23] = [
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_info",
    "client_secret",
    "code",
    "code_verifier",
    "fmi_path",
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
    "user_federated_identity_credential",
    "user_id",
    "username",
];

/// The relation of a parameter to the token cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Caching {
    /// The parameter is part of the cache key: each value has a token of its own.
    Keyed,
    /// The parameter is not part of the cache key: a token requested with another value serves.
    Unkeyed,
}

/// The part of the request that carries a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParameterTarget {
    Body,
    Query,
    TelemetryHeader,
    CacheKey,
}

/// The parameters that a caller adds to a token request.
#[derive(Clone, Default)]
pub(crate) struct Parameters {
    all: Vec<(ParameterTarget, String, String)>,
    /// Parameters of the cache key, sorted.
    keyed: Vec<(String, String)>,
    /// The parameter `fmi_path`.
    fmi_path: Option<String>,
    /// The path for the client assertion, where it is not `fmi_path`.
    assertion_fmi_path: Option<String>,
}

/// The parameter that names a child of the client.
const FMI_PATH: &str = "fmi_path";
/// The part of the cache key with the path for the client assertion.
const ASSERTION_FMI_PATH: &str = "credential_fmi_path";

impl Parameters {
    /// Query parameters whose values go into the telemetry header instead
    /// (`docs/protocol/token-request.md#telemetry-header`).
    pub(crate) const CALLER_SDK_ID: &str = "caller-sdk-id";
    pub(crate) const CALLER_SDK_VERSION: &str = "caller-sdk-ver";
    pub(crate) const MANAGED_CERTIFICATE: &str = "ManagedCert";

    pub(crate) fn add_to_body(&mut self, name: &str, value: &str, caching: Caching) {
        self.add(ParameterTarget::Body, name, value, caching);
    }

    pub(crate) fn add_to_query(&mut self, name: &str, value: &str, caching: Caching) {
        match name {
            Self::CALLER_SDK_ID | Self::CALLER_SDK_VERSION | Self::MANAGED_CERTIFICATE => {
                self.add(ParameterTarget::TelemetryHeader, name, value, Caching::Unkeyed);
            }
            _ => self.add(ParameterTarget::Query, name, value, caching),
        }
    }

    /// Adds a part of the cache key that is not sent.
    pub(crate) fn add_to_key(&mut self, name: &str, value: &str) {
        self.add(ParameterTarget::CacheKey, name, value, Caching::Keyed);
    }

    pub(crate) fn set_fmi_path(&mut self, path: &str) {
        self.set_key(FMI_PATH.to_owned(), Some(path));
        self.fmi_path = Some(path.to_owned());
    }

    pub(crate) fn set_assertion_fmi_path(&mut self, path: &str) {
        self.set_key(ASSERTION_FMI_PATH.to_owned(), Some(path));
        self.assertion_fmi_path = Some(path.to_owned());
    }

    /// Returns the parameter `fmi_path`.
    pub(crate) fn fmi_path(&self) -> Option<&str> {
        self.fmi_path.as_deref()
    }

    /// Returns the path for the client assertion.
    pub(crate) fn assertion_fmi_path(&self) -> Option<&str> {
        self.assertion_fmi_path.as_deref().or(self.fmi_path())
    }

    /// Adds a parameter, replacing an earlier value of the same name.
    fn add(&mut self, target: ParameterTarget, name: &str, value: &str, caching: Caching) {
        self.all.retain(|(other, known, _)| (*other, known.as_str()) != (target, name));
        self.all.push((target, name.to_owned(), value.to_owned()));
        let key = match target {
            ParameterTarget::Body => format!("body {name}"),
            ParameterTarget::Query => format!("query {name}"),
            ParameterTarget::CacheKey => format!("key {name}"),
            ParameterTarget::TelemetryHeader => return,
        };
        self.set_key(key, (caching == Caching::Keyed).then_some(value));
    }

    /// Sets or removes a part of the cache key.
    fn set_key(&mut self, key: String, value: Option<&str>) {
        self.keyed.retain(|(known, _)| *known != key);
        if let Some(value) = value {
            self.keyed.push((key, value.to_owned()));
            self.keyed.sort_unstable();
        }
    }

    /// Validates the names, and the path of a child of the client.
    ///
    /// # Errors
    /// `invalid_parameter` for an empty name, a parameter that the exchange sets, and a blank path.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if [&self.fmi_path, &self.assertion_fmi_path].into_iter().flatten().any(|path| path.trim().is_empty())
        {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_parameter",
                "the FMI path is empty; nothing was sent",
            )
            .with_advice("pass the path of the child, such as the client id of an agent identity"));
        }
        for (target, name, _) in &self.all {
            let is_sent = *target != ParameterTarget::CacheKey;
            if name.is_empty() || is_sent && RESERVED.contains(&name.as_str()) {
                let error = format!("the request sets the parameter {name:?} itself");
                return Err(Error::new(ErrorKind::Request, "invalid_parameter", error)
                    .with_advice("leave it out, or use the method of the request that sets it"));
            }
        }
        Ok(())
    }

    pub(crate) fn in_body(&self) -> impl Iterator<Item = (&str, &str)> {
        let fmi_path = self.fmi_path().map(|path| (FMI_PATH, path));
        fmi_path.into_iter().chain(self.with_target(ParameterTarget::Body))
    }

    pub(crate) fn in_query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_target(ParameterTarget::Query)
    }

    /// Returns the value of a parameter of the telemetry header.
    pub(crate) fn for_telemetry(&self, name: &str) -> Option<&str> {
        self.with_target(ParameterTarget::TelemetryHeader)
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn keyed(&self) -> &[(String, String)] {
        &self.keyed
    }

    fn with_target(&self, target: ParameterTarget) -> impl Iterator<Item = (&str, &str)> {
        self.all
            .iter()
            .filter(move |(other, ..)| *other == target)
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
    }
}
