//! Detection of the region of this machine (`docs/protocol/routing.md#region-detection`).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use symbolon_lease::{LeaseCache, Loaded, Origin};
use symbolon_transport::{
    HttpClient, Request, Response, RetryPolicy, Route, TransportError, is_transient_status, timeout,
};
use symbolon_types::{Env, IMDS_BASE_URL};
use tracing::debug;
use url::Url;

use super::memory::{permanent, refreshed_after};
use super::region::Region;
use super::region_outcome::{DetectedBy, RegionOutcome};

/// The variable with the region, which some Azure services set.
const REGION_NAME: &str = "REGION_NAME";
/// The variable with the address of the instance metadata service, if it is not the usual one.
const IMDS_BASE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const IMDS_PATH: &str = "/metadata/instance/compute";
const IMDS_API_VERSION: &str = "2021-02-01";
/// The header without which the service refuses a request.
const METADATA: HeaderName = HeaderName::from_static("metadata");
/// The timeout of one request, short because many machines have no metadata service.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pauses before retries.
const DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// The timeout of the whole detection. A token request should not wait long for a mere
/// optimization.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time after which a failed detection is repeated.
const FAILURE_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Detects the region of this machine and caches it. Clones are cheap and share the result.
///
/// Concurrent callers share one detection. A detected region is kept. After a failure the global
/// host serves, and five minutes later the next caller starts another detection in the background.
#[derive(Clone, Debug, Default)]
pub struct RegionDetector(Arc<OnceLock<LeaseCache<(), RegionOutcome>>>);

impl RegionDetector {
    /// Creates a detector with an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the region of this machine, from `REGION_NAME` or from the instance metadata
    /// service; `None` if detection fails. It takes at most ten seconds.
    ///
    /// The cache uses the clock of the first caller's `http`.
    pub async fn region(&self, http: &HttpClient, env: &Env) -> Option<Region> {
        self.outcome(http, env).await.region().cloned()
    }

    pub(super) async fn outcome(&self, http: &HttpClient, env: &Env) -> RegionOutcome {
        let cache = self.0.get_or_init(|| LeaseCache::new(1, http.context().clock().clone()));
        let (http, env) = (http.clone(), env.clone());
        let load = || async move {
            let outcome = detect(&http, &env).await;
            let now = http.context().clock().steady_now();
            Ok(Loaded::new(match outcome {
                RegionOutcome::Unknown => refreshed_after(outcome, now, FAILURE_PAUSE),
                detected => permanent(detected, now),
            }))
        };
        match cache.obtain(&(), load).await {
            Ok(obtained) if obtained.origin == Origin::Cache => obtained.value.remembered(),
            Ok(obtained) => obtained.value,
            // The closure never returns an error.
            Err(_) => RegionOutcome::Unknown,
        }
    }
}

#[derive(Deserialize)]
struct ComputeLocation {
    location: Option<String>,
}

#[derive(Deserialize)]
struct SupportedVersions {
    #[serde(rename = "newest-versions")]
    newest: Vec<String>,
}

async fn detect(http: &HttpClient, env: &Env) -> RegionOutcome {
    let name = env.var(REGION_NAME).map(|name| name.replace(' ', ""));
    if let Some(region) = name.and_then(|name| Region::parse(&name).ok()) {
        debug!(%region, "found the region in the environment");
        return RegionOutcome::Detected(region, DetectedBy::Environment);
    }
    match timeout(http.context().clock(), DEADLINE, region_from_metadata(http, env)).await.flatten() {
        Some(region) => {
            debug!(%region, "found the region in the instance metadata");
            RegionOutcome::Detected(region, DetectedBy::Metadata)
        }
        None => {
            debug!("the region could not be detected; using the global host");
            RegionOutcome::Unknown
        }
    }
}

