//! The token endpoint of an authority (`docs/protocol/routing.md#mtls-hosts`).

use symbolon_types::{Error, ErrorKind};
use url::Host;

use super::authority_url::Authority;
use super::cloud::Cloud;
use super::layout::{self, AuthorityLayout};
use super::region::Region;
use crate::oauth::TokenEndpoint;

/// The properties of a request that select its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "callers set the fields")]
pub struct Routing {
    /// The request presents a client certificate in the TLS handshake.
    pub mtls: bool,
    /// The region of the cloud that serves the request.
    pub region: Option<Region>,
}

impl Authority {
    /// Returns the token endpoint for these requests.
    ///
    /// Only Entra has hosts for regions and for mutual TLS. A certificate goes to hosts of known
    /// clouds only. Other kinds of authorities, and authorities on a loopback address, keep their
    /// host.
    ///
    /// ```
    /// # use symbolon_token::authority::{Authority, Region, Routing};
    /// let authority = Authority::parse("https://login.microsoftonline.us/contoso.com")?;
    /// let routing = Routing { mtls: true, region: Some(Region::parse("usgovvirginia")?) };
    /// let endpoint = authority.token_endpoint(&routing)?;
    /// assert_eq!(endpoint.url().host_str(), Some("usgovvirginia.mtlsauth.microsoftonline.us"));
    /// # Ok::<(), symbolon_token::Error>(())
    /// ```
    ///
    /// # Errors
    /// With a certificate: `missing_tenanted_authority` for `common` and `organizations`,
    /// `mtls_pop_not_supported_for_environment` for a host without an mTLS counterpart,
    /// `insecure_endpoint` for `http`. Always: `metadata_required` for an OpenID provider, whose
    /// endpoint a [`Router`](super::Router) reads from its metadata.
    pub fn token_endpoint(&self, routing: &Routing) -> Result<TokenEndpoint, Error> {
        let path = match self.layout {
            AuthorityLayout::Oidc { .. } => return Err(metadata_required()),
            AuthorityLayout::Adfs => "oauth2/token",
            AuthorityLayout::Entra(_)
            | AuthorityLayout::Ciam(_)
            | AuthorityLayout::B2c { .. }
            | AuthorityLayout::Dsts(_) => "oauth2/v2.0/token",
        };
        if routing.mtls {
            self.check_mtls()?;
        }
        let mut url = self.url.clone();
        if let Some(host) = self.host_for(routing) {
            url.set_host(Some(&host)).map_err(|_| layout::invalid("has no host in this region"))?;
        }
        url.set_path(&format!("{}{path}", self.url.path()));
        // `Authority` accepts an http URL on loopback only.
        TokenEndpoint::allowing_http_on_loopback(url)
    }

    fn check_mtls(&self) -> Result<(), Error> {
        if self.tenant().is_some_and(super::Tenant::is_tenantless) {
            let error = "a client certificate authenticates in one tenant, but the authority is `common` or \
                         `organizations`; nothing was sent";
            return Err(Error::new(ErrorKind::Request, "missing_tenanted_authority", error)
                .with_advice("use the id or a domain of the tenant instead"));
        }
        if self.url.scheme() != "https" {
            let error = "a client certificate requires TLS, but the authority is not an https URL; nothing \
                         was sent";
            return Err(Error::new(ErrorKind::Request, "insecure_endpoint", error)
                .with_advice("use the https URL of the authority"));
        }
        match self.cloud_host() {
            Some(host) if Cloud::of(host).and_then(|cloud| cloud.mtls_host(host)).is_none() => {
                Err(no_mtls_host(Cloud::of(host)))
            }
            _ => Ok(()),
        }
    }

