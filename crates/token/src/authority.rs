//! Who issues tokens, and where its token endpoint is.
//!
//! An [`Authority`] is the URL that people know: `https://login.microsoftonline.com/contoso.com`.
//! From it to the [`TokenEndpoint`](crate::TokenEndpoint) there are up to three steps, in this order:
//!
//! 1. **Discovery**: is the host what it claims to be ([`Discovery`])? The hosts of the known clouds
//!    need no request; the endpoint of an OpenID provider stands in its metadata.
//! 2. **Region**: which of the cloud's regions is this machine in ([`RegionDetector`])? Not asked where
//!    no region serves the request ([`EndpointQuery`]).
//! 3. **Routing**: the host for this transport and region ([`Authority::token_endpoint`]). This step
//!    is pure, and the place where a certificate for an unknown host is refused.
//!
//! A [`Router`] does all three and remembers the outcome.

mod cloud;
mod discovery;
mod endpoint_query;
mod form;
mod instance;
mod memory;
mod openid;
mod region;
mod region_detector;
mod region_outcome;
mod router;
mod routing;
mod sign_in;
mod tenant;

use std::borrow::Cow;
use std::fmt;

use symbolon_types::{Error, ErrorKind};
use url::Url;

use cloud::Cloud;
use form::{Form, OIDC_ADVICE, is_loopback, origin_of};

pub use discovery::Discovery;
pub use endpoint_query::EndpointQuery;
pub use region::{Region, RegionChoice};
pub use region_detector::{RegionDetector, detect_region};
pub(crate) use region_outcome::{DetectedBy, RegionOutcome};
pub(crate) use router::Located;
pub use router::Router;
pub use routing::Routing;
pub use tenant::Tenant;

/// Who issues the tokens: a tenant of Microsoft Entra, or another token service, in canonical form.
///
/// ```
/// use symbolon_token::authority::{Authority, AuthorityKind, Routing};
///
/// let authority = Authority::parse("https://login.microsoftonline.com/Contoso.com")?;
/// assert_eq!(authority.kind(), AuthorityKind::Entra);
/// assert_eq!(authority.as_str(), "https://login.microsoftonline.com/contoso.com/");
/// let endpoint = authority.token_endpoint(&Routing { mtls: true, region: None })?;
/// assert_eq!(endpoint.url().as_str(), "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token");
/// # Ok::<(), symbolon_token::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    url: Url,
    form: Form,
}

/// Which token service an authority belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthorityKind {
    /// A tenant of Microsoft Entra ID: `https://login.microsoftonline.com/tenant`.
    Entra,
    /// An external tenant of Microsoft Entra: `https://name.ciamlogin.com`.
    Ciam,
    /// A user flow of Azure AD B2C: `https://name.b2clogin.com/tfp/tenant/policy`.
    B2c,
    /// Active Directory Federation Services: `https://host/adfs`.
    Adfs,
    /// Datacenter Security Token Service: `https://host/dstsv2/tenant`.
    Dsts,
    /// Any OpenID provider, known by its issuer.
    Oidc,
}

