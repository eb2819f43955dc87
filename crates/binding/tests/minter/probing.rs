//! Probes of the metadata service.

use symbolon_binding::imds::{IMDS_BASE_URL, ImdsClient, ImdsEndpoint, ProbeStatus};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, SharedTransport, TransportError, TransportErrorKind};
use symbolon_types::{Context, Jitter, ManualClock, SharedClock};

use crate::issuer::answer;

const PRESENT: &str = "present (refuses a request without the Metadata header, as it should)";

#[tokio::test]
async fn probe_status_follows_the_response() {
    let answered = |status| Ok(answer(status, None, "ignored"));
    let failed = |kind: TransportErrorKind| Err(TransportError::from(kind));
    for (outcome, status, reason) in [
        (answered(400), ProbeStatus::Present, PRESENT),
        (answered(404), ProbeStatus::Absent, "absent: answered with status 404"),
        (answered(500), ProbeStatus::Absent, "absent: answered with status 500"),
        (answered(429), ProbeStatus::Absent, "absent: answered with status 429"),
        (answered(200), ProbeStatus::Absent, "absent: answered with status 200"),
        (failed(TransportErrorKind::Timeout), ProbeStatus::Unreachable, "did not answer in time"),
        (failed(TransportErrorKind::Connect), ProbeStatus::Unreachable, "could not be reached"),
        (failed(TransportErrorKind::Protocol), ProbeStatus::Unreachable, "did not answer like a web server"),
    ] {
        for (endpoint, url) in [
            (ImdsEndpoint::PlatformMetadata, "identity/getplatformmetadata?cred-api-version=2.0"),
            (ImdsEndpoint::BearerToken, "identity/oauth2/token?api-version=2018-02-01"),
        ] {
            let transport = ScriptedTransport::new([outcome.clone()]);
            let (clock, jitter) = (SharedClock::from(&ManualClock::new()), Jitter::fixed(0.5));
            let http = HttpClient::new(
                SharedTransport::new(transport.clone()),
                Context::default().with_clock(clock).with_jitter(jitter),
            );
            let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
            let probe = imds.probe(endpoint).await;
            assert_eq!((probe.status, &*probe.reason), (status, reason));
            let requests = transport.requests();
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(request.url().as_str(), format!("{IMDS_BASE_URL}/metadata/{url}"));
            // Without it, the service refuses the request.
            assert!(!request.headers().contains_key("metadata"));
        }
    }
}
