//! The authorization endpoint of an authority, and the issuer of its responses.

use symbolon_types::Error;
use url::Url;

use super::authority_url::{Authority, AuthorityKind};
use super::cloud::Cloud;
use super::layout::{AuthorityLayout, CIAM_SUFFIX};
use super::routing::metadata_required;

impl Authority {
    /// Returns the authorization endpoint (RFC 6749 §3.1), at which users sign in. It is on the
    /// cloud's network host, never in a region.
    ///
    /// ```
    /// # use symbolon_token::authority::Authority;
    /// let authority = Authority::parse("https://sts.windows.net/contoso.com")?;
    /// assert_eq!(
    ///     authority.authorization_endpoint()?.as_str(),
    ///     "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize",
    /// );
    /// # Ok::<(), symbolon_token::Error>(())
    /// ```
    ///
    /// # Errors
    /// `metadata_required` for an OpenID provider, whose endpoints are in its metadata.
    pub fn authorization_endpoint(&self) -> Result<Url, Error> {
        let path = match self.layout {
            AuthorityLayout::Oidc { .. } => return Err(metadata_required()),
            AuthorityLayout::Adfs => "oauth2/authorize",
            AuthorityLayout::Entra(_)
            | AuthorityLayout::Ciam(_)
            | AuthorityLayout::B2c { .. }
            | AuthorityLayout::Dsts(_) => "oauth2/v2.0/authorize",
        };
        let mut url = self.url.clone();
        if let Some(cloud) = self.cloud() {
            // A name of a known cloud is valid.
            url.set_host(Some(cloud.network)).map_err(|_| metadata_required())?;
        }
        url.set_path(&format!("{}{path}", self.url.path()));
        Ok(url)
    }

    /// Returns whether a response with this `iss` can be from this authority (RFC 9207 §2.4).
    ///
    /// The issuer of an OpenID provider is compared exactly. Other issuers contain the id of the
    /// tenant, of which the authority may have a domain. Therefore only the host is compared: it
    /// must be the authority's, another of its cloud, or for an external tenant any host of such
    /// tenants.
    pub(crate) fn may_issue_as(&self, issuer: &str) -> bool {
        if let Some(own) = self.issuer() {
            return own == issuer;
        }
        let Ok(url) = issuer.parse::<Url>() else { return false };
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !is_plain || url.scheme() != self.url.scheme() || url.port() != self.url.port() {
            return false;
        }
        let host = url.host_str().unwrap_or_default();
        let cloud_of = |host| Cloud::of(host).map(|cloud| cloud.network);
        host == self.url.host_str().unwrap_or_default()
            || self.cloud().is_some_and(|cloud| cloud_of(host) == Some(cloud.network))
            || (self.kind() == AuthorityKind::Ciam && host.ends_with(CIAM_SUFFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        Authority::allowing_http_on_loopback(text).unwrap()
    }

    #[test]
    fn authorization_endpoint_depends_on_kind() {
        for (text, url) in [
            (
                "https://login.microsoftonline.com/Contoso.com",
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize",
            ),
            (
                "https://login.windows.net/common",
                "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
            ),
            (
                "https://login.chinacloudapi.cn/t",
                "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/authorize",
            ),
            ("https://login.foo.bar:8443/t", "https://login.foo.bar:8443/t/oauth2/v2.0/authorize"),
            ("http://127.0.0.1:8080/t", "http://127.0.0.1:8080/t/oauth2/v2.0/authorize"),
            (
                "https://contoso.ciamlogin.com",
                "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize",
            ),
            (
                "https://contoso.b2clogin.com/tfp/t/p",
                "https://contoso.b2clogin.com/tfp/t/p/oauth2/v2.0/authorize",
            ),
            ("https://sts.contoso.com/adfs", "https://sts.contoso.com/adfs/oauth2/authorize"),
            ("https://dsts.example/dstsv2/t", "https://dsts.example/dstsv2/t/oauth2/v2.0/authorize"),
        ] {
            assert_eq!(authority(text).authorization_endpoint().unwrap().as_str(), url, "{text}");
        }
        let oidc = Authority::oidc("https://idp.example").unwrap();
        assert_eq!(oidc.authorization_endpoint().unwrap_err().code(), "metadata_required");
    }

    #[test]
    fn issuer_is_compared_by_host_or_exactly() {
        const PUBLIC: &str = "https://login.microsoftonline.com/contoso.com";
        const ID: &str = "751a212b-4003-416e-b600-e1f48e40db9f";
        for (text, issuer, fits) in [
            (PUBLIC, format!("https://login.microsoftonline.com/{ID}/v2.0"), true),
            (PUBLIC, format!("https://sts.windows.net/{ID}/"), true),
            (PUBLIC, format!("https://login.microsoftonline.us/{ID}/v2.0"), false),
            (PUBLIC, format!("http://login.microsoftonline.com/{ID}/v2.0"), false),
            (PUBLIC, format!("https://login.microsoftonline.com:444/{ID}/v2.0"), false),
            (PUBLIC, format!("https://login.microsoftonline.com.evil.example/{ID}/v2.0"), false),
            (PUBLIC, format!("https://login.microsoftonline.com@evil.example/{ID}"), false),
            (PUBLIC, "login.microsoftonline.com".to_owned(), false),
            (PUBLIC, String::new(), false),
            ("https://contoso.ciamlogin.com", format!("https://{ID}.ciamlogin.com/{ID}/v2.0"), true),
            ("https://contoso.ciamlogin.com", "https://ciamlogin.com.evil.example/".to_owned(), false),
            (
                "https://contoso.b2clogin.com/tfp/t/p",
                format!("https://contoso.b2clogin.com/{ID}/v2.0/"),
                true,
            ),
            ("https://contoso.b2clogin.com/tfp/t/p", format!("https://evil.b2clogin.com/{ID}/v2.0/"), false),
            ("https://sts.contoso.com/adfs", "https://sts.contoso.com/adfs".to_owned(), true),
            ("https://127.0.0.1:8443/t", "https://127.0.0.1:8443/t/v2.0".to_owned(), true),
            ("https://127.0.0.1:8443/t", "https://127.0.0.1:8444/t/v2.0".to_owned(), false),
        ] {
            assert_eq!(authority(text).may_issue_as(&issuer), fits, "{text} {issuer}");
        }
        let oidc = Authority::oidc("https://idp.example/a").unwrap();
        assert!(oidc.may_issue_as("https://idp.example/a") && !oidc.may_issue_as("https://idp.example/a/"));
    }
}