    /// Returns the host that replaces the authority's own.
    fn host_for(&self, routing: &Routing) -> Option<String> {
        let host = self.cloud_host()?;
        let cloud = Cloud::of(host);
        let mtls_host = || cloud.and_then(|cloud| cloud.mtls_host(host)).filter(|_| routing.mtls);
        let Some(region) = &routing.region else {
            return mtls_host().or(cloud.map(|cloud| cloud.network)).map(str::to_owned);
        };
        let is_name = matches!(self.url.host(), Some(Host::Domain(_)));
        let is_regional = host.strip_prefix(region.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if !is_name || is_regional {
            return None;
        }
        let base = mtls_host().or(cloud.map(|cloud| cloud.regional)).unwrap_or(host);
        Some(format!("{region}.{base}"))
    }
}

fn no_mtls_host(cloud: Option<&Cloud>) -> Error {
    let (error, advice) = match cloud {
        Some(_) => (
            "the host of the authority is a legacy name without an mTLS host; nothing was sent",
            "use the cloud's current name: login.microsoftonline.com, login.microsoftonline.us or \
             login.partner.microsoftonline.cn",
        ),
        None => (
            "the host of the authority belongs to no known cloud and gets no client certificate; nothing was \
             sent",
            "use the login host of a public or sovereign cloud, or configure the token endpoint itself",
        ),
    };
    Error::new(ErrorKind::Environment, "mtls_pop_not_supported_for_environment", error).with_advice(advice)
}

pub(super) fn metadata_required() -> Error {
    let error = "the endpoints of an OpenID provider must be read from its metadata; nothing was sent";
    Error::new(ErrorKind::Request, "metadata_required", error)
        .with_advice("use a router, or configure the token endpoint itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSUPPORTED: &str = "mtls_pop_not_supported_for_environment";

    fn endpoint(authority: &str, mtls: bool, region: Option<&str>) -> Result<String, Error> {
        let region = region.map(|name| Region::parse(name).unwrap());
        let endpoint =
            Authority::allowing_http_on_loopback(authority)?.token_endpoint(&Routing { mtls, region })?;
        Ok(endpoint.url().to_string())
    }

    fn host(authority: &str, mtls: bool, region: Option<&str>) -> String {
        match endpoint(&format!("https://{authority}/t"), mtls, region) {
            Ok(url) => {
                let host =
                    url.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/t/oauth2/v2.0/token"));
                host.expect("the path stays").to_owned()
            }
            Err(error) => error.code().to_owned(),
        }
    }

    #[test]
    fn route_10_to_17_regional_and_mtls_hosts() {
        for (authority, plain, mtls, regional_mtls, regional) in [
            (
                "login.microsoftonline.com",
                "login.microsoftonline.com",
                "mtlsauth.microsoft.com",
                "r.mtlsauth.microsoft.com",
                "r.login.microsoft.com",
            ),
            (
                "login.windows.net",
                "login.microsoftonline.com",
                "mtlsauth.microsoft.com",
                "r.mtlsauth.microsoft.com",
                "r.login.microsoft.com",
            ),
            (
                "login.microsoft.com",
                "login.microsoftonline.com",
                "mtlsauth.microsoft.com",
                "r.mtlsauth.microsoft.com",
                "r.login.microsoft.com",
            ),
            (
                "sts.windows.net",
                "login.microsoftonline.com",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.microsoft.com",
            ),
            (
                "login.microsoftonline.us",
                "login.microsoftonline.us",
                "mtlsauth.microsoftonline.us",
                "r.mtlsauth.microsoftonline.us",
                "r.login.microsoftonline.us",
            ),
            (
                "login.usgovcloudapi.net",
                "login.microsoftonline.us",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.microsoftonline.us",
            ),
            (
                "login.partner.microsoftonline.cn",
                "login.partner.microsoftonline.cn",
                "mtlsauth.partner.microsoftonline.cn",
                "r.mtlsauth.partner.microsoftonline.cn",
                "r.login.partner.microsoftonline.cn",
            ),
            (
                "login.chinacloudapi.cn",
                "login.partner.microsoftonline.cn",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.partner.microsoftonline.cn",
            ),
            (
                "login.sovcloud-identity.fr",
                "login.sovcloud-identity.fr",
                "mtlsauth.sovcloud-identity.fr",
                "r.mtlsauth.sovcloud-identity.fr",
                "r.login.sovcloud-identity.fr",
            ),
            (
                "login.sovcloud-identity.de",
                "login.sovcloud-identity.de",
                "mtlsauth.sovcloud-identity.de",
                "r.mtlsauth.sovcloud-identity.de",
                "r.login.sovcloud-identity.de",
            ),
            (
                "login.sovcloud-identity.sg",
                "login.sovcloud-identity.sg",
                "mtlsauth.sovcloud-identity.sg",
                "r.mtlsauth.sovcloud-identity.sg",
                "r.login.sovcloud-identity.sg",
            ),
            (
                "login.microsoftonline.de",
                "login.microsoftonline.de",
                "mtlsauth.microsoftonline.de",
                "r.mtlsauth.microsoftonline.de",
                "r.login.microsoftonline.de",
            ),
            (
                "login-us.microsoftonline.com",
                "login-us.microsoftonline.com",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login-us.microsoftonline.com",
            ),
            (
                "sts.windows-ppe.net",
                "login.windows-ppe.net",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.windows-ppe.net",
            ),
            ("login.foo.bar", "login.foo.bar", UNSUPPORTED, UNSUPPORTED, "r.login.foo.bar"),
            (
                "mtlsauth.microsoft.com",
                "mtlsauth.microsoft.com",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.mtlsauth.microsoft.com",
            ),
            ("graph.microsoft.com", "graph.microsoft.com", UNSUPPORTED, UNSUPPORTED, "r.graph.microsoft.com"),
            (
                "r.login.microsoft.com",
                "r.login.microsoft.com",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.microsoft.com",
            ),
            (
                "login.microsoftonline.com.foo.bar",
                "login.microsoftonline.com.foo.bar",
                UNSUPPORTED,
                UNSUPPORTED,
                "r.login.microsoftonline.com.foo.bar",
            ),
            ("10.0.0.1", "10.0.0.1", UNSUPPORTED, UNSUPPORTED, "10.0.0.1"),
            (
                "login.microsoftonline.com:8443",
                "login.microsoftonline.com:8443",
                "mtlsauth.microsoft.com:8443",
                "r.mtlsauth.microsoft.com:8443",
                "r.login.microsoft.com:8443",
            ),
        ] {
            assert_eq!(host(authority, false, None), plain, "{authority}");
            assert_eq!(host(authority, true, None), mtls, "{authority} with a certificate");
            assert_eq!(host(authority, true, Some("R")), regional_mtls, "{authority} with both");
            assert_eq!(host(authority, false, Some("R")), regional, "{authority} in a region");
        }
    }

    #[test]
    fn loopback_authority_keeps_its_host() {
        for authority in ["localhost:8443", "127.0.0.1:8443", "[::1]:8443"] {
            for (mtls, region) in [(false, None), (true, None), (false, Some("r")), (true, Some("r"))] {
                assert_eq!(host(authority, mtls, region), authority);
            }
        }
    }

    #[test]
    fn certificate_requires_https() {
        assert_eq!(
            endpoint("http://127.0.0.1:80/t", false, None).unwrap(),
            "http://127.0.0.1/t/oauth2/v2.0/token"
        );
        assert_eq!(endpoint("http://127.0.0.1:80/t", true, None).unwrap_err().code(), "insecure_endpoint");
    }

    #[test]
    fn route_01_tenant_is_an_id_or_a_domain() {
        for tenant in ["751a212b-4003-416e-b600-e1f48e40db9f", "contoso.com"] {
            let url = endpoint(&format!("https://login.microsoftonline.com/{tenant}"), true, None).unwrap();
            assert_eq!(url, format!("https://mtlsauth.microsoft.com/{tenant}/oauth2/v2.0/token"));
        }
    }

    #[test]
    fn route_06_to_08_certificate_needs_tenant() {
        for (authority, outcome) in [
            ("https://login.microsoftonline.com/common", Some("missing_tenanted_authority")),
            ("https://login.microsoftonline.com/Organizations", Some("missing_tenanted_authority")),
            ("https://login.microsoftonline.com/consumers", None),
            ("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad", None),
            ("https://127.0.0.1/common", Some("missing_tenanted_authority")),
            ("https://contoso.ciamlogin.com/common", Some("missing_tenanted_authority")),
        ] {
            let refused = endpoint(authority, true, None).err();
            assert_eq!(refused.as_ref().map(Error::code), outcome, "{authority}");
            assert!(endpoint(authority, false, None).is_ok(), "{authority}");
        }
    }

    #[test]
    fn route_09_tenant_override_is_in_the_path() {
        let common = Authority::parse("https://login.microsoftonline.com/common").unwrap();
        let routing = Routing { mtls: true, region: None };
        let endpoint = common.with_tenant("contoso.com").unwrap().token_endpoint(&routing).unwrap();
        assert_eq!(endpoint.url().path(), "/contoso.com/oauth2/v2.0/token");
        let tenanted = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
        let error = tenanted.with_tenant("common").unwrap().token_endpoint(&routing).unwrap_err();
        assert_eq!(error.code(), "missing_tenanted_authority");
    }

    #[test]
    fn idp_01_to_03_others_keep_host_and_path() {
        for (authority, url) in [
            ("https://dsts.example/dstsv2/t", "https://dsts.example/dstsv2/t/oauth2/v2.0/token"),
            ("https://sts.example/adfs", "https://sts.example/adfs/oauth2/token"),
            (
                "https://contoso.ciamlogin.com",
                "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
            ),
            (
                "https://login.microsoftonline.com/tfp/t/p",
                "https://login.microsoftonline.com/tfp/t/p/oauth2/v2.0/token",
            ),
            (
                "https://login.microsoftonline.com/dstsv2/t",
                "https://login.microsoftonline.com/dstsv2/t/oauth2/v2.0/token",
            ),
        ] {
            for (mtls, region) in [(false, None), (true, None), (true, Some("r"))] {
                assert_eq!(endpoint(authority, mtls, region).unwrap(), url);
            }
        }
        let error = endpoint("https://dsts.example/dstsv2/common", true, None).unwrap_err();
        assert_eq!(error.code(), "missing_tenanted_authority");
        assert_eq!(
            endpoint("https://dsts.example/dstsv2/", true, None).unwrap_err().code(),
            "invalid_authority"
        );
    }

    #[test]
    fn openid_endpoint_requires_metadata() {
        let provider = Authority::oidc("https://idp.example").unwrap();
        assert_eq!(provider.token_endpoint(&Routing::default()).unwrap_err().code(), "metadata_required");
    }
}
