//! Whether the metadata service is there.

use symbolon_binding::imds::{Imds, Leg, Verdict};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, SharedTransport, TransportError, TransportErrorKind};
use symbolon_types::{Context, Jitter, ManualClock, SharedClock};

use crate::issuer::answer;

#[tokio::test]
async fn a_probe_is_not_repeated_and_each_answer_has_its_meaning() {
    let answered = |status| Ok(answer(status, None, "whatever it says"));
    let failed = |kind: TransportErrorKind| Err(TransportError::from(kind));
    for (outcome, verdict, reason) in [
        (answered(400), Verdict::Present, "answered with status 400"),
        (answered(404), Verdict::Absent, "answered with status 404"),
        (answered(500), Verdict::Absent, "answered with status 500"),
        (answered(429), Verdict::Absent, "answered with status 429"),
        (answered(200), Verdict::Absent, "answered with status 200"),
        (failed(TransportErrorKind::Timeout), Verdict::Silent, "did not answer in time"),
        (failed(TransportErrorKind::Connect), Verdict::Silent, "could not be reached"),
        (failed(TransportErrorKind::Protocol), Verdict::Silent, "did not answer like a web server"),
    ] {
        for (leg, url) in [
            (Leg::PlatformMetadata, "identity/getplatformmetadata?cred-api-version=2.0"),
            (Leg::BearerToken, "identity/oauth2/token?api-version=2018-02-01"),
        ] {
            let transport = ScriptedTransport::new([outcome.clone()]);
            let (clock, jitter) = (SharedClock::from(&ManualClock::new()), Jitter::fixed(0.5));
            let http = HttpClient::new(
                SharedTransport::new(transport.clone()),
                Context::default().with_clock(clock).with_jitter(jitter),
            );
            let imds = Imds::new("http://169.254.169.254".parse().unwrap(), http).unwrap();
            let probe = imds.probe(leg).await;
            assert_eq!((probe.verdict, &*probe.reason), (verdict, reason));
            let requests = transport.requests();
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(request.url().as_str(), format!("http://169.254.169.254/metadata/{url}"));
            // What makes the service refuse it.
            assert!(!request.headers().contains_key("metadata"));
        }
    }
}
