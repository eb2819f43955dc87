//! Token endpoints that were put together before.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use super::Region;
use crate::TokenEndpoint;

/// How many tenants are remembered. When there are more, all are forgotten: an endpoint is only
/// text that was put together, and can be again.
const CAPACITY: usize = 1000;

/// The token endpoints of an authority, by tenant and transport.
///
/// What they depend on beyond that, the region, stands with them, so that nothing here goes out of
/// date: an endpoint of another region is not found.
#[derive(Default)]
pub(super) struct Routes(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// Those of the authority's own tenant.
    own: ByTransport,
    by_tenant: HashMap<Box<str>, ByTransport>,
}

#[derive(Default)]
struct ByTransport {
    plain: Option<KnownRoute>,
    mtls: Option<KnownRoute>,
}

struct KnownRoute {
    region: Option<Region>,
    endpoint: TokenEndpoint,
}

impl Routes {
    pub(super) fn find(
        &self,
        tenant: Option<&str>,
        mtls: bool,
        region: Option<&Region>,
    ) -> Option<TokenEndpoint> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = match tenant {
            None => &known.own,
            Some(tenant) => known.by_tenant.get(tenant)?,
        };
        let route = if mtls { &of_tenant.mtls } else { &of_tenant.plain }.as_ref()?;
        (route.region.as_ref() == region).then(|| route.endpoint.clone())
    }

    pub(super) fn keep(
        &self,
        tenant: Option<&str>,
        mtls: bool,
        region: Option<Region>,
        endpoint: TokenEndpoint,
    ) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.by_tenant.len() >= CAPACITY
            && tenant.is_some_and(|tenant| !known.by_tenant.contains_key(tenant))
        {
            known.by_tenant.clear();
        }
        let of_tenant = match tenant {
            None => &mut known.own,
            Some(tenant) => known.by_tenant.entry(tenant.into()).or_default(),
        };
        let route = if mtls { &mut of_tenant.mtls } else { &mut of_tenant.plain };
        *route = Some(KnownRoute { region, endpoint });
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_found_only_for_its_tenant_transport_and_region() {
        let routes = Routes::default();
        let region = Region::parse("r").unwrap();
        let endpoint = |name: &str| TokenEndpoint::parse(&format!("https://{name}.example/token")).unwrap();
        routes.keep(None, false, None, endpoint("own"));
        routes.keep(Some("t"), true, Some(region.clone()), endpoint("t"));
        for (tenant, mtls, region, found) in [
            (None, false, None, Some("own")),
            (None, true, None, None),
            (None, false, Some(&region), None),
            (Some(""), false, None, None),
            (Some("t"), true, Some(&region), Some("t")),
            (Some("t"), true, None, None),
            (Some("t"), false, Some(&region), None),
        ] {
            assert_eq!(
                routes.find(tenant, mtls, region),
                found.map(endpoint),
                "{tenant:?} {mtls} {region:?}"
            );
        }
    }

    #[test]
    fn the_number_of_tenants_is_bounded() {
        let routes = Routes::default();
        let endpoint = TokenEndpoint::parse("https://a.example/token").unwrap();
        for number in 0..=CAPACITY {
            routes.keep(Some(&number.to_string()), false, None, endpoint.clone());
        }
        let last = CAPACITY.to_string();
        assert_eq!(routes.find(Some("0"), false, None), None);
        assert_eq!(routes.find(Some(&last), false, None), Some(endpoint));
    }
}
