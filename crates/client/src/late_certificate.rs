//! Certificates that a resource requests late.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// The header after which Azure Key Vault requests the certificate, with the value `true`
/// (`docs/guide/key-vault.md#resources`).
pub const TOKEN_BOUND_AUTH: HeaderName = HeaderName::from_static("x-ms-tokenboundauth");

/// The domains of resources that are known to request the certificate late, and after
/// [`TOKEN_BOUND_AUTH`] only (`docs/guide/key-vault.md#resources`).
const LATE_RESOURCES: [&str; 3] = ["vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net"];

/// The setting for a resource that may request the certificate after it has received the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LateCertificatePolicy {
    /// As the resource and the headers of the request say.
    #[default]
    Known,
    Always,
    Never,
}

impl LateCertificatePolicy {
    /// Returns the policy for a resource, which may be known.
    pub(crate) fn of_resource(self, resource: &str) -> Self {
        match self {
            Self::Known if requests_certificate_late(resource) => Self::Always,
            policy => policy,
        }
    }

    /// Returns true if the certificate may be requested late, and sets the header that requests
    /// it.
    pub(crate) fn prepare(self, headers: &mut HeaderMap) -> bool {
        let applies = match self {
            Self::Known => headers.get(TOKEN_BOUND_AUTH).is_some_and(|value| value == "true"),
            Self::Always => true,
            Self::Never => false,
        };
        if applies {
            headers.entry(TOKEN_BOUND_AUTH).or_insert(HeaderValue::from_static("true"));
        }
        applies
    }
}

/// Returns true if a resource is known to request the client certificate after the request, given
/// its identifier or a URL: Azure Key Vault. Clients permit that for such a resource, and send the
/// header `x-ms-tokenboundauth: true` with bound tokens.
///
/// ```
/// use symbolon_client::requests_certificate_late;
///
/// assert!(requests_certificate_late("https://contoso.vault.azure.net/secrets/x"));
/// assert!(!requests_certificate_late("https://graph.microsoft.com"));
/// ```
#[must_use]
pub fn requests_certificate_late(resource: &str) -> bool {
    let host = Uri::try_from(resource).ok().and_then(|url| Some(url.host()?.to_ascii_lowercase()));
    host.is_some_and(|host| {
        LATE_RESOURCES.iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_request_the_certificate_late() {
        for (resource, is_late) in [
            ("https://vault.azure.net", true),
            ("https://VAULT.azure.net/.default", true),
            ("https://contoso.vault.azure.net", true),
            ("https://vault.azure.cn/", true),
            ("https://contoso.vault.usgovcloudapi.net", true),
            // A cloud that was closed, and a service without a public report.
            ("https://vault.microsoftazure.de", false),
            ("https://managedhsm.azure.net", false),
            ("https://evilvault.azure.net", false),
            ("https://graph.microsoft.com", false),
            ("api://vault.azure.net.example", false),
            ("User.Read Mail.Read", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            let policy = LateCertificatePolicy::Known.of_resource(resource);
            assert_eq!(policy.prepare(&mut headers), is_late, "{resource}");
            assert_eq!(headers.contains_key(TOKEN_BOUND_AUTH), is_late, "{resource}");
            for policy in [LateCertificatePolicy::Never, LateCertificatePolicy::Always] {
                assert_eq!(policy.of_resource(resource), policy, "{resource}");
            }
        }
    }

    #[test]
    fn header_of_the_request_decides() {
        for (value, is_late) in [("true", true), ("false", false)] {
            let mut headers: HeaderMap =
                [(TOKEN_BOUND_AUTH, HeaderValue::from_static(value))].into_iter().collect();
            let is_permitted = LateCertificatePolicy::Known.prepare(&mut headers);
            assert_eq!((is_permitted, headers.len()), (is_late, 1), "{value}");
        }
    }
}
