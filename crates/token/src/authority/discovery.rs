//! What authorities say about themselves, remembered.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use symbolon_lease::{Found, Lease, LeaseCache, Loaded};
use symbolon_transport::HttpClient;
use symbolon_types::{Error, SharedClock};

use super::authority_url::Authority;
use super::instance::{self, Verdict};
use super::memory::{NameKey, after, for_a_while};
use super::openid::ProviderMetadata;

/// How many hosts, and how many issuers, are remembered.
const CAPACITY: usize = 100;
/// When a provider's metadata is fetched again, and until when it is used if that fails.
const METADATA_FRESH: Duration = Duration::from_secs(24 * 60 * 60);
const METADATA_USABLE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a failure to fetch it is believed.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// Finds out about authorities, once for all that share it. Clones are cheap and share what was
/// found.
///
/// It remembers about a hundred hosts and a hundred issuers, each for itself: nobody waits for
/// another's request, and callers with the same question share one. When there are more, the one
/// that would be forgotten next goes.
///
/// - **Hosts** of Entra that are not in the list of known clouds are looked up with Microsoft's
///   instance discovery. A yes stays, a no holds for five minutes. When nobody answers, the host
///   gets the benefit of the doubt, and is asked about again after five minutes.
/// - **Issuers** are asked for their metadata. It is renewed in the background after a day, and
///   used for a week if that fails. A failure holds for a minute.
#[derive(Clone, Default)]
pub struct Discovery(Arc<OnceLock<DiscoveryCaches>>);

struct DiscoveryCaches {
    hosts: LeaseCache<Box<str>, Verdict>,
    providers: LeaseCache<Box<str>, Arc<ProviderMetadata>>,
    failures: LeaseCache<Box<str>, Error>,
}

impl Discovery {
    /// A discovery that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks that the host of an authority is what it claims to be.
    ///
    /// Only Entra's can be checked. Those of known clouds need no request, and one on this machine
    /// is never asked about.
    ///
    /// # Errors
    /// `invalid_instance` when Microsoft Entra does not know the host.
    pub async fn validate(&self, http: &HttpClient, authority: &Authority) -> Result<(), Error> {
        let Some(host) = unknown_host(authority) else { return Ok(()) };
        let (http, text) = (http.clone(), authority.as_str().to_owned());
        let hosts = &self.memory(http.context().clock()).hosts;
        let load = || async move { Ok(Loaded::new(instance::ask_about(http, text).await)) };
        hosts.obtain(&NameKey(host), load).await?.value.judged()
    }

    /// The same from memory; `None` when it is time to ask.
    pub(super) fn validate_now(&self, authority: &Authority) -> Option<Result<(), Error>> {
        let Some(host) = unknown_host(authority) else { return Some(Ok(())) };
        match self.0.get()?.hosts.find(&NameKey(host)) {
            Some(Found { value, is_due: false, .. }) => Some(value.judged()),
            _ => None,
        }
    }

    /// The metadata of an OpenID provider.
    pub(super) async fn provider(
        &self,
        http: &HttpClient,
        issuer: &str,
    ) -> Result<Arc<ProviderMetadata>, Error> {
        let DiscoveryCaches { providers, failures, .. } = self.memory(http.context().clock());
        let name = NameKey(issuer);
        if providers.find(&name).is_none()
            && let Some(failure) = failures.find(&name)
        {
            return Err(failure.value);
        }
        let (http, issuer, failures) = (http.clone(), issuer.to_owned(), failures.clone());
        let load = || async move {
            let fetched = ProviderMetadata::fetch(&http, &issuer).await;
            let now = http.context().clock().now();
            match fetched {
                Ok(metadata) => {
                    let lease = Lease::new(Arc::new(metadata), after(now, METADATA_USABLE));
                    Ok(Loaded::new(lease.with_refresh_at(Some(after(now, METADATA_FRESH)))))
                }
                Err(error) => {
                    failures.insert(issuer.into(), for_a_while(error.clone(), now, FAILURE_PAUSE));
                    Err(error)
                }
            }
        };
        Ok(providers.obtain(&name, load).await?.value)
    }