async fn region_from_metadata(http: &HttpClient, env: &Env) -> Option<Region> {
    let base = env.var(IMDS_BASE);
    let mut url: Url = base.as_deref().unwrap_or(IMDS_BASE_URL).parse().ok()?;
    url.set_path(IMDS_PATH);
    url.set_fragment(None);
    let mut response = send(http, &url, Some(IMDS_API_VERSION)).await?;
    // The service does not support this version. Without one, it lists the supported versions.
    if response.status() == StatusCode::BAD_REQUEST {
        let answer = send(http, &url, None).await?;
        let SupportedVersions { newest } = serde_json::from_slice(answer.body()).ok()?;
        response = send(http, &url, Some(newest.first()?)).await?;
    }
    if response.status() != StatusCode::OK {
        return None;
    }
    let ComputeLocation { location } = serde_json::from_slice(response.body()).ok()?;
    Region::parse(&location?).ok()
}

/// Sends the request, with retries, and returns the last response.
async fn send(http: &HttpClient, url: &Url, version: Option<&str>) -> Option<Response> {
    let mut url = url.clone();
    url.set_query(None);
    if let Some(version) = version {
        url.query_pairs_mut().append_pair("api-version", version);
    }
    let mut request = Request::new(Method::GET, url, Route::Local);
    request.headers_mut().insert(METADATA, HeaderValue::from_static("true"));
    let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
    let mut delays = DELAYS.iter();
    loop {
        let sent = http.send(&policy, || Ok::<_, TransportError>(request.clone())).await.ok()?;
        match (is_retried(sent.response.status()), delays.next()) {
            (true, Some(delay)) => http.pause(*delay).await,
            _ => return Some(sent.response),
        }
    }
}