impl Authority {
    /// Reads an authority of Microsoft's token services; the path tells which.
    ///
    /// The form is `https://host/tenant`; what else stands behind the tenant does not count. For a
    /// provider that is none of these, see [`oidc`](Self::oidc).
    ///
    /// # Errors
    /// `invalid_authority` when it is not such an `https` URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Self::checked(url, false)
    }

    /// Reads also an `http` URL, if its host is a loopback address: for an emulator without TLS.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn allowing_http_on_loopback(url: &str) -> Result<Self, Error> {
        Self::checked(url, true)
    }

    /// An OpenID provider, by its issuer exactly as its metadata spells it.
    ///
    /// Its token endpoint comes from `{issuer}/.well-known/openid-configuration` (OpenID Connect
    /// Discovery 1.0 §4), so it needs a [`Router`].
    ///
    /// # Errors
    /// `invalid_authority` when it is not an `https` URL without query and fragment.
    pub fn oidc(issuer: &str) -> Result<Self, Error> {
        let url = origin_of(issuer, false).map_err(|error| error.with_advice(OIDC_ADVICE))?;
        Ok(Self { url, form: Form::Oidc { issuer: issuer.into() } })
    }

    fn checked(text: &str, http_on_loopback: bool) -> Result<Self, Error> {
        let url = origin_of(text, http_on_loopback)?;
        let form = Form::of(&url)?;
        Ok(Self::on(url, form))
    }

    /// A form on the origin of `url`.
    fn on(mut url: Url, form: Form) -> Self {
        if let Some(path) = form.path() {
            url.set_path(&path);
        }
        Self { url, form }
    }

    /// The same authority for another tenant.
    ///
    /// # Errors
    /// `invalid_tenant` when the text cannot be one, `authority_type_mismatch` when this kind of
    /// authority has no tenant to replace: AD FS and OpenID providers have none, and a B2C policy
    /// belongs to its tenant.
    pub fn with_tenant(&self, tenant: &str) -> Result<Self, Error> {
        let tenant = Tenant::parse(tenant)?;
        let form = match &self.form {
            Form::Entra(_) if !form::tells_the_kind(&tenant) => Form::Entra(tenant),
            Form::Ciam(_) => Form::Ciam(tenant),
            Form::Dsts(_) => Form::Dsts(tenant),
            Form::Entra(_) | Form::B2c { .. } | Form::Adfs | Form::Oidc { .. } => {
                let error = "the tenant cannot be replaced in this kind of authority; nothing was sent";
                return Err(Error::new(ErrorKind::Request, "authority_type_mismatch", error)
                    .with_advice("leave the tenant out, or configure an authority that has one"));
            }
        };
        Ok(Self::on(self.url.clone(), form))
    }

    /// Which token service it belongs to.
    #[must_use]
    pub fn kind(&self) -> AuthorityKind {
        match self.form {
            Form::Entra(_) => AuthorityKind::Entra,
            Form::Ciam(_) => AuthorityKind::Ciam,
            Form::B2c { .. } => AuthorityKind::B2c,
            Form::Adfs => AuthorityKind::Adfs,
            Form::Dsts(_) => AuthorityKind::Dsts,
            Form::Oidc { .. } => AuthorityKind::Oidc,
        }
    }

    /// The tenant, where there is one.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.form {
            Form::Entra(tenant) | Form::Ciam(tenant) | Form::B2c { tenant, .. } | Form::Dsts(tenant) => {
                Some(tenant)
            }
            Form::Adfs | Form::Oidc { .. } => None,
        }
    }

    /// The canonical URL: lower case and with a slash at its end, except that an issuer stays as
    /// it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.issuer().unwrap_or(self.url.as_str())
    }

    /// Whether the host belongs to a cloud of Microsoft Entra that needs no discovery.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.cloud().is_some()
    }

    /// Under which name of the host tokens are cached.
    ///
    /// There is one for each cloud, whatever its alias, the region and the transport, so that a token
    /// obtained by way of one is found by way of the others. (MSAL.NET `KnownMetadataProvider`:
    /// "preferred cache".) A host of no known cloud is its own, with its port unless that is 443.
    #[must_use]
    pub fn cache_environment(&self) -> Cow<'_, str> {
        match (self.cloud(), self.url.host_str().unwrap_or_default(), self.url.port()) {
            (Some(cloud), _, _) => Cow::Borrowed(cloud.cache),
            (None, host, None) => Cow::Borrowed(host),
            (None, host, Some(port)) => Cow::Owned(format!("{host}:{port}")),
        }
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.form {
            Form::Oidc { issuer } => Some(issuer),
            _ => None,
        }
    }

    /// The host of an Entra authority that regions, mTLS hosts and instance discovery are about:
    /// not that of an emulator on this machine.
    fn cloud_host(&self) -> Option<&str> {
        match self.form {
            Form::Entra(_) if !is_loopback(&self.url) => self.url.host_str(),
            _ => None,
        }
    }

    fn cloud(&self) -> Option<&'static Cloud> {
        Cloud::of(self.cloud_host()?)
    }
}

