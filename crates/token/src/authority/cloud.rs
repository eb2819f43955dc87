//! The clouds of Microsoft Entra and their hosts (`docs/protocol/routing.md#clouds`).

/// The hosts of one cloud.
#[derive(Debug)]
pub(super) struct Cloud {
    /// Host names with an mTLS counterpart.
    aliases: &'static [&'static str],
    /// Host names without an mTLS counterpart.
    legacy_aliases: &'static [&'static str],
    /// The host that serves requests to any of the names.
    pub(super) network: &'static str,
    /// The host whose name regions precede.
    pub(super) regional: &'static str,
    /// The host for requests with a client certificate.
    mtls: Option<&'static str>,
    /// The name in the cache key.
    pub(super) cache: &'static str,
}

const CLOUDS: [Cloud; 9] = [
    Cloud {
        aliases: &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com"],
        legacy_aliases: &["sts.windows.net"],
        network: "login.microsoftonline.com",
        regional: "login.microsoft.com",
        mtls: Some("mtlsauth.microsoft.com"),
        cache: "login.windows.net",
    },
    Cloud {
        aliases: &["login.microsoftonline.us"],
        legacy_aliases: &["login.usgovcloudapi.net"],
        ..Cloud::new("login.microsoftonline.us", Some("mtlsauth.microsoftonline.us"))
    },
    Cloud {
        aliases: &["login.partner.microsoftonline.cn"],
        legacy_aliases: &["login.chinacloudapi.cn"],
        ..Cloud::new("login.partner.microsoftonline.cn", Some("mtlsauth.partner.microsoftonline.cn"))
    },
    Cloud {
        aliases: &["login.sovcloud-identity.fr"],
        ..Cloud::new("login.sovcloud-identity.fr", Some("mtlsauth.sovcloud-identity.fr"))
    },
    Cloud {
        aliases: &["login.sovcloud-identity.de"],
        ..Cloud::new("login.sovcloud-identity.de", Some("mtlsauth.sovcloud-identity.de"))
    },
    Cloud {
        aliases: &["login.sovcloud-identity.sg"],
        ..Cloud::new("login.sovcloud-identity.sg", Some("mtlsauth.sovcloud-identity.sg"))
    },
    Cloud {
        aliases: &["login.microsoftonline.de"],
        ..Cloud::new("login.microsoftonline.de", Some("mtlsauth.microsoftonline.de"))
    },
    Cloud {
        legacy_aliases: &["login-us.microsoftonline.com"],
        ..Cloud::new("login-us.microsoftonline.com", None)
    },
    Cloud {
        aliases: &["login.windows-ppe.net", "login.microsoft-ppe.com"],
        legacy_aliases: &["sts.windows-ppe.net"],
        ..Cloud::new("login.windows-ppe.net", Some("mtlsauth.windows-ppe.net"))
    },
];

impl Cloud {
    /// Creates a cloud with one name for all purposes except mTLS.
    const fn new(host: &'static str, mtls: Option<&'static str>) -> Self {
        Self { aliases: &[], legacy_aliases: &[], network: host, regional: host, mtls, cache: host }
    }

    /// Returns the cloud of a host.
    pub(super) fn of(host: &str) -> Option<&'static Self> {
        CLOUDS.iter().find(|cloud| cloud.aliases.contains(&host) || cloud.legacy_aliases.contains(&host))
    }

    /// Returns the host for requests to `host` with a client certificate.
    pub(super) fn mtls_host(&self, host: &str) -> Option<&'static str> {
        self.mtls.filter(|_| self.aliases.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_belongs_to_one_cloud() {
        let names = || CLOUDS.iter().flat_map(|cloud| cloud.aliases.iter().chain(cloud.legacy_aliases));
        for name in names() {
            assert_eq!(names().filter(|other| *other == name).count(), 1, "{name}");
        }
        for cloud in &CLOUDS {
            for name in [cloud.network, cloud.regional, cloud.cache] {
                assert!(Cloud::of(name).is_some_and(|of| of.network == cloud.network), "{name}");
            }
        }
    }
}