/// Returns whether a status is retried (`docs/protocol/errors.md#transient-statuses`).
fn is_retried(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT => false,
        StatusCode::GONE => true,
        _ => is_transient_status(status),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use symbolon_lease::Found;
    use symbolon_transport::testing::ScriptedTransport;
    use symbolon_transport::{SharedTransport, Transport, TransportErrorKind, transport_fn};
    use symbolon_types::{Context, Jitter, ManualClock, SharedClock};

    use super::*;

    type HttpResult = Result<Response, TransportError>;

    fn answer(status: u16, body: &str) -> HttpResult {
        Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_owned()))
    }

    fn located(region: &str) -> HttpResult {
        answer(200, &format!(r#"{{"location":"{region}"}}"#))
    }

    fn client(transport: impl Transport, clock: &ManualClock) -> HttpClient {
        HttpClient::new(
            SharedTransport::new(transport),
            Context::default().with_clock(clock).with_jitter(Jitter::fixed(0.5)),
        )
    }

    /// Runs a future, advancing the clock whenever it waits; returns the output and the times of
    /// the waits.
    fn drive<F: Future>(clock: &ManualClock, future: F) -> (F::Output, Vec<u64>) {
        let mut future = std::pin::pin!(future);
        let (mut delays, start) = (Vec::new(), SharedClock::from(clock).now());
        loop {
            if let Some(output) = future.as_mut().now_or_never() {
                return (output, delays);
            }
            clock.advance_to_next().expect("a timer is set");
            delays.push(SharedClock::from(clock).now().duration_since(start).unwrap().as_secs());
        }
    }

    impl RegionDetector {
        /// Returns the cached result; `None` if a detection is due.
        fn outcome_now(&self) -> Option<RegionOutcome> {
            match self.0.get()?.find(&()) {
                Some(Found { value, is_due: false, .. }) => Some(value.remembered()),
                _ => None,
            }
        }
    }

    async fn detect_region(http: &HttpClient, env: &Env) -> Option<Region> {
        RegionDetector::new().region(http, env).await
    }

    fn name(region: Option<&Region>) -> Option<&str> {
        region.map(Region::as_str)
    }

    #[test]
    fn environment_precedes_metadata_service() {
        for (variable, region, asked) in [
            ("westus2", Some("westus2"), 0),
            ("East US 2", Some("eastus2"), 0),
            ("east/us", Some("centralus"), 1),
            ("", Some("centralus"), 1),
        ] {
            let transport = ScriptedTransport::new([located("centralus")]);
            let http = client(transport.clone(), &ManualClock::new());
            let env = [(REGION_NAME, variable)].into_iter().collect();
            let found = detect_region(&http, &env).now_or_never().unwrap();
            assert_eq!((name(found.as_ref()), transport.requests().len()), (region, asked), "{variable}");
        }
    }

    #[test]
    fn metadata_request_has_url_and_header() {
        for (base, url) in [
            (None, "http://169.254.169.254/metadata/instance/compute?api-version=2021-02-01"),
            (
                Some("http://127.0.0.1:4711/x?y#z"),
                "http://127.0.0.1:4711/metadata/instance/compute?api-version=2021-02-01",
            ),
        ] {
            let transport = ScriptedTransport::new([located("WestEurope")]);
            let env = base.map(|base| (IMDS_BASE, base)).into_iter().collect();
            let http = client(transport.clone(), &ManualClock::new());
            let found = detect_region(&http, &env).now_or_never().unwrap();
            assert_eq!(name(found.as_ref()), Some("westeurope"));
            let [request] = &transport.requests()[..] else { panic!("one request") };
            assert_eq!((request.url().as_str(), request.route()), (url, Route::Local));
            assert_eq!(request.headers()[METADATA], "true");
        }
    }

    #[test]
    fn route_03_to_05_only_valid_region_is_used() {
        let versions = r#"{"error":"Bad request","newest-versions":["2020-09-01","2020-06-01"]}"#;
        for (answers, region, requests) in [
            (vec![located("eastus")], Some("eastus"), 1),
            (vec![located("")], None, 1),
            (vec![located("east us")], None, 1),
            (vec![located("eastus.evil.example")], None, 1),
            (vec![located("eastus/")], None, 1),
            (vec![answer(200, r#"{"location":null}"#)], None, 1),
            (vec![answer(200, "{}")], None, 1),
            (vec![answer(200, "eastus")], None, 1),
            (vec![answer(404, "")], None, 1),
            (vec![answer(408, "")], None, 1),
            (vec![answer(401, r#"{"location":"eastus"}"#)], None, 1),
            (vec![answer(500, ""), located("eastus")], Some("eastus"), 2),
            (vec![answer(429, ""), answer(410, ""), answer(503, ""), located("eastus")], Some("eastus"), 4),
            (vec![answer(500, ""), answer(500, ""), answer(500, ""), answer(500, ""), located("x")], None, 4),
            (vec![answer(400, ""), answer(400, versions), located("eastus")], Some("eastus"), 3),
            (vec![answer(400, ""), answer(400, r#"{"newest-versions":[]}"#), located("x")], None, 2),
            (vec![answer(400, ""), answer(400, ""), located("x")], None, 2),
            (vec![answer(400, ""), answer(400, versions), answer(400, ""), located("x")], None, 3),
            (vec![Err(TransportErrorKind::Connect.into()), located("x")], None, 1),
        ] {
            let transport = ScriptedTransport::new(answers);
            let clock = ManualClock::new();
            let (found, _) = drive(&clock, detect_region(&client(transport.clone(), &clock), &Env::empty()));
            assert_eq!((name(found.as_ref()), transport.requests().len()), (region, requests));
        }
    }

    #[test]
    fn listed_version_is_requested() {
        let transport = ScriptedTransport::new([
            answer(400, ""),
            answer(400, r#"{"newest-versions":["2020-09-01&x=y"]}"#),
            located("eastus"),
        ]);
        let http = client(transport.clone(), &ManualClock::new());
        detect_region(&http, &Env::empty()).now_or_never().unwrap().unwrap();
        let queries: Vec<_> =
            transport.requests().iter().map(|it| it.url().query().map(str::to_owned)).collect();
        let query = |text: &str| Some(text.to_owned());
        assert_eq!(queries, [query("api-version=2021-02-01"), None, query("api-version=2020-09-01%26x%3Dy")]);
    }

    #[test]
    fn detection_time_is_limited() {
        let clock = ManualClock::new();
        let silent = client(transport_fn(|_| pending::<HttpResult>()), &clock);
        assert_eq!(drive(&clock, detect_region(&silent, &Env::empty())), (None, vec![2]));

        let slow_clock = ManualClock::new();
        let ticking = SharedClock::from(&slow_clock);
        let busy = transport_fn(move |_| {
            let clock = ticking.clone();
            async move {
                clock.sleep(Duration::from_millis(1900)).await;
                answer(500, "")
            }
        });
        let (found, delays) = drive(&slow_clock, detect_region(&client(busy, &slow_clock), &Env::empty()));
        assert_eq!((found, delays.last()), (None, Some(&10)));
    }

    #[test]
    fn retry_scale_applies_to_pauses() {
        for (scale, delays) in [(1.0, vec![1, 3, 7]), (0.0, vec![]), (0.5, vec![0, 1, 3])] {
            let busy = (0..3).map(|_| answer(503, ""));
            let transport = ScriptedTransport::new(busy.chain([located("eastus")]));
            let clock = ManualClock::new();
            let context = Context::default().with_clock(&clock).with_retry_scale(scale);
            let http = HttpClient::new(SharedTransport::new(transport), context);
            let (found, waited) = drive(&clock, detect_region(&http, &Env::empty()));
            assert_eq!((name(found.as_ref()), waited), (Some("eastus"), delays), "{scale}");
        }
    }

    #[tokio::test]
    async fn region_is_detected_once() {
        let transport = ScriptedTransport::new([located("eastus"), located("westus")]);
        let clock = ManualClock::new();
        let (http, env, detector) = (client(transport.clone(), &clock), Env::empty(), RegionDetector::new());
        assert_eq!(detector.outcome_now(), None);
        for found in join_all((0..20).map(|_| detector.region(&http, &env))).await {
            assert_eq!(name(found.as_ref()), Some("eastus"));
        }
        clock.advance(Duration::from_secs(365 * 24 * 60 * 60));
        let shared = detector.clone();
        assert_eq!(name(shared.region(&http, &env).await.as_ref()), Some("eastus"));
        assert_eq!(
            shared.outcome_now(),
            Some(RegionOutcome::Detected(Region::parse("eastus").unwrap(), DetectedBy::Memory))
        );
        assert_eq!(transport.requests().len(), 1);
    }

    #[tokio::test]
    async fn failed_detection_is_retried_later() {
        let transport = ScriptedTransport::new([answer(404, ""), located("eastus")]);
        let clock = ManualClock::new();
        let (http, env, detector) = (client(transport.clone(), &clock), Env::empty(), RegionDetector::new());
        assert_eq!(detector.region(&http, &env).await, None);
        clock.advance(FAILURE_PAUSE - Duration::from_secs(1));
        assert_eq!(detector.region(&http, &env).await, None);
        assert_eq!((detector.outcome_now(), transport.requests().len()), (Some(RegionOutcome::Unknown), 1));

        clock.advance(Duration::from_secs(1));
        assert_eq!(detector.outcome_now(), None);
        assert_eq!(detector.region(&http, &env).await, None);
        tokio::task::yield_now().await;
        assert_eq!(name(detector.region(&http, &env).await.as_ref()), Some("eastus"));
        assert_eq!(transport.requests().len(), 2);
    }

    #[tokio::test]
    async fn cancelled_detection_leaves_no_result() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let transport = transport_fn(move |_| {
            let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first { pending().await } else { located("eastus") } }
        });
        let (http, env) = (client(transport, &ManualClock::new()), Env::empty());
        let detector = RegionDetector::new();
        assert!(detector.region(&http, &env).now_or_never().is_none());
        assert_eq!(detector.outcome_now(), None);
        assert_eq!(name(detector.region(&http, &env).await.as_ref()), Some("eastus"));
        assert_eq!(sent.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn cancelled_leader_does_not_stop_others() {
        let clock = ManualClock::new();
        let ticking = SharedClock::from(&clock);
        let transport = transport_fn(move |_| {
            let clock = ticking.clone();
            async move {
                clock.sleep(Duration::from_secs(1)).await;
                located("eastus")
            }
        });
        let (http, env, detector) = (client(transport, &clock), Env::empty(), RegionDetector::new());
        let mut leader = Box::pin(detector.region(&http, &env));
        let mut other = Box::pin(detector.region(&http, &env));
        assert!((&mut leader).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        drop(leader);
        clock.advance(Duration::from_secs(1));
        assert_eq!(name(other.await.as_ref()), Some("eastus"));
    }
}
