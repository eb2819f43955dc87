//! Token endpoints that the metadata service may name
//! (docs/protocol/imdsv2.md#checks-on-the-answer).

use symbolon_transport::is_loopback;
use symbolon_types::{Error, ErrorKind};
use url::{Host, Url};

use crate::imds::invalid_response;

/// Hosts of the mTLS token services of the public cloud, of Azure Government and of Azure operated
/// by 21Vianet (docs/protocol/routing.md#mtls-hosts).
const TOKEN_HOSTS: [&str; 3] =
    ["mtlsauth.microsoft.com", "mtlsauth.microsoftonline.us", "mtlsauth.partner.microsoftonline.cn"];

/// Trusted token hosts: the names in the list, their subdomains, and loopback addresses.
#[derive(Debug)]
pub(crate) struct TokenHosts {
    names: Vec<String>,
    allow_insecure_loopback: bool,
}

impl TokenHosts {
    /// Creates a list of the known hosts and `added`.
    pub(crate) fn new(added: Vec<String>, allow_insecure_loopback: bool) -> Result<Self, Error> {
        let mut names: Vec<String> = TOKEN_HOSTS.map(Into::into).into();
        for name in added {
            let is_name = |name: &str| !name.starts_with('.') && !name.ends_with('.') && !name.contains('*');
            match Host::parse(&name) {
                Ok(Host::Domain(name)) if is_name(&name) => names.push(name),
                _ => {
                    return Err(Error::new(
                        ErrorKind::Request,
                        "invalid_configuration",
                        format!("the trusted token host `{name}` is not a host name"),
                    )
                    .with_advice(
                        "use a name such as mtlsauth.example.com, without scheme, port or wildcard",
                    ));
                }
            }
        }
        Ok(Self { names, allow_insecure_loopback })
    }

    /// Returns the token endpoint of a tenant at `base`, if its host is trusted.
    pub(crate) fn endpoint(&self, base: &str, tenant_id: &str) -> Result<Url, Error> {
        if !is_path_segment(tenant_id) {
            return Err(invalid_response("named a tenant that cannot be part of a URL"));
        }
        let text = format!("{}/{tenant_id}/oauth2/v2.0/token", base.trim_end_matches('/'));
        let url: Url = text.parse().map_err(|_| invalid_endpoint("is not a URL"))?;
        self.check_scheme(&url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid_endpoint("contains user information"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid_endpoint("contains a query or a fragment"));
        }
        if !self.trusts(&url) {
            let host = url.host_str().unwrap_or_default();
            return Err(invalid_endpoint(&format!("is on a host that is not trusted: {host}")).with_advice(
                "if the host is a token service of your cloud, add its name with `trusted_token_hosts`",
            ));
        }
        Ok(url)
    }

    fn check_scheme(&self, url: &Url) -> Result<(), Error> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_insecure_loopback && is_loopback(url) => Ok(()),
            "http" => Err(Error::new(
                ErrorKind::Response,
                "insecure_endpoint",
                "the instance metadata service named a token endpoint without TLS",
            )
            .with_advice("a certificate is sent over TLS only; check the address of the metadata service")),
            _ => Err(invalid_endpoint("is not an https URL")),
        }
    }

    fn trusts(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is_at_or_under = |name: &String| {
            host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        is_loopback(url) || self.names.iter().any(is_at_or_under)
    }
}

/// Returns true for a GUID or a domain name, which keep their meaning as part of a URL.
fn is_path_segment(tenant_id: &str) -> bool {
    tenant_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && tenant_id.bytes().any(|byte| byte != b'.')
}