    /// The same from memory; `None` when it is time to ask.
    pub(super) fn provider_now(&self, issuer: &str) -> Option<Result<Arc<ProviderMetadata>, Error>> {
        let DiscoveryCaches { providers, failures, .. } = self.0.get()?;
        let name = NameKey(issuer);
        match providers.find(&name) {
            Some(Found { value, is_due: false, .. }) => Some(Ok(value)),
            Some(_) => None,
            None => failures.find(&name).map(|failure| Err(failure.value)),
        }
    }

    /// Time is read off the clock of the first caller.
    fn memory(&self, clock: &SharedClock) -> &DiscoveryCaches {
        self.0.get_or_init(|| DiscoveryCaches {
            hosts: LeaseCache::new(CAPACITY, clock.clone()),
            providers: LeaseCache::new(CAPACITY, clock.clone()),
            failures: LeaseCache::new(CAPACITY, clock.clone()),
        })
    }
}

/// The host that has to be asked about.
fn unknown_host(authority: &Authority) -> Option<&str> {
    authority.cloud_host().filter(|_| !authority.is_known())
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Discovery")
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use http::StatusCode;
    use symbolon_transport::testing::ScriptedTransport;
    use symbolon_transport::{
        Request, Response, Route, SharedTransport, Transport, TransportError, TransportErrorKind,
        transport_fn,
    };
    use symbolon_types::{Context, Jitter, ManualClock};

    use super::*;

    type Answer = Result<Response, TransportError>;

    const UNKNOWN: &str = "https://login.foo.bar:8443/Contoso.com";
    const ISSUER: &str = "https://idp.example/a";
    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(status: u16, body: &str) -> Answer {
        Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
    }

    fn yes() -> Answer {
        answer(200, r#"{"tenant_discovery_endpoint":"https://x","metadata":[]}"#)
    }

    fn no() -> Answer {
        answer(400, r#"{"error":"invalid_instance","error_description":"AADSTS50049: no."}"#)
    }

    fn metadata(path: &str) -> Answer {
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

    #[tokio::test]
    async fn what_is_known_or_cannot_be_asked_about_is_not_asked_about() {
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
    async fn an_unknown_host_is_looked_up_once_and_a_yes_stays() {
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
    async fn a_foreign_host_is_refused_for_five_minutes_and_then_looked_up_again() {
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
    async fn without_an_answer_the_host_has_the_benefit_of_the_doubt_for_five_minutes() {
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
    async fn a_lookup_that_gets_no_answer_ends_after_ten_seconds() {
        let clock = ManualClock::new();
        let http = client(transport_fn(|_| pending::<Answer>()), &clock);
        let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
        let mut asking = Box::pin(discovery.validate(&http, &unknown));
        assert!((&mut asking).now_or_never().is_none());
        assert_eq!(clock.advance_to_next(), Some(Duration::from_secs(10)));
        assert!((&mut asking).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_decides_nothing() {
        let clock = ManualClock::new();
        let silent = client(transport_fn(|_| pending::<Answer>()), &clock);
        let (discovery, unknown) = (Discovery::new(), authority(UNKNOWN));
        assert!(discovery.validate(&silent, &unknown).now_or_never().is_none());
        assert!(discovery.validate_now(&unknown).is_none());
        let http = client(ScriptedTransport::new([no()]), &clock);
        assert!(discovery.validate(&http, &unknown).await.is_err());
    }

    #[tokio::test]
    async fn metadata_is_fetched_once_and_renewed_after_a_day_while_nobody_waits() {
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
    async fn metadata_that_cannot_be_renewed_is_used_for_a_week() {
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
    async fn a_failure_to_fetch_metadata_holds_for_a_minute() {
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
    async fn a_fetch_that_was_given_up_is_not_a_failure() {
        let clock = ManualClock::new();
        let silent = client(transport_fn(|_| pending::<Answer>()), &clock);
        let discovery = Discovery::new();
        assert!(discovery.provider(&silent, ISSUER).now_or_never().is_none());
        assert!(discovery.provider_now(ISSUER).is_none());
        let http = client(ScriptedTransport::new([metadata("one")]), &clock);
        discovery.provider(&http, ISSUER).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_another_issuer_or_host() {
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
    async fn the_number_of_remembered_hosts_and_issuers_is_bounded() {
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
