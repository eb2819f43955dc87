//! The URL and the kind of an authority.

use std::borrow::Cow;

use symbolon_transport::is_loopback;
use symbolon_types::{Error, ErrorKind};
use url::Url;

use super::cloud::Cloud;
use super::layout::{self, AuthorityLayout, OIDC_ADVICE, authority_host, parse_url};
use super::tenant::Tenant;

/// An issuer of tokens in canonical form: a tenant of Microsoft Entra, or another token service.
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
    pub(super) url: Url,
    pub(super) layout: AuthorityLayout,
}

/// The token service of an authority.
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
    /// Any OpenID provider, identified by its issuer.
    Oidc,
}

impl Authority {
    /// Parses an authority of one of Microsoft's token services, of the form `https://host/tenant`.
    /// Host and path select the [kind](AuthorityKind); further path segments are ignored.
    ///
    /// For any other provider, use [`oidc`](Self::oidc).
    ///
    /// # Errors
    /// `invalid_authority` if the text is not such an `https` URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Self::parse_checked(url, false)
    }

    /// Parses an authority, which may be an `http` URL if its host is a loopback address: for an
    /// emulator without TLS.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn allowing_http_on_loopback(url: &str) -> Result<Self, Error> {
        Self::parse_checked(url, true)
    }

    /// Creates the authority of a tenant on a host, as `AZURE_AUTHORITY_HOST` and `AZURE_TENANT_ID`
    /// name them. The host may lack its scheme, which is then `https`.
    ///
    /// # Errors
    /// `invalid_authority` if the host is not an `https` URL or a host name, or has a path that
    /// names another tenant; `invalid_tenant` if the tenant is neither an id nor a domain.
    pub fn on_host(host: &str, tenant: &str) -> Result<Self, Error> {
        let tenant = Tenant::parse(tenant)?;
        let host = authority_host(host)?;
        let authority = Self::parse(&format!("{}/{tenant}", host.as_str().trim_end_matches('/')))?;
        // The path of the host comes first, so that its tenant would be the one of the requests.
        if authority.tenant().is_some_and(|named| *named != tenant) {
            return Err(layout::invalid("has a path that names another tenant")
                .with_advice("name the host alone, for example https://login.microsoftonline.com"));
        }
        Ok(authority)
    }

    /// Creates the authority of an OpenID provider from its issuer, exactly as the provider's
    /// metadata spell it.
    ///
    /// A [`Router`](super::Router) reads the endpoints from
    /// `{issuer}/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4).
    ///
    /// # Errors
    /// `invalid_authority` if the text is not an `https` URL without query and fragment.
    pub fn oidc(issuer: &str) -> Result<Self, Error> {
        let url = parse_url(issuer, false).map_err(|error| error.with_advice(OIDC_ADVICE))?;
        Ok(Self { url, layout: AuthorityLayout::Oidc { issuer: issuer.into() } })
    }

    fn parse_checked(text: &str, http_on_loopback: bool) -> Result<Self, Error> {
        let url = parse_url(text, http_on_loopback)?;
        let layout = AuthorityLayout::of(&url)?;
        Ok(Self::on(url, layout))
    }

    /// Creates an authority with this layout on the origin of `url`.
    fn on(mut url: Url, layout: AuthorityLayout) -> Self {
        if let Some(path) = layout.path() {
            url.set_path(&path);
        }
        Self { url, layout }
    }

    /// Returns the authority with another tenant.
    ///
    /// # Errors
    /// `invalid_tenant` if the text is not a tenant, `authority_type_mismatch` if the tenant of
    /// this kind cannot be replaced: AD FS and OpenID providers have none, and a B2C policy belongs
    /// to its tenant.
    pub fn with_tenant(&self, tenant: &str) -> Result<Self, Error> {
        let tenant = Tenant::parse(tenant)?;
        let layout = match &self.layout {
            AuthorityLayout::Entra(_) if !layout::selects_kind(&tenant) => AuthorityLayout::Entra(tenant),
            AuthorityLayout::Ciam(_) => AuthorityLayout::Ciam(tenant),
            AuthorityLayout::Dsts(_) => AuthorityLayout::Dsts(tenant),
            AuthorityLayout::Entra(_)
            | AuthorityLayout::B2c { .. }
            | AuthorityLayout::Adfs
            | AuthorityLayout::Oidc { .. } => {
                let error = "the tenant cannot be replaced in this kind of authority; nothing was sent";
                return Err(Error::new(ErrorKind::Request, "authority_type_mismatch", error)
                    .with_advice("omit the tenant, or configure an authority of Entra"));
            }
        };
        Ok(Self::on(self.url.clone(), layout))
    }

    /// Returns the token service of the authority.
    #[must_use]
    pub fn kind(&self) -> AuthorityKind {
        match self.layout {
            AuthorityLayout::Entra(_) => AuthorityKind::Entra,
            AuthorityLayout::Ciam(_) => AuthorityKind::Ciam,
            AuthorityLayout::B2c { .. } => AuthorityKind::B2c,
            AuthorityLayout::Adfs => AuthorityKind::Adfs,
            AuthorityLayout::Dsts(_) => AuthorityKind::Dsts,
            AuthorityLayout::Oidc { .. } => AuthorityKind::Oidc,
        }
    }

    /// Returns the tenant, if the authority has one.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.layout {
            AuthorityLayout::Entra(tenant)
            | AuthorityLayout::Ciam(tenant)
            | AuthorityLayout::B2c { tenant, .. }
            | AuthorityLayout::Dsts(tenant) => Some(tenant),
            AuthorityLayout::Adfs | AuthorityLayout::Oidc { .. } => None,
        }
    }

    /// Returns the canonical URL, in lower case and with a slash at its end; for an OpenID provider
    /// the issuer, unchanged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.issuer().unwrap_or(self.url.as_str())
    }

    /// Returns whether the host belongs to a known cloud of Microsoft Entra, which needs no
    /// discovery.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.cloud().is_some()
    }

    /// Returns the host in cache keys.
    ///
    /// All names of a cloud have the same, with or without region and certificate, so that they
    /// share tokens (`docs/protocol/routing.md#clouds`). A host of no known cloud stands for
    /// itself, with its port unless that is 443.
    #[must_use]
    pub fn cache_environment(&self) -> Cow<'_, str> {
        match (self.cloud(), self.url.host_str().unwrap_or_default(), self.url.port()) {
            (Some(cloud), _, _) => Cow::Borrowed(cloud.cache),
            (None, host, None) => Cow::Borrowed(host),
            (None, host, Some(port)) => Cow::Owned(format!("{host}:{port}")),
        }
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.layout {
            AuthorityLayout::Oidc { issuer } => Some(issuer),
            _ => None,
        }
    }

    /// Returns the host of an Entra authority, to which regions, mTLS hosts and instance discovery
    /// apply; `None` for a loopback address.
    pub(super) fn cloud_host(&self) -> Option<&str> {
        match self.layout {
            AuthorityLayout::Entra(_) if !is_loopback(&self.url) => self.url.host_str(),
            _ => None,
        }
    }

    pub(super) fn cloud(&self) -> Option<&'static Cloud> {
        Cloud::of(self.cloud_host()?)
    }
}