fn invalid_endpoint(problem: &str) -> Error {
    invalid_response(format_args!("named a token endpoint that {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

    fn code(hosts: &TokenHosts, base: &str, tenant_id: &str) -> String {
        hosts.endpoint(base, tenant_id).map_or_else(|error| error.code().to_owned(), |url| url.to_string())
    }

    #[test]
    fn only_trusted_endpoints_are_accepted() {
        let hosts = TokenHosts::new(vec!["mtls.Example.com".into()], false).unwrap();
        for (base, outcome) in [
            ("https://eastus.mtlsauth.microsoft.com", "https://eastus.mtlsauth.microsoft.com"),
            ("https://eastus.mtlsauth.microsoft.com//", "https://eastus.mtlsauth.microsoft.com"),
            ("https://EastUS.mtlsauth.Microsoft.com", "https://eastus.mtlsauth.microsoft.com"),
            ("https://mtlsauth.microsoft.com", "https://mtlsauth.microsoft.com"),
            ("https://x.mtlsauth.microsoftonline.us", "https://x.mtlsauth.microsoftonline.us"),
            (
                "https://x.mtlsauth.partner.microsoftonline.cn",
                "https://x.mtlsauth.partner.microsoftonline.cn",
            ),
            ("https://mtlsauth.microsoft.com:8443/base", "https://mtlsauth.microsoft.com:8443/base"),
            ("https://a.mtls.example.com", "https://a.mtls.example.com"),
            ("https://localhost:1", "https://localhost:1"),
            ("https://127.0.0.1:1", "https://127.0.0.1:1"),
            ("https://[::1]:1", "https://[::1]:1"),
            ("http://mtlsauth.microsoft.com", "insecure_endpoint"),
            ("http://127.0.0.1:1", "insecure_endpoint"),
            ("https://evilmtlsauth.microsoft.com", "invalid_response"),
            ("https://mtlsauth.microsoft.com.evil.example", "invalid_response"),
            ("https://mtlsauth.microsoft.com.", "invalid_response"),
            ("https://evil.example\\@mtlsauth.microsoft.com", "invalid_response"),
            ("https://user@mtlsauth.microsoft.com", "invalid_response"),
            ("https://:pass@mtlsauth.microsoft.com", "invalid_response"),
            ("https://mtlsauth.microsoft.com?x=1", "invalid_response"),
            ("https://mtlsauth.microsoft.com/?", "invalid_response"),
            ("https://mtlsauth.microsoft.com#x", "invalid_response"),
            ("https://10.0.0.1", "invalid_response"),
            ("https://localhost.evil.example", "invalid_response"),
            ("ftp://mtlsauth.microsoft.com", "invalid_response"),
            ("mtlsauth.microsoft.com", "invalid_response"),
            ("https://", "invalid_response"),
        ] {
            let expected = match outcome.starts_with("https") {
                true => format!("{outcome}/{TENANT}/oauth2/v2.0/token"),
                false => outcome.to_owned(),
            };
            assert_eq!(code(&hosts, base, TENANT), expected, "{base}");
        }
    }

    #[test]
    fn http_requires_loopback_and_permission() {
        let hosts = TokenHosts::new(vec![], true).unwrap();
        for (base, outcome) in [
            ("http://127.0.0.1:1", "http://127.0.0.1:1/t/oauth2/v2.0/token"),
            ("http://localhost:1/", "http://localhost:1/t/oauth2/v2.0/token"),
            ("http://mtlsauth.microsoft.com", "insecure_endpoint"),
            ("http://10.0.0.1", "insecure_endpoint"),
        ] {
            assert_eq!(code(&hosts, base, "t"), outcome, "{base}");
        }
    }

    #[test]
    fn tenant_cannot_change_the_path() {
        let hosts = TokenHosts::new(vec![], false).unwrap();
        for tenant in ["..", ".", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\\b", "ä"] {
            assert_eq!(
                code(&hosts, "https://mtlsauth.microsoft.com", tenant),
                "invalid_response",
                "{tenant}"
            );
        }
    }

    #[test]
    fn trusted_host_must_be_a_host_name() {
        for name in ["", ".", ".example.com", "example.com.", "https://example.com", "a:1", "10.0.0.1", "a/b"]
        {
            let error = TokenHosts::new(vec![name.into()], false).unwrap_err();
            assert_eq!(error.code(), "invalid_configuration", "{name}");
        }
    }
}
