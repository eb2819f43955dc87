//! The parts of an authority URL.

use symbolon_transport::is_loopback;
use symbolon_types::{Error, ErrorKind, input_flaw};
use url::Url;

use super::tenant::{Tenant, is_segment};

/// The domain of the hosts of external tenants.
pub(super) const CIAM_SUFFIX: &str = ".ciamlogin.com";
/// The domain of an external tenant whose authority has no path.
const CIAM_TENANT_SUFFIX: &str = ".onmicrosoft.com";
/// The first path segments that select the kind (`docs/protocol/routing.md#authorities`).
const ADFS: &str = "adfs";
const DSTS: &str = "dstsv2";
const B2C: &str = "tfp";

/// The kind of an authority, with the variable parts of its path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum AuthorityLayout {
    Entra(Tenant),
    Ciam(Tenant),
    B2c {
        tenant: Tenant,
        policy: Box<str>,
    },
    Adfs,
    Dsts(Tenant),
    /// The issuer as configured, with which the `issuer` of the metadata must be identical.
    Oidc {
        issuer: Box<str>,
    },
}

impl AuthorityLayout {
    /// Reads host and path.
    pub(super) fn of(url: &Url) -> Result<Self, Error> {
        let path = url.path().to_ascii_lowercase();
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        let tenant_at = |index: usize| match segments.get(index) {
            Some(segment) => Tenant::parse(segment).map_err(|_| invalid("names an invalid tenant")),
            None => Err(invalid("names no tenant")),
        };
        Ok(match (segments.first().copied(), ciam_name(url)) {
            (None, Some(name)) => {
                let tenant = Tenant::parse(&format!("{name}{CIAM_TENANT_SUFFIX}"));
                Self::Ciam(tenant.map_err(|_| invalid("is on a host that names no tenant"))?)
            }
            (Some(_), Some(_)) => Self::Ciam(tenant_at(0)?),
            (Some(ADFS), None) => Self::Adfs,
            (Some(DSTS), None) => Self::Dsts(tenant_at(1)?),
            (Some(B2C), None) => Self::B2c {
                tenant: tenant_at(1)?,
                policy: match segments.get(2).copied() {
                    Some(policy) if is_segment(policy) => policy.into(),
                    _ => return Err(invalid("names no policy")),
                },
            },
            (_, None) => Self::Entra(tenant_at(0)?),
        })
    }

    /// Returns the canonical path; `None` if the path is not changed.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::Entra(tenant) | Self::Ciam(tenant) => Some(format!("/{tenant}/")),
            Self::B2c { tenant, policy } => Some(format!("/{B2C}/{tenant}/{policy}/")),
            Self::Adfs => Some(format!("/{ADFS}/")),
            Self::Dsts(tenant) => Some(format!("/{DSTS}/{tenant}/")),
            Self::Oidc { .. } => None,
        }
    }
}

/// Returns whether an authority with this tenant in its path would be of another kind.
pub(super) fn selects_kind(tenant: &Tenant) -> bool {
    matches!(tenant.as_str(), ADFS | DSTS | B2C)
}

const ADVICE: &str =
    "use the form https://host/tenant, for example https://login.microsoftonline.com/contoso.com";
pub(super) const OIDC_ADVICE: &str = "use the `issuer` of the provider's metadata";

pub(super) fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::Request, "invalid_authority", format!("the authority {reason}; nothing was sent"))
        .with_advice(ADVICE)
}

/// Parses a URL that has the general form of an authority.
pub(super) fn parse_url(text: &str, http_on_loopback: bool) -> Result<Url, Error> {
    if let Some(flaw) = input_flaw(text) {
        return Err(invalid(flaw));
    }
    let url: Url = text.parse().map_err(|_| invalid("is not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if http_on_loopback && is_loopback(&url) => {}
        _ => return Err(invalid("is not an https URL")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("contains user information"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("contains a query or a fragment"));
    }
    Ok(url)
}

/// Parses the host of an authority. A host without a scheme, as it is often written in
/// `AZURE_AUTHORITY_HOST`, is an https host.
///
/// # Errors
/// `invalid_authority` if the text is not a URL.
pub fn authority_host(text: &str) -> Result<Url, Error> {
    if let Some(flaw) = input_flaw(text) {
        return Err(invalid(flaw));
    }
    let url = if text.contains("://") { text.parse() } else { format!("https://{text}").parse() };
    url.map_err(|_| invalid("is not a URL"))
}

fn ciam_name(url: &Url) -> Option<&str> {
    url.host_str()?.strip_suffix(CIAM_SUFFIX).filter(|name| !name.is_empty())
}