// Shows the kind and the host, but not the path, which contains the tenant.
symbolon_types::debug_fields!(
    Authority |this|
    kind: this.kind(), host: this.url.host_str().unwrap_or_default()
);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn issuer_is_kept_unchanged() {
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
    fn tenant_is_replaced_if_possible() {
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
    fn names_of_a_cloud_share_a_cache_name() {
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
    fn debug_hides_the_tenant() {
        let shown = format!("{:?}", parse("https://login.microsoftonline.com/contoso.com"));
        assert_eq!(shown, r#"Authority { kind: Entra, host: "login.microsoftonline.com", .. }"#);
    }

    #[test]
    fn host_and_path_select_the_kind() {
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
    fn route_18_malformed_authority_is_refused() {
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
    fn host_may_lack_its_scheme() {
        for (host, expected) in [
            ("login.microsoftonline.us", "https://login.microsoftonline.us/contoso.example/"),
            ("login.microsoftonline.us/", "https://login.microsoftonline.us/contoso.example/"),
            ("https://login.microsoftonline.us", "https://login.microsoftonline.us/contoso.example/"),
            ("login.example:8443", "https://login.example:8443/contoso.example/"),
            ("localhost:8443", "https://localhost:8443/contoso.example/"),
            ("https://dsts.example/dstsv2", "https://dsts.example/dstsv2/contoso.example/"),
            ("https://login.example/contoso.example", "https://login.example/contoso.example/"),
            ("https://login.example/fabrikam.example", "invalid_authority"),
            ("login.example/common/", "invalid_authority"),
            ("http://login.example", "invalid_authority"),
            ("\"login.example\"", "invalid_authority"),
            ("login.example\n", "invalid_authority"),
            ("not a host", "invalid_authority"),
            ("", "invalid_authority"),
        ] {
            let authority = Authority::on_host(host, "Contoso.example");
            let shown = authority.map_or_else(|error| error.code().to_owned(), |it| it.as_str().to_owned());
            assert_eq!(shown, expected, "{host:?}");
        }
        assert_eq!(Authority::on_host("login.example", "\"t\"").unwrap_err().code(), "invalid_tenant");
    }

    #[test]
    fn http_is_allowed_on_loopback_only() {
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
