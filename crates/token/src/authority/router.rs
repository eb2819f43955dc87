//! The endpoints of an authority, with discovery and region detection.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use symbolon_transport::HttpClient;
use symbolon_types::{Env, Error};
use url::Url;

use super::authority_url::Authority;
use super::discovery::Discovery;
use super::endpoint_query::EndpointQuery;
use super::expected_issuer::ExpectedIssuer;
use super::region::RegionChoice;
use super::region_detector::RegionDetector;
use super::region_outcome::RegionOutcome;
use super::routing::Routing;
use crate::oauth::TokenEndpoint;

/// Finds the token endpoint of an authority, and caches the results of discovery. Clones are cheap
/// and share the cache.
///
/// ```no_run
/// # use symbolon_token::authority::{Authority, EndpointQuery, RegionChoice, Router};
/// # async fn example(http: &symbolon_transport::HttpClient) -> Result<(), symbolon_token::Error> {
/// let authority = Authority::parse("https://login.microsoftonline.com/contoso.com")?;
/// let router = Router::new(authority).with_region(RegionChoice::Detect);
/// let query = EndpointQuery { mtls: true, ..EndpointQuery::default() };
/// let endpoint = router.endpoint(http, &symbolon_types::Env::process(), &query).await?;
/// # Ok(()) }
/// ```
///
/// Regions serve requests for the client itself, and requests about a user only with a certificate.
/// For other requests no region is determined, and the cloud's global host serves
/// (`docs/protocol/routing.md#regions`).
#[derive(Clone, Debug)]
#[must_use]
pub struct Router(Arc<RouterState>);

/// A token endpoint, with the region that was considered for it.
#[derive(Clone, Debug)]
pub(crate) struct LocatedEndpoint {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) region: RegionOutcome,
}

impl From<TokenEndpoint> for LocatedEndpoint {
    /// Creates an endpoint for which no region was considered.
    fn from(endpoint: TokenEndpoint) -> Self {
        Self { endpoint, region: RegionOutcome::None }
    }
}

#[derive(Debug)]
struct RouterState {
    settings: RouterSettings,
    /// The configured region after the environment was applied, when it was first needed.
    resolved_region: OnceLock<Result<RegionChoice, Error>>,
}

#[derive(Clone, Debug)]
struct RouterSettings {
    authority: Authority,
    region: RegionChoice,
    instance_discovery: bool,
    discovery: Discovery,
    detector: RegionDetector,
}

impl Router {
    /// Creates a router with instance discovery for unknown hosts, and without a region unless the
    /// environment forces one.
    pub fn new(authority: Authority) -> Self {
        Self::of(RouterSettings {
            authority,
            region: RegionChoice::Unset,
            instance_discovery: true,
            discovery: Discovery::new(),
            detector: RegionDetector::new(),
        })
    }

    /// Sets the region.
    pub fn with_region(self, region: RegionChoice) -> Self {
        Self::of(RouterSettings { region, ..self.settings().clone() })
    }

    /// Switches instance discovery on or off. Without it, the host of the authority is not
    /// validated.
    pub fn with_instance_discovery(self, instance_discovery: bool) -> Self {
        Self::of(RouterSettings { instance_discovery, ..self.settings().clone() })
    }

    /// Shares the cache of a discovery.
    pub fn with_discovery(self, discovery: Discovery) -> Self {
        Self::of(RouterSettings { discovery, ..self.settings().clone() })
    }

    /// Shares the cache of a region detector.
    pub fn with_region_detector(self, detector: RegionDetector) -> Self {
        Self::of(RouterSettings { detector, ..self.settings().clone() })
    }

    fn of(settings: RouterSettings) -> Self {
        Self(Arc::new(RouterState { settings, resolved_region: OnceLock::new() }))
    }

    fn settings(&self) -> &RouterSettings {
        &self.0.settings
    }

