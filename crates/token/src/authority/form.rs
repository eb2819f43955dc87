//! What the URL of an authority says.

use symbolon_types::{Error, ErrorKind};
use url::{Host, Url};

use super::tenant::{Tenant, is_segment};

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
pub(super) enum Form {
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

impl Form {
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

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761 §6.3.
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, AuthorityKind};
    use super::*;

    fn parse(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn the_path_and_the_host_tell_the_kind() {
        use AuthorityKind::{Adfs, B2c, Ciam, Dsts, Entra};
        for (text, kind, canonical, tenant) in [
            (
                "https://login.microsoftonline.com/Contoso.OnMicrosoft.com",
                Entra,
                "https://login.microsoftonline.com/contoso.onmicrosoft.com/",
                Some("contoso.onmicrosoft.com"),
            ),
            (
                "https://LOGIN.microsoftonline.us/751A212b-4003-416e-b600-e1f48e40db9f/",
                Entra,
                "https://login.microsoftonline.us/751a212b-4003-416e-b600-e1f48e40db9f/",
                Some("751a212b-4003-416e-b600-e1f48e40db9f"),
            ),
            ("https://login.example:8443/t/v2.0", Entra, "https://login.example:8443/t/", Some("t")),
            ("https://login.example:443/t", Entra, "https://login.example/t/", Some("t")),
            ("https://127.0.0.1:8443/t", Entra, "https://127.0.0.1:8443/t/", Some("t")),
            ("https://[::1]:8443/t", Entra, "https://[::1]:8443/t/", Some("t")),
            (
                "https://contoso.ciamlogin.com",
                Ciam,
                "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/",
                Some("contoso.onmicrosoft.com"),
            ),
            ("https://contoso.ciamlogin.com/T", Ciam, "https://contoso.ciamlogin.com/t/", Some("t")),
            (
                "https://contoso.b2clogin.com/tfp/Contoso.onmicrosoft.com/B2C_1_Sign-in",
                B2c,
                "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/b2c_1_sign-in/",
                Some("contoso.onmicrosoft.com"),
            ),
            ("https://sts.contoso.com/ADFS", Adfs, "https://sts.contoso.com/adfs/", None),
            ("https://sts.contoso.com/adfs/ls/", Adfs, "https://sts.contoso.com/adfs/", None),
            ("https://dsts.example/dstsv2/T", Dsts, "https://dsts.example/dstsv2/t/", Some("t")),
            ("https://ciamlogin.com/t", Entra, "https://ciamlogin.com/t/", Some("t")),
            (
                "https://ciamlogin.com.evil.example/t",
                Entra,
                "https://ciamlogin.com.evil.example/t/",
                Some("t"),
            ),
        ] {
            let authority = parse(text);
            assert_eq!(authority.kind(), kind, "{text}");
            assert_eq!(authority.as_str(), canonical, "{text}");
            assert_eq!(authority.tenant().map(Tenant::as_str), tenant, "{text}");
            assert_eq!(parse(canonical), authority, "{text}");
        }
    }

    #[test]
    fn route_18_what_is_no_https_url_with_a_tenant_is_refused() {
        for text in [
            "",
            "login.microsoftonline.com/t",
            "https://",
            "http://login.microsoftonline.com/t",
            "http://127.0.0.1/t",
            "ftp://login.microsoftonline.com/t",
            "https://login.microsoftonline.com",
            "https://login.microsoftonline.com/",
            "https://login.microsoftonline.com//t",
            "https://login.microsoftonline.com/a%2Fb",
            "https://login.microsoftonline.com/a b",
            "https://login.microsoftonline.com/t?x=1",
            "https://login.microsoftonline.com/t?",
            "https://login.microsoftonline.com/t#x",
            "https://user@login.microsoftonline.com/t",
            "https://:p@login.microsoftonline.com/t",
            "https://.ciamlogin.com",
            "https://dsts.example/dstsv2",
            "https://dsts.example/dstsv2/",
            "https://contoso.b2clogin.com/tfp/t",
            "https://contoso.b2clogin.com/tfp/t/p%3F",
        ] {
            let error = Authority::parse(text).expect_err(text);
            assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_authority"), "{text}");
            assert!(error.advice().contains("https://host/tenant"), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only_and_only_when_allowed() {
        for (text, allowed) in [
            ("http://127.0.0.1:8080/t", true),
            ("http://localhost/t", true),
            ("http://[::1]/t", true),
            ("http://localhost.evil.example/t", false),
            ("http://login.microsoftonline.com/t", false),
            ("http://10.0.0.1/t", false),
        ] {
            assert_eq!(Authority::allowing_http_on_loopback(text).is_ok(), allowed, "{text}");
            assert!(Authority::parse(text).is_err(), "{text}");
        }
    }
}
