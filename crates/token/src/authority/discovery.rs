//! Cached results of instance discovery and of OpenID discovery.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_transport::HttpClient;
use symbolon_types::{Error, SharedClock};

use super::authority_url::Authority;
use super::instance::{self, HostStatus};
use super::memory::{NameKey, expiring_after};
use super::openid::ProviderMetadata;

/// The maximum number of cached hosts, and of cached issuers.
const CAPACITY: usize = 100;
/// The age at which metadata are fetched again, and the age up to which they are used if that
/// fails.
const METADATA_FRESH: Duration = Duration::from_secs(24 * 60 * 60);
const METADATA_USABLE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time for which a failure to fetch metadata is kept.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// Validates hosts and fetches the metadata of OpenID providers, and caches the results. Clones are
/// cheap and share the cache.
///
/// About a hundred hosts and a hundred issuers are cached; beyond that, the entry that expires next
/// is evicted. Concurrent callers share a request for the same host or issuer, and do not wait for
/// requests for others.
///
/// - **Hosts** of Entra authorities outside of the known clouds are validated by Microsoft's
///   instance discovery. A positive result is kept, a negative one for five minutes. Without a
///   usable response the host is used, and the request is repeated in the background after five
///   minutes.
/// - **Metadata** of an issuer are fetched again in the background after a day, and used for a week
///   if that fails. A failure is kept for a minute.
#[derive(Clone, Default)]
pub struct Discovery(Arc<OnceLock<DiscoveryCaches>>);

struct DiscoveryCaches {
    hosts: LeaseCache<Box<str>, HostStatus>,
    providers: LeaseCache<Box<str>, Arc<ProviderMetadata>>,
    failures: LeaseCache<Box<str>, Error>,
}

impl Discovery {
    /// Creates a discovery with an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Validates that the host of an Entra authority belongs to Microsoft Entra.
    ///
    /// Hosts of known clouds, loopback addresses and other kinds of authorities are accepted
    /// without a request.
    ///
    /// # Errors
    /// `invalid_instance` if Microsoft Entra does not know the host.
    pub async fn validate(&self, http: &HttpClient, authority: &Authority) -> Result<(), Error> {
        let Some(host) = unknown_host(authority) else { return Ok(()) };
        let (http, text) = (http.clone(), authority.as_str().to_owned());
        let hosts = &self.caches(http.context().clock()).hosts;
        let load = || async move { Ok(Loaded::new(instance::discover(http, text).await)) };
        hosts.obtain(&NameKey(host), load).await?.value.check()
    }

    /// Returns the metadata of an OpenID provider.
    pub(super) async fn provider(
        &self,
        http: &HttpClient,
        issuer: &str,
    ) -> Result<Arc<ProviderMetadata>, Error> {
        let DiscoveryCaches { providers, failures, .. } = self.caches(http.context().clock());
        let name = NameKey(issuer);
        if providers.find(&name).is_none()
            && let Some(failure) = failures.find(&name)
        {
            return Err(failure.value);
        }
        let (http, issuer, failures) = (http.clone(), issuer.to_owned(), failures.clone());
        let load = || async move {
            let fetched = ProviderMetadata::fetch(&http, &issuer).await;
            let now = http.context().clock().steady_now();
            match fetched {
                Ok(metadata) => {
                    let lease = Lease::new(Arc::new(metadata), now.plus(METADATA_USABLE));
                    Ok(Loaded::new(lease.with_refresh_at(now.plus(METADATA_FRESH))))
                }
                Err(error) => {
                    failures.insert(issuer.into(), expiring_after(error.clone(), now, FAILURE_PAUSE));
                    Err(error)
                }
            }
        };
        Ok(providers.obtain(&name, load).await?.value)
    }

    /// Returns the caches, which use the clock of the first caller.
    fn caches(&self, clock: &SharedClock) -> &DiscoveryCaches {
        self.0.get_or_init(|| DiscoveryCaches {
            hosts: LeaseCache::new(CAPACITY, clock.clone()),
            providers: LeaseCache::new(CAPACITY, clock.clone()),
            failures: LeaseCache::new(CAPACITY, clock.clone()),
        })
    }
}