/// Shows the kind and the host: the path names the tenant.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("Authority").field("kind", &self.kind()).field("host", &host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn an_issuer_is_kept_to_the_letter() {
        for issuer in ["https://idp.example", "https://idp.example/Realms/A", "https://idp.example/a/"] {
            let authority = Authority::oidc(issuer).unwrap();
            assert_eq!((authority.kind(), authority.as_str()), (AuthorityKind::Oidc, issuer));
            assert_eq!(authority.tenant(), None);
        }
        for issuer in
            ["idp", "http://idp.example", "http://localhost", "https://i.example?x", "https://i.example#x"]
        {
            assert_eq!(Authority::oidc(issuer).unwrap_err().code(), "invalid_authority", "{issuer}");
        }
    }

    #[test]
    fn a_tenant_is_replaced_where_there_is_one() {
        for (text, tenant, outcome) in [
            (
                "https://login.microsoftonline.com/common",
                "Fabrikam.com",
                "https://login.microsoftonline.com/fabrikam.com/",
            ),
            ("https://login.example:8443/a", "b", "https://login.example:8443/b/"),
            ("https://contoso.ciamlogin.com", "b", "https://contoso.ciamlogin.com/b/"),
            ("https://dsts.example/dstsv2/a", "b", "https://dsts.example/dstsv2/b/"),
            ("https://contoso.b2clogin.com/tfp/a/p", "b", "authority_type_mismatch"),
            ("https://sts.example/adfs", "b", "authority_type_mismatch"),
            ("https://login.example/a", "adfs", "authority_type_mismatch"),
            ("https://login.example/a", "DSTSv2", "authority_type_mismatch"),
            ("https://login.example/a", "", "invalid_tenant"),
            ("https://login.example/a", "../b", "invalid_tenant"),
        ] {
            let replaced = parse(text).with_tenant(tenant);
            let shown = replaced.map_or_else(|error| error.code().to_owned(), |it| it.as_str().to_owned());
            assert_eq!(shown, outcome, "{text} {tenant}");
        }
        let error = Authority::oidc("https://idp.example").unwrap().with_tenant("b").unwrap_err();
        assert_eq!(error.code(), "authority_type_mismatch");
    }

    #[test]
    fn all_names_of_a_cloud_share_one_cache_environment() {
        for (host, environment, known) in [
            ("login.microsoftonline.com", "login.windows.net", true),
            ("login.windows.net", "login.windows.net", true),
            ("login.microsoft.com", "login.windows.net", true),
            ("sts.windows.net", "login.windows.net", true),
            ("login.partner.microsoftonline.cn", "login.partner.microsoftonline.cn", true),
            ("login.chinacloudapi.cn", "login.partner.microsoftonline.cn", true),
            ("login.microsoftonline.de", "login.microsoftonline.de", true),
            ("login.microsoftonline.us", "login.microsoftonline.us", true),
            ("login.usgovcloudapi.net", "login.microsoftonline.us", true),
            ("login-us.microsoftonline.com", "login-us.microsoftonline.com", true),
            ("login.windows-ppe.net", "login.windows-ppe.net", true),
            ("sts.windows-ppe.net", "login.windows-ppe.net", true),
            ("login.microsoft-ppe.com", "login.windows-ppe.net", true),
            ("login.sovcloud-identity.fr", "login.sovcloud-identity.fr", true),
            ("login.sovcloud-identity.de", "login.sovcloud-identity.de", true),
            ("login.sovcloud-identity.sg", "login.sovcloud-identity.sg", true),
            ("login.foo.bar", "login.foo.bar", false),
            ("login.microsoftonline.com.foo.bar", "login.microsoftonline.com.foo.bar", false),
            ("127.0.0.1:8443", "127.0.0.1:8443", false),
        ] {
            let authority = parse(&format!("https://{host}/t"));
            assert_eq!(authority.cache_environment(), environment, "{host}");
            assert_eq!(authority.is_known(), known, "{host}");
        }
    }

    #[test]
    fn debug_does_not_name_the_tenant() {
        let shown = format!("{:?}", parse("https://login.microsoftonline.com/contoso.com"));
        assert_eq!(shown, r#"Authority { kind: Entra, host: "login.microsoftonline.com", .. }"#);
    }
}
