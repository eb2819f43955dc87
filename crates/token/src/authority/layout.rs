//! What the URL of an authority says.

use symbolon_types::{Error, ErrorKind};
use url::Url;

use super::tenant::{Tenant, is_segment};
use crate::oauth::is_loopback;

/// Under which hosts external tenants are served.
pub(super) const CIAM_SUFFIX: &str = ".ciamlogin.com";
/// The domain of an external tenant whose authority names none (MSAL.NET `CiamAuthority`).
const CIAM_TENANT_SUFFIX: &str = ".onmicrosoft.com";
/// First path segments that tell the kind of an authority (MSAL.NET `AuthorityInfo`).
const ADFS: &str = "adfs";
const DSTS: &str = "dstsv2";
const B2C: &str = "tfp";

/// What the path of an authority says.
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
    /// The issuer as it was given: its metadata must repeat it to the letter.
    Oidc {
        issuer: Box<str>,
    },
}

impl AuthorityLayout {
    /// What the host and the path say.
    pub(super) fn of(url: &Url) -> Result<Self, Error> {
        let path = url.path().to_ascii_lowercase();
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        let tenant_at = |index: usize| match segments.get(index) {
            Some(segment) => Tenant::parse(segment).map_err(|_| invalid("names a tenant that cannot be one")),
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

    /// The canonical path; `None` when the path stays as it was given.
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

/// Whether an authority with this for its tenant would be one of another kind.
pub(super) fn tells_the_kind(tenant: &Tenant) -> bool {
    matches!(tenant.as_str(), ADFS | DSTS | B2C)
}

const ADVICE: &str =
    "use the form https://host/tenant, for example https://login.microsoftonline.com/contoso.com";
pub(super) const OIDC_ADVICE: &str = "use the issuer as it stands in the metadata of the provider";

pub(super) fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Request, "invalid_authority", format!("the authority {what}; nothing was sent"))
        .with_advice(ADVICE)
}

/// A URL that may be an authority's.
pub(super) fn origin_of(text: &str, http_on_loopback: bool) -> Result<Url, Error> {
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

fn ciam_name(url: &Url) -> Option<&str> {
    url.host_str()?.strip_suffix(CIAM_SUFFIX).filter(|name| !name.is_empty())
}
