//! Where the certificate may be presented for a token. (IMDSv2 §4.3, §13.2.)

use symbolon_types::{Error, ErrorKind};
use url::{Host, Url};

use crate::imds::invalid_response;

/// The mTLS token services of the public cloud, of Azure Government and of Azure operated by
/// 21Vianet. (MSAL acceptance matrix #6161: ROUTE-10 ff.)
const TOKEN_HOSTS: [&str; 3] =
    ["mtlsauth.microsoft.com", "mtlsauth.microsoftonline.us", "mtlsauth.partner.microsoftonline.cn"];

/// Which endpoints named by the metadata service are believed: hosts at or under a known name, and
/// this machine itself.
#[derive(Debug)]
pub(crate) struct TokenHosts {
    names: Vec<String>,
    allow_insecure_loopback: bool,
}

impl TokenHosts {
    /// The known hosts and these.
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
                        "a trusted token host is not a host name",
                    )
                    .with_advice(
                        "give names such as mtlsauth.example.com, without scheme, port or wildcard",
                    ));
                }
            }
        }
        Ok(Self { names, allow_insecure_loopback })
    }

    /// The token endpoint of a tenant at the service that was named, if it is to be believed.
    pub(crate) fn endpoint(&self, base: &str, tenant_id: &str) -> Result<Url, Error> {
        if !is_path_segment(tenant_id) {
            return Err(invalid_response("named a tenant that cannot stand in a URL"));
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
            return Err(invalid_endpoint("is on a host that is not trusted").with_advice(
                "if the host is a token service of your cloud, add its name to the trusted token hosts",
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
            .with_advice(
                "a certificate is only presented over TLS; check what answers for the metadata service",
            )),
            _ => Err(invalid_endpoint("is not an https URL")),
        }
    }

    fn trusts(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is_at_or_under = |name: &String| {
            host.strip_suffix(name.as_str()).is_some_and(|left| left.is_empty() || left.ends_with('.'))
        };
        is_loopback(url) || self.names.iter().any(is_at_or_under)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761 §6.3.
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A GUID or a domain name, and nothing that a URL would read as something else.
fn is_path_segment(tenant_id: &str) -> bool {
    tenant_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && tenant_id.bytes().any(|byte| byte != b'.')
}

fn invalid_endpoint(wrong: &str) -> Error {
    invalid_response(format_args!("named a token endpoint that {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

    fn code(hosts: &TokenHosts, base: &str, tenant_id: &str) -> String {
        hosts.endpoint(base, tenant_id).map_or_else(|error| error.code().to_owned(), |url| url.to_string())
    }

    #[test]
    fn an_endpoint_is_believed_only_by_the_rules() {
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
    fn plain_http_is_for_loopback_only_and_only_when_allowed() {
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
    fn a_tenant_does_not_change_where_the_endpoint_is() {
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
    fn a_trusted_host_must_be_a_host_name() {
        for name in ["", ".", ".example.com", "example.com.", "https://example.com", "a:1", "10.0.0.1", "a/b"]
        {
            let error = TokenHosts::new(vec![name.into()], false).unwrap_err();
            assert_eq!(error.code(), "invalid_configuration", "{name}");
        }
    }
}