/// Returns the host, if it needs instance discovery.
fn unknown_host(authority: &Authority) -> Option<&str> {
    authority.cloud_host().filter(|_| !authority.is_known())
}

symbolon_types::debug_fields!(Discovery);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use http::StatusCode;
    use symbolon_lease::Found;
    use symbolon_transport::testing::ScriptedTransport;
    use symbolon_transport::{
        Request, Response, Route, SharedTransport, Transport, TransportError, TransportErrorKind,
        transport_fn,
    };
    use symbolon_types::{Context, Jitter, ManualClock};

    use super::*;

    type HttpResult = Result<Response, TransportError>;

    const UNKNOWN: &str = "https://login.foo.bar:8443/Contoso.com";
    const ISSUER: &str = "https://idp.example/a";
    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(status: u16, body: &str) -> HttpResult {
        Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
    }

    fn yes() -> HttpResult {
        answer(200, r#"{"tenant_discovery_endpoint":"https://x","metadata":[]}"#)
    }

    fn no() -> HttpResult {
        answer(400, r#"{"error":"invalid_instance","error_description":"AADSTS50049: no."}"#)
    }

    fn metadata(path: &str) -> HttpResult {
        answer(200, &format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://idp.example/{path}"}}"#))
    }

    fn client(transport: impl Transport, clock: &ManualClock) -> HttpClient {
        HttpClient::new(
            SharedTransport::new(transport),
            Context::default().with_clock(clock).with_jitter(Jitter::fixed(0.5)),
        )
    }

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    fn urls(transport: &ScriptedTransport) -> Vec<String> {
        transport.requests().iter().map(|request| request.url().to_string()).collect()
    }

    impl Discovery {
        /// Returns the cached result of [`validate`](Self::validate); `None` if a request is due.
        fn validate_now(&self, authority: &Authority) -> Option<Result<(), Error>> {
            let Some(host) = unknown_host(authority) else { return Some(Ok(())) };
            match self.0.get()?.hosts.find(&NameKey(host)) {
                Some(Found { value, is_due: false, .. }) => Some(value.check()),
                _ => None,
            }
        }

        /// Returns the cached result of [`provider`](Self::provider); `None` if a request is due.
        fn provider_now(&self, issuer: &str) -> Option<Result<Arc<ProviderMetadata>, Error>> {
            let DiscoveryCaches { providers, failures, .. } = self.0.get()?;
            let name = NameKey(issuer);
            match providers.find(&name) {
                Some(Found { value, is_due: false, .. }) => Some(Ok(value)),
                Some(_) => None,
                None => failures.find(&name).map(|failure| Err(failure.value)),
            }
        }
    }

    #[tokio::test]
    async fn known_and_local_hosts_need_no_request() {
        let transport = ScriptedTransport::new([]);
        let http = client(transport.clone(), &ManualClock::new());
        let discovery = Discovery::new();
        for text in [
            "https://login.microsoftonline.com/t",
            "https://login.chinacloudapi.cn/t",
            "https://127.0.0.1:8443/t",
            "https://localhost/t",
            "https://contoso.ciamlogin.com",
            "https://contoso.b2clogin.com/tfp/t/p",
            "https://sts.contoso.com/adfs",
            "https://dsts.contoso.com/dstsv2/t",
        ] {
            assert!(matches!(discovery.validate_now(&authority(text)), Some(Ok(()))), "{text}");
            discovery.validate(&http, &authority(text)).await.unwrap();
        }
        assert!(transport.requests().is_empty());
    }

    #[tokio::test]
    async fn valid_host_is_looked_up_once() {
        let transport = ScriptedTransport::new([yes(), no()]);
        let clock = ManualClock::new();
        let http = client(transport.clone(), &clock);
        let discovery = Discovery::new();
        let unknown = authority(UNKNOWN);
        assert!(discovery.validate_now(&unknown).is_none());
        for outcome in join_all((0..20).map(|_| discovery.validate(&http, &unknown))).await {
            outcome.unwrap();
        }
        clock.advance(365 * 24 * 60 * MINUTE);
        assert!(matches!(discovery.clone().validate_now(&unknown), Some(Ok(()))));
        assert_eq!(
            urls(&transport),
            ["https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&\
              authorization_endpoint=https%3A%2F%2Flogin.foo.bar%3A8443%2Fcontoso.com%2Foauth2%2Fv2.0%2Fauthorize"]
        );
        assert_eq!(transport.requests()[0].route(), Route::Public);
    }

    #[tokio::test]
    async fn invalid_host_is_refused_for_five_minutes() {
        let transport = ScriptedTransport::new([no(), yes()]);
        let clock = ManualClock::new();
        let http = client(transport.clone(), &clock);
        let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
        for _ in 0..2 {
            let error = discovery.validate(&http, &unknown).await.unwrap_err();
            assert_eq!(error.code(), "invalid_instance");
            assert!(!error.to_string().contains("foo"), "{error}");
        }
        assert_eq!(transport.requests().len(), 1);
        clock.advance(5 * MINUTE);
        assert!(discovery.validate_now(&unknown).is_none());
        discovery.validate(&http, &unknown).await.unwrap();
    }

    #[tokio::test]
    async fn unverified_host_is_used() {
        for failure in [
            Err(TransportErrorKind::Connect.into()),
            answer(500, ""),
            answer(404, r#"{"error":"not_found"}"#),
            answer(400, "invalid_instance"),
            answer(400, r#"{"error":"invalid_request","error_description":"invalid_instance"}"#),
            answer(200, "<html>sign in to the network</html>"),
        ] {
            let transport = ScriptedTransport::new([failure, no()]);
            let clock = ManualClock::new();
            let http = client(transport.clone(), &clock);
            let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
            discovery.validate(&http, &unknown).await.unwrap();
            clock.advance(5 * MINUTE - Duration::from_secs(1));
            assert!(matches!(discovery.validate_now(&unknown), Some(Ok(()))));
            assert_eq!(transport.requests().len(), 1);

            clock.advance(Duration::from_secs(1));
            assert!(discovery.validate_now(&unknown).is_none());
            discovery.validate(&http, &unknown).await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(discovery.validate(&http, &unknown).await.unwrap_err().code(), "invalid_instance");
        }
    }

    #[tokio::test]
    async fn lookup_ends_after_ten_seconds() {
        let clock = ManualClock::new();
        let http = client(transport_fn(|_| pending::<HttpResult>()), &clock);
        let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
        let mut validation = Box::pin(discovery.validate(&http, &unknown));
        assert!((&mut validation).now_or_never().is_none());
        assert_eq!(clock.advance_to_next(), Some(Duration::from_secs(10)));
        assert!((&mut validation).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn cancelled_lookup_leaves_no_result() {
        let clock = ManualClock::new();
        let silent = client(transport_fn(|_| pending::<HttpResult>()), &clock);
        let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
        assert!(discovery.validate(&silent, &unknown).now_or_never().is_none());
        assert!(discovery.validate_now(&unknown).is_none());
        let http = client(ScriptedTransport::new([no()]), &clock);
        assert!(discovery.validate(&http, &unknown).await.is_err());
    }

    #[tokio::test]
    async fn metadata_are_renewed_in_the_background() {
        let transport = ScriptedTransport::new([metadata("one"), metadata("two")]);
        let clock = ManualClock::new();
        let http = client(transport.clone(), &clock);
        let discovery = Discovery::new();
        let path = async || {
            discovery.provider(&http, ISSUER).await.unwrap().token_endpoint(false).url().path().to_owned()
        };
        assert!(discovery.provider_now(ISSUER).is_none());
        for fetched in join_all((0..20).map(|_| path())).await {
            assert_eq!(fetched, "/one");
        }
        clock.advance(METADATA_FRESH - Duration::from_secs(1));
        assert!(discovery.provider_now(ISSUER).is_some());
        clock.advance(Duration::from_secs(1));
        assert!(discovery.provider_now(ISSUER).is_none());
        assert_eq!(path().await, "/one");
        tokio::task::yield_now().await;
        assert_eq!(path().await, "/two");
        assert_eq!(urls(&transport), ["https://idp.example/a/.well-known/openid-configuration"; 2]);
    }

    #[tokio::test]
    async fn stale_metadata_are_used_for_a_week() {
        let transport = ScriptedTransport::new([metadata("one"), answer(404, ""), answer(404, "")]);
        let clock = ManualClock::new();
        let http = client(transport.clone(), &clock);
        let discovery = Discovery::new();
        discovery.provider(&http, ISSUER).await.unwrap();
        clock.advance(METADATA_USABLE - Duration::from_secs(1));
        discovery.provider(&http, ISSUER).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(transport.requests().len(), 2);
        assert!(matches!(discovery.provider_now(ISSUER), Some(Ok(_))));
        discovery.provider(&http, ISSUER).await.unwrap();
        clock.advance(MINUTE);
        assert_eq!(discovery.provider(&http, ISSUER).await.unwrap_err().code(), "oidc_failure");
    }

    #[tokio::test]
    async fn metadata_failure_is_kept_for_a_minute() {
        let transport = ScriptedTransport::new([answer(404, "no"), metadata("one")]);
        let clock = ManualClock::new();
        let http = client(transport.clone(), &clock);
        let discovery = Discovery::new();
        for _ in 0..2 {
            let error = discovery.provider(&http, ISSUER).await.unwrap_err();
            assert_eq!((error.code(), error.status()), ("oidc_failure", Some(404)));
        }
        assert!(matches!(discovery.provider_now(ISSUER), Some(Err(_))));
        assert_eq!(transport.requests().len(), 1);
        clock.advance(MINUTE);
        discovery.provider(&http, ISSUER).await.unwrap();
    }

    #[tokio::test]
    async fn cancelled_fetch_is_not_a_failure() {
        let clock = ManualClock::new();
        let silent = client(transport_fn(|_| pending::<HttpResult>()), &clock);
        let discovery = Discovery::new();
        assert!(discovery.provider(&silent, ISSUER).now_or_never().is_none());
        assert!(discovery.provider_now(ISSUER).is_none());
        let http = client(ScriptedTransport::new([metadata("one")]), &clock);
        discovery.provider(&http, ISSUER).await.unwrap();
    }

    #[tokio::test]
    async fn lookups_do_not_wait_for_each_other() {
        let transport = transport_fn(|request: Request| async move {
            match request.url().host_str() {
                Some("idp.example") => metadata("one"),
                _ if request.url().query().is_some_and(|query| query.contains("login.foo.bar")) => no(),
                _ => pending().await,
            }
        });
        let http = client(transport, &ManualClock::new());
        let discovery = Discovery::new();
        let mut slow = Box::pin(discovery.provider(&http, "https://slow.example"));
        let other = authority("https://login.slow.example/t");
        let mut slow_host = Box::pin(discovery.validate(&http, &other));
        assert!((&mut slow).now_or_never().is_none() && (&mut slow_host).now_or_never().is_none());
        assert!(discovery.provider(&http, ISSUER).now_or_never().unwrap().is_ok());
        assert!(discovery.validate(&http, &authority(UNKNOWN)).now_or_never().unwrap().is_err());
    }

    #[tokio::test]
    async fn number_of_cached_entries_is_bounded() {
        let transport = transport_fn(|request: Request| async move {
            match request.url().path() {
                "/common/discovery/instance" => yes(),
                _ => answer(404, ""),
            }
        });
        let http = client(transport, &ManualClock::new());
        let discovery = Discovery::new();
        for number in 0..3 * CAPACITY {
            discovery.validate(&http, &authority(&format!("https://h{number}.example/t"))).await.unwrap();
            discovery.provider(&http, &format!("https://h{number}.example")).await.unwrap_err();
        }
        let DiscoveryCaches { hosts, providers, failures } = discovery.0.get().unwrap();
        // Rounded up to a multiple of the cache's shards.
        assert!(hosts.len() <= 112 && providers.len() <= 112 && failures.len() <= 112);
    }
}