    /// Returns the authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.settings().authority
    }

    /// Returns the token endpoint for these requests.
    ///
    /// Invalid queries are refused before anything is sent. If the region cannot be detected, the
    /// global host serves, with the same security. The environment is read once.
    ///
    /// # Errors
    /// Those of [`Authority::with_tenant`] and [`Authority::token_endpoint`]; `invalid_region` if
    /// `MSAL_FORCE_REGION` is not a region; `invalid_instance` if Microsoft Entra does not know the
    /// host. For an OpenID provider `authority_validation_failed` if the metadata belong to another
    /// issuer, `oidc_failure` if they are unusable, and errors of the transport.
    pub async fn endpoint(
        &self,
        http: &HttpClient,
        env: &Env,
        query: &EndpointQuery<'_>,
    ) -> Result<TokenEndpoint, Error> {
        Ok(self.located(http, env, query).await?.endpoint)
    }

    pub(crate) async fn located(
        &self,
        http: &HttpClient,
        env: &Env,
        query: &EndpointQuery<'_>,
    ) -> Result<LocatedEndpoint, Error> {
        let EndpointQuery { tenant, mtls, .. } = *query;
        let RouterSettings { instance_discovery, discovery, detector, .. } = self.settings();
        let authority = self.authority_for(tenant)?;
        if let Some(issuer) = authority.issuer() {
            return Ok(discovery.provider(http, issuer).await?.token_endpoint(mtls).clone().into());
        }
        authority.token_endpoint(&Routing { mtls, region: None })?;
        let region = match query.considers_region() {
            true => self.resolved_region(env)?,
            false => RegionChoice::Global,
        };
        if *instance_discovery {
            discovery.validate(http, &authority).await?;
        }
        let region = match region {
            RegionChoice::Fixed(region) => RegionOutcome::Configured(region),
            RegionChoice::Detect => detector.outcome(http, env).await,
            RegionChoice::Unset | RegionChoice::Global => RegionOutcome::None,
        };
        self.route(query, region)
    }

    /// Returns the authorization endpoint, and the issuer whose response is expected.
    pub(crate) async fn authorization_endpoint(
        &self,
        http: &HttpClient,
        tenant: Option<&str>,
    ) -> Result<(Url, ExpectedIssuer), Error> {
        let RouterSettings { instance_discovery, discovery, .. } = self.settings();
        let authority = self.authority_for(tenant)?;
        let expected = |is_announced| ExpectedIssuer {
            authority: authority.as_str().to_owned(),
            is_oidc: authority.issuer().is_some(),
            is_announced,
        };
        if let Some(issuer) = authority.issuer() {
            let metadata = discovery.provider(http, issuer).await?;
            return Ok((
                metadata.authorization_endpoint()?.clone(),
                expected(metadata.always_sends_issuer()),
            ));
        }
        if *instance_discovery {
            discovery.validate(http, &authority).await?;
        }
        Ok((authority.authorization_endpoint()?, expected(false)))
    }

    fn resolved_region(&self, env: &Env) -> Result<RegionChoice, Error> {
        if self.authority().cloud_host().is_none() {
            return Ok(RegionChoice::Global);
        }
        self.0.resolved_region.get_or_init(|| self.settings().region.resolve(env)).clone()
    }

    fn route(&self, query: &EndpointQuery<'_>, region: RegionOutcome) -> Result<LocatedEndpoint, Error> {
        let routing = Routing { mtls: query.mtls, region: region.region().cloned() };
        Ok(LocatedEndpoint { endpoint: self.authority_for(query.tenant)?.token_endpoint(&routing)?, region })
    }

    fn authority_for(&self, tenant: Option<&str>) -> Result<Cow<'_, Authority>, Error> {
        match tenant {
            None => Ok(Cow::Borrowed(self.authority())),
            Some(tenant) => self.authority().with_tenant(tenant).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use symbolon_transport::testing::ScriptedTransport;
    use symbolon_transport::{Response, SharedTransport, TransportError};
    use symbolon_types::{Context, Jitter, ManualClock};

    use super::*;
    use crate::authority::region::Region;

    const CONTOSO: &str = "https://login.microsoftonline.com/contoso.com";

    fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
        Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
    }

    fn client(transport: &ScriptedTransport, clock: &ManualClock) -> HttpClient {
        let transport = SharedTransport::new(transport.clone());
        HttpClient::new(transport, Context::default().with_clock(clock).with_jitter(Jitter::fixed(0.5)))
    }

    fn router(authority: &str) -> Router {
        Router::new(Authority::parse(authority).unwrap())
    }

    fn shown(endpoint: Result<TokenEndpoint, Error>) -> String {
        endpoint.map_or_else(|error| error.code().to_owned(), |endpoint| endpoint.url().to_string())
    }

    fn query(tenant: Option<&str>, mtls: bool) -> EndpointQuery<'_> {
        EndpointQuery { tenant, mtls, for_user: false }
    }

    fn fixed(name: &str) -> RegionChoice {
        RegionChoice::Fixed(Region::parse(name).unwrap())
    }

    #[tokio::test]
    async fn route_01_to_09_known_cloud_is_not_probed() {
        let common = "https://login.microsoftonline.com/common";
        for (authority, region, tenant, mtls, outcome) in [
            (
                CONTOSO,
                RegionChoice::Unset,
                None,
                true,
                "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token",
            ),
            (
                CONTOSO,
                fixed("WestUS2"),
                None,
                true,
                "https://westus2.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token",
            ),
            (
                CONTOSO,
                fixed("westus2"),
                None,
                false,
                "https://westus2.login.microsoft.com/contoso.com/oauth2/v2.0/token",
            ),
            (common, RegionChoice::Unset, None, true, "missing_tenanted_authority"),
            (
                common,
                RegionChoice::Unset,
                None,
                false,
                "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            ),
            (
                common,
                RegionChoice::Unset,
                Some("Consumers"),
                true,
                "https://mtlsauth.microsoft.com/consumers/oauth2/v2.0/token",
            ),
            (CONTOSO, RegionChoice::Unset, Some("organizations"), true, "missing_tenanted_authority"),
            (CONTOSO, RegionChoice::Unset, Some(""), false, "invalid_tenant"),
            (CONTOSO, RegionChoice::Unset, Some("a/b"), false, "invalid_tenant"),
            ("https://sts.example/adfs", RegionChoice::Detect, Some("t"), false, "authority_type_mismatch"),
            (
                "https://sts.example/adfs",
                RegionChoice::Detect,
                None,
                true,
                "https://sts.example/adfs/oauth2/token",
            ),
            (
                "https://127.0.0.1:8443/t",
                RegionChoice::Detect,
                None,
                true,
                "https://127.0.0.1:8443/t/oauth2/v2.0/token",
            ),
            (
                "https://127.0.0.1:8443/t",
                fixed("r"),
                None,
                true,
                "https://127.0.0.1:8443/t/oauth2/v2.0/token",
            ),
            (
                "https://login.foo.bar/t",
                RegionChoice::Detect,
                None,
                true,
                "mtls_pop_not_supported_for_environment",
            ),
        ] {
            let transport = ScriptedTransport::new([]);
            let http = client(&transport, &ManualClock::new());
            let router = router(authority).with_region(region);
            let endpoint = router.endpoint(&http, &Env::empty(), &query(tenant, mtls)).await;
            assert_eq!(shown(endpoint), outcome, "{authority} {tenant:?}");
            assert!(transport.requests().is_empty(), "{authority}");
        }
    }

    #[tokio::test]
    async fn route_03_to_05_detected_region_is_used() {
        let transport = ScriptedTransport::new([
            answer(200, r#"{"location":"west.evil.example/us"}"#),
            answer(200, r#"{"location":"westus"}"#),
        ]);
        let clock = ManualClock::new();
        let http = client(&transport, &clock);
        let router = router(CONTOSO).with_region(RegionChoice::Detect);
        let global = "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token";
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, true)).await), global);
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, true)).await), global);
        assert_eq!(transport.requests().len(), 1);

        clock.advance(Duration::from_secs(5 * 60));
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, true)).await), global);
        tokio::task::yield_now().await;
        let regional = "https://westus.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token";
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, true)).await), regional);
        let other = "https://westus.login.microsoft.com/t/oauth2/v2.0/token";
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(Some("t"), false)).await), other);
        assert_eq!(transport.requests().len(), 2);
    }

    #[tokio::test]
    async fn environment_overrides_configured_region() {
        let http = client(&ScriptedTransport::new([]), &ManualClock::new());
        for (region, variable, host) in [
            (RegionChoice::Unset, ("MSAL_FORCE_REGION", "forced"), "https://forced.login.microsoft.com/"),
            (RegionChoice::Unset, ("MSAL_FORCE_REGION", "for.ced"), "invalid_region"),
            (RegionChoice::Global, ("MSAL_FORCE_REGION", "for.ced"), "https://login.microsoftonline.com/"),
            (fixed("r"), ("MSAL_DISABLE_REGION", "1"), "https://login.microsoftonline.com/"),
        ] {
            let router = router(CONTOSO).with_region(region);
            let env = [variable].into_iter().collect();
            let endpoint = shown(router.endpoint(&http, &env, &query(None, false)).await);
            assert!(endpoint.starts_with(host), "{endpoint}");
            // The environment is read once.
            assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, false)).await), endpoint);
        }
        // An authority without regions ignores an invalid region.
        let env = [("MSAL_FORCE_REGION", "for.ced")].into_iter().collect();
        assert!(router("https://sts.example/adfs").endpoint(&http, &env, &query(None, false)).await.is_ok());
    }

    #[tokio::test]
    async fn rg17_user_requests_need_no_region() {
        let transport = ScriptedTransport::new([]);
        let http = client(&transport, &ManualClock::new());
        let about_user = EndpointQuery { for_user: true, ..EndpointQuery::default() };
        let global = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
        for region in [RegionChoice::Unset, RegionChoice::Global, RegionChoice::Detect, fixed("r")] {
            let router = router(CONTOSO).with_region(region);
            assert_eq!(shown(router.endpoint(&http, &Env::empty(), &about_user).await), global);
        }
        assert!(transport.requests().is_empty());
        let regional = "https://r.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token";
        let over_mtls = EndpointQuery { mtls: true, ..about_user };
        let router = router(CONTOSO).with_region(fixed("r"));
        assert_eq!(shown(router.endpoint(&http, &Env::empty(), &over_mtls).await), regional);
    }

    #[tokio::test]
    async fn invalid_host_needs_no_region() {
        let transport = ScriptedTransport::new([answer(400, r#"{"error":"invalid_instance"}"#)]);
        let http = client(&transport, &ManualClock::new());
        let router = router("https://login.foo.bar/t").with_region(RegionChoice::Detect);
        assert_eq!(
            shown(router.endpoint(&http, &Env::empty(), &query(None, false)).await),
            "invalid_instance"
        );
        assert_eq!(
            shown(router.endpoint(&http, &Env::empty(), &query(Some("u"), false)).await),
            "invalid_instance"
        );
        assert_eq!(transport.requests().len(), 1);

        let without_discovery = router.with_region(RegionChoice::Global).with_instance_discovery(false);
        let endpoint = without_discovery.endpoint(&http, &Env::empty(), &query(None, false)).await;
        assert_eq!(shown(endpoint), "https://login.foo.bar/t/oauth2/v2.0/token");
        assert_eq!(transport.requests().len(), 1);
    }

    #[tokio::test]
    async fn routers_share_discovery_and_detector() {
        let transport = ScriptedTransport::new([answer(200, "{}"), answer(200, r#"{"location":"r"}"#)]);
        let http = client(&transport, &ManualClock::new());
        let (discovery, detector) = (Discovery::new(), RegionDetector::new());
        for tenant in ["a", "b"] {
            let router = router(&format!("https://login.foo.bar/{tenant}"))
                .with_region(RegionChoice::Detect)
                .with_discovery(discovery.clone())
                .with_region_detector(detector.clone());
            let endpoint = shown(router.endpoint(&http, &Env::empty(), &query(None, false)).await);
            assert_eq!(endpoint, format!("https://r.login.foo.bar/{tenant}/oauth2/v2.0/token"));
        }
        assert_eq!(transport.requests().len(), 2);
    }

    #[tokio::test]
    async fn openid_endpoints_are_read_from_metadata() {
        let transport = ScriptedTransport::new([answer(
            200,
            r#"{"issuer":"https://idp.example/","token_endpoint":"https://idp.example/token",
                "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.idp.example/token"}}"#,
        )]);
        let http = client(&transport, &ManualClock::new());
        let router =
            Router::new(Authority::oidc("https://idp.example/").unwrap()).with_region(RegionChoice::Detect);
        for (mtls, url) in [(false, "https://idp.example/token"), (true, "https://mtls.idp.example/token")] {
            assert_eq!(shown(router.endpoint(&http, &Env::empty(), &query(None, mtls)).await), url);
        }
        let refused = router.endpoint(&http, &Env::empty(), &query(Some("t"), false)).await;
        assert_eq!(shown(refused), "authority_type_mismatch");
        assert_eq!(transport.requests().len(), 1);
    }
}
